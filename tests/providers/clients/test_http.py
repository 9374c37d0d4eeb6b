"""The transport below the SDK clients."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from llmgine.providers.clients.http import http_client


@pytest.mark.parametrize(
    ("base_url", "checked"),
    [
        (None, True),
        ("https://127.0.0.1:1/v1", True),
        ("https://api.example.com", True),
        ("http://proxied.example.com", True),
        ("http://127.0.0.1:1/v1", False),
    ],
)
async def test_certificates_are_checked(base_url: str | None, checked: bool) -> None:
    """Only a plain connection within this machine goes without: it has none, and no proxy either."""
    client = http_client(base_url, max_connections=1)
    transport: Any = client._transport
    mode = transport._pool._ssl_context.verify_mode
    assert (mode is ssl.CERT_REQUIRED) == checked
    assert client.follow_redirects is False
    await client.aclose()
