"""SDK clients are shared, closed for sure, and never retry by themselves."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from pydantic import SecretStr

from llmgine.providers import clients
from llmgine.providers.clients import Site, lease, release
from llmgine.providers.options import Timeouts

if TYPE_CHECKING:
    from tests.providers.conftest import FaultServer

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
    assert first._sdk_client.is_closed()
    assert not other._sdk_client.is_closed()
    await release(dataclasses.replace(SITE, key=SecretStr("two")))
    assert not clients._clients


async def test_releasing_too_often_is_harmless() -> None:
    """A release without a lease does nothing."""
    await release(SITE)
    assert not clients._clients


def test_each_loop_has_its_own_client() -> None:
    """A client never outlives its loop into another one."""

    async def leave_open() -> clients.Client:
        return lease(SITE)

    async def use_again() -> clients.Client:
        client = lease(SITE)
        await release(SITE)
        return client

    assert asyncio.run(leave_open()) is not asyncio.run(use_again())
    assert not clients._clients


async def test_the_sdk_does_not_retry(fault_server: FaultServer) -> None:
    """A refused call is one request; deciding to send again is ours."""
    for api, path in (("openai-chat", "/v1"), ("anthropic-messages", "")):
        site = Site(api=api, base_url=fault_server.base_url + path, key=SecretStr("one"))  # type: ignore[arg-type]
        client = lease(site)
        answer = await client.send(b'{"model": "status:500"}', {}, Timeouts())
        assert answer.status == 500
        assert b"fault 500" in b"".join([chunk async for chunk in answer.chunks()])
        await answer.aclose()
        await release(site)
    assert len(fault_server.calls) == 2
