"""Which URL a call goes to."""

from __future__ import annotations

import pytest

from llmgine.providers.clients.routes import url_of
from llmgine.providers.options import Api

STREAM = "m:streamGenerateContent?alt=sse"


@pytest.mark.parametrize(
    ("api", "base_url", "model", "url"),
    [
        ("openai-chat", None, "m", "https://api.openai.com/v1/chat/completions"),
        ("openai-responses", "http://h/v1/", "m", "http://h/v1/responses"),
        ("anthropic-messages", "http://h", "m", "http://h/v1/messages"),
        ("gemini", None, "m", f"https://generativelanguage.googleapis.com/v1beta/models/{STREAM}"),
        ("gemini", "http://h/proxy/v1beta/", "m", f"http://h/proxy/v1beta/models/{STREAM}"),
        ("gemini", "http://h/v1", "models/m", f"http://h/v1/models/{STREAM}"),
        ("gemini", "http://h", "tunedModels/m", f"http://h/v1beta/tunedModels/{STREAM}"),
        (
            "gemini",
            "http://h",
            "a?key=b",
            f"http://h/v1beta/models/a%3Fkey%3Db{STREAM.removeprefix('m')}",
        ),
    ],
)
def test_the_url_of_a_call(api: Api, base_url: str | None, model: str, url: str) -> None:
    """Below the vendor's address or the endpoint's own; Gemini's version is added unless it stands there."""
    assert url_of(api, base_url, model) == url
