"""Where on a server each protocol is served, by the vendors' own addresses where no other is set."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import quote

from llmgine.providers.options import Api

Purpose = Literal["generate", "embed"]

PATHS: dict[tuple[Api, Purpose], str] = {
    ("openai-chat", "generate"): "/chat/completions",
    ("openai-chat", "embed"): "/embeddings",
    ("openai-responses", "generate"): "/responses",
    ("openai-responses", "embed"): "/embeddings",
    ("anthropic-messages", "generate"): "/v1/messages",
    ("gemini", "generate"): "/models/{model}:streamGenerateContent?alt=sse",
    ("gemini", "embed"): "/models/{model}:batchEmbedContents",
}
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


def path_of(api: Api, model: str, purpose: Purpose) -> str:
    """The path of a call, with the model where the protocol names it there."""
    path = PATHS.get((api, purpose), f"/{purpose}")
    name = model.removeprefix("models/")
    if name.startswith("tunedModels/"):
        path = path.removeprefix("/models")
    return path.replace("{model}", quote(name))


def url_of(api: Api, base_url: str | None, model: str, purpose: Purpose = "generate") -> str:
    """The whole URL of a call."""
    return address_of(api, base_url) + path_of(api, model, purpose)
