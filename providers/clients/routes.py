"""Where on a server each protocol is served, by the vendors' own addresses where no other is set."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import quote, urlsplit

from llmgine.providers.options import Api, ProvidersOptions

BatchPurpose = Literal[
    "batch_upload", "batch_create", "batch_list", "batch_status", "batch_cancel", "batch_results"
]
Purpose = Literal["generate", "embed"] | BatchPurpose

PATHS: dict[tuple[Api, Purpose], str] = {
    ("openai-chat", "generate"): "/chat/completions",
    ("openai-chat", "embed"): "/embeddings",
    ("openai-responses", "generate"): "/responses",
    ("openai-responses", "embed"): "/embeddings",
    ("anthropic-messages", "generate"): "/v1/messages",
    ("gemini", "generate"): "/models/{model}:streamGenerateContent?alt=sse",
    ("gemini", "embed"): "/models/{model}:batchEmbedContents",
}
_OF_OPENAI: dict[BatchPurpose, str] = {
    "batch_upload": "/files",
    "batch_create": "/batches",
    "batch_list": "/batches",
    "batch_status": "/batches/{item}",
    "batch_cancel": "/batches/{item}/cancel",
    "batch_results": "/files/{item}/content",
}
_OF_ANTHROPIC: dict[BatchPurpose, str] = {
    "batch_create": "/v1/messages/batches",
    "batch_list": "/v1/messages/batches",
    "batch_status": "/v1/messages/batches/{item}",
    "batch_cancel": "/v1/messages/batches/{item}/cancel",
    "batch_results": "/v1/messages/batches/{item}/results",
}
_BATCHES: dict[Api, dict[BatchPurpose, str]] = {
    "openai-chat": _OF_OPENAI,
    "openai-responses": _OF_OPENAI,
    "anthropic-messages": _OF_ANTHROPIC,
}
PATHS |= {(api, purpose): path for api, paths in _BATCHES.items() for purpose, path in paths.items()}
ASKED: frozenset[Purpose] = frozenset({"batch_list", "batch_status", "batch_results"})  # by GET
VENDORS: dict[Api, str] = {
    "openai-chat": "https://api.openai.com/v1",
    "openai-responses": "https://api.openai.com/v1",
    "anthropic-messages": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}


_GEMINI_VERSION = "v1beta"
_VERSION = re.compile(r"/(v\d+(?:(?:alpha|beta)\d*)?)$")


def address_of(api: Api, base_url: str | None) -> str:
    """The URL below which a server's paths lie; Gemini's ends with the protocol's version."""
    address = (base_url or VENDORS[api]).rstrip("/")
    return address if api != "gemini" or _VERSION.search(address) else f"{address}/{_GEMINI_VERSION}"


def server_of(options: ProvidersOptions, provider: str) -> tuple[str, int] | None:
    """Host and port of the server behind an endpoint; None for what runs here, or nobody knows."""
    endpoint = options.endpoints.get(provider)
    if endpoint is None or endpoint.kind in ("local", "scripted"):
        return None
    split = urlsplit(address_of(endpoint.protocol, endpoint.base_url))
    if split.hostname is None:
        return None
    return split.hostname, split.port or (80 if split.scheme == "http" else 443)


def path_of(api: Api, model: str, purpose: Purpose, item: str = "") -> str:
    """The path of a call, with the model, or the item that it is about, where the protocol names it there."""
    path = PATHS.get((api, purpose), f"/{purpose}")
    name = model.removeprefix("models/")
    if name.startswith("tunedModels/"):
        path = path.removeprefix("/models")
    return path.replace("{model}", quote(name)).replace("{item}", quote(item, safe=""))


def url_of(api: Api, base_url: str | None, model: str, purpose: Purpose = "generate") -> str:
    """The whole URL of a call."""
    return address_of(api, base_url) + path_of(api, model, purpose)
