"""Where on a server each protocol is served, by the vendors' own addresses where no other is set."""

from __future__ import annotations

from typing import Literal

from llmgine.providers.options import Api

Purpose = Literal["generate", "embed"]

PATHS: dict[tuple[Api, Purpose], str] = {
    ("openai-chat", "generate"): "/chat/completions",
    ("openai-chat", "embed"): "/embeddings",
    ("openai-responses", "generate"): "/responses",
    ("openai-responses", "embed"): "/embeddings",
    ("anthropic-messages", "generate"): "/v1/messages",
    ("gemini", "generate"): "/v1beta/models/{model}:streamGenerateContent?alt=sse",
    ("gemini", "embed"): "/v1beta/models/{model}:batchEmbedContents",
}
VENDORS: dict[Api, str] = {
    "openai-chat": "https://api.openai.com/v1",
    "openai-responses": "https://api.openai.com/v1",
    "anthropic-messages": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}


def url_of(api: Api, base_url: str | None, model: str, purpose: Purpose = "generate") -> str:
    """The whole URL of a call."""
    path = PATHS.get((api, purpose), f"/{purpose}").replace("{model}", model)
    return (base_url or VENDORS[api]).rstrip("/") + path
