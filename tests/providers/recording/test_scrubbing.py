"""What never enters a recording."""

from __future__ import annotations

from pydantic import SecretStr

from llmgine.providers.keys import KeyMask
from llmgine.providers.recording.scrubbing import kept_headers, without_secrets

KEY = "sk-secret-0123456789"


def test_headers_that_tell_a_key_or_an_account_are_left_out() -> None:
    """Credentials, cookies and the account's names go, and so does what is wrong of a decoded body."""
    headers = {
        "Authorization": f"Bearer {KEY}",
        "X-Goog-Api-Key": KEY,
        "Set-Cookie": "a=b",
        "OpenAI-Organization": "acme",
        "anthropic-organization-id": "1",
        "Content-Encoding": "gzip",
        "X-Request-Id": "r1",
        "x-echo": f"<{KEY}>",
    }
    assert kept_headers(headers, KeyMask(SecretStr(KEY))) == {"x-request-id": "r1", "x-echo": "<[key]>"}


def test_fields_named_like_keys_hold_none() -> None:
    """The tokens of tool servers in a request's own options are hidden, at any depth; all else stays."""
    body = {
        "mcp_servers": [{"url": "u", "authorization_token": "t"}],
        "headers": {"X-Api-Key": "k"},
        "max_tokens": 5,
        "parameters": {"token": {"type": "string"}},
    }
    assert without_secrets(body) == {
        "mcp_servers": [{"url": "u", "authorization_token": "[key]"}],
        "headers": {"X-Api-Key": "[key]"},
        "max_tokens": 5,
        "parameters": {"token": {"type": "string"}},
    }
