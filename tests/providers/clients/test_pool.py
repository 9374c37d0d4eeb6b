"""SDK clients are shared, closed for sure, and never retry by themselves."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from pydantic import SecretStr

from llmgine.providers import clients
from llmgine.providers.clients import Call, Site, lease, pool, release
from llmgine.providers.errors import ModelNotInstalled
from llmgine.providers.options import Timeouts

if TYPE_CHECKING:
    from tests.providers.faults.server import FaultServer

SITE = Site(api="openai-chat", base_url="http://127.0.0.1:9/v1", key=SecretStr("one"))


async def test_equal_sites_share_one_client() -> None:
    """One client for each protocol, place and key; the last lease closes it."""
    first, second = lease(SITE), lease(dataclasses.replace(SITE, key=SecretStr("one")))
    other = lease(dataclasses.replace(SITE, key=SecretStr("two")))
    assert first is second
    assert first is not other
    await release(SITE)
    assert lease(SITE) is first
    await release(SITE)
    await release(SITE)
    assert _sdk_client(first).is_closed()
    assert not _sdk_client(other).is_closed()
    await release(dataclasses.replace(SITE, key=SecretStr("two")))
    assert not pool._clients


def test_a_package_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport whose package is optional says how to install it."""
    monkeypatch.setitem(sys.modules, "google.generativeai", None)
    with pytest.raises(ModelNotInstalled, match=r'pip install "llmgine-ray\[google-generativeai\]"'):
        pool.load("gemini", "google-generativeai")


async def test_releasing_too_often_is_harmless() -> None:
    """A release without a lease does nothing."""
    await release(SITE)
    assert not pool._clients


def test_each_loop_has_its_own_client() -> None:
    """A client never outlives its loop into another one."""

    async def leave_open() -> clients.Client:
        return lease(SITE)

    async def use_again() -> clients.Client:
        client = lease(SITE)
        await release(SITE)
        return client

    assert asyncio.run(leave_open()) is not asyncio.run(use_again())
    assert not pool._clients


async def test_the_sdk_does_not_retry(fault_server: FaultServer) -> None:
    """A refused call is one request; deciding to send again is ours."""
    for api, path in (("openai-chat", "/v1"), ("anthropic-messages", "")):
        site = Site(api=api, base_url=fault_server.base_url + path, key=SecretStr("one"))  # type: ignore[arg-type]
        client = lease(site)
        answer = await client.send(Call("", b'{"model": "status.500"}', {}, Timeouts()))
        assert answer.status == 500
        assert b"fault 500" in b"".join([chunk async for chunk in answer.chunks()])
        await answer.aclose()
        await release(site)
    assert len(fault_server.calls) == 2


@pytest.mark.parametrize(
    ("api", "url"),
    [
        ("openai-chat", "https://api.openai.com/v1/chat/completions"),
        ("anthropic-messages", "https://api.anthropic.com/v1/messages"),
    ],
)
@pytest.mark.parametrize("base_url", [None, "http://127.0.0.1:9"])
async def test_what_the_settings_say_holds(
    api: Any, url: str, base_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable that the SDKs know leads a call elsewhere, or adds to its headers, or replaces its key."""
    for vendor in ("OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(f"{vendor}_BASE_URL", "http://elsewhere")
        monkeypatch.setenv(f"{vendor}_CUSTOM_HEADERS", "authorization: Bearer other\nx-more: 1")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "other")
    site = Site(api=api, base_url=base_url, key=SecretStr("one"), headers=(("x-ours", "1"),))
    sent: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(200, json={})

    client = lease(site)
    _sdk_client(client)._client._transport = httpx2.MockTransport(answer)
    _sdk_client(client)._client._mounts = {}
    await (await client.send(Call("", b"{}", {}, Timeouts()))).aclose()
    await release(site)
    assert str(sent[0].url) == url if base_url is None else str(sent[0].url).startswith(base_url)
    headers = dict(sent[0].headers)
    assert headers["x-ours"] == "1"
    assert "x-more" not in headers
    shown = f"{headers.get('authorization')} {headers.get('x-api-key')}"
    assert "one" in shown
    assert "other" not in shown


def _sdk_client(client: Any) -> Any:
    return client._sdk_client
