"""A gateway in a process of its own on a real Ray, asked over HTTP, killed, and left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from llmgine.runtime import Runtime
from tests.conftest import TOKEN

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

Eventually = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="module")
async def client(runtime: Runtime, eventually: Eventually) -> AsyncIterator[httpx2.AsyncClient]:
    url = await runtime.gateway.url()
    assert url is not None
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=30) as opened:
        await eventually(lambda: is_ready(opened), 60)
        yield opened


async def is_ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/ready")).status_code == 200
    except httpx2.HTTPError:
        return False


async def pid_of(runtime: Runtime, actor: str) -> int:
    return next(int(one["pid"]) for one in (await runtime.status())["actors"] if one["name"] == actor)


async def kill(runtime: Runtime, actor: str) -> None:
    os.kill(await pid_of(runtime, actor), signal.SIGKILL)


async def answered(client: httpx2.AsyncClient, session: str, prompt: str) -> str:
    """The text that a turn comes to; fails where it does not end well."""
    answer = await client.post(f"/api/v1/sessions/{session}/turns", json={"prompt": prompt})
    assert answer.status_code == 200, answer.text
    last = answer.text.strip().split("\n\n")[-1].split("\n")
    assert last[0] == "event: done", answer.text
    return str(json.loads(last[1][6:])["reply"]["text"])


async def test_the_gateway_outlives_deaths_under_its_address(
    runtime: Runtime, client: httpx2.AsyncClient, eventually: Eventually
) -> None:
    """Its own, after which it listens where it did, and the supervisor's, which it hardly notices."""
    url = await runtime.gateway.url()
    async with runtime.session("s-1", model="scripted/echo", stay=True):
        assert await answered(client, "s-1", "one") == "one"
        await kill(runtime, "gateway")
        await eventually(lambda: is_ready(client), 60)
        assert await runtime.gateway.url() == url
        assert await answered(client, "s-1", "two") == "two"
        await kill(runtime, "supervisor")
        assert await answered(client, "s-1", "three") == "three"
        overview = (await client.get("/api/v1/overview")).json()
        assert {"gateway", "supervisor"} <= {actor["kind"] for actor in overview["actors"]}
        assert await runtime.gateway.url() == url


async def test_nobody_else_is_let_in(runtime: Runtime, client: httpx2.AsyncClient) -> None:
    """Without the token that is in the file; and neither settings nor Ray's arguments hold it."""
    url = str(client.base_url)
    async with httpx2.AsyncClient(base_url=url) as stranger:
        assert (await stranger.get("/api/v1/overview")).status_code == 401
        assert (await stranger.post("/api/v1/pools/scripted/scale", json={"size": 9})).status_code == 401
        assert (await stranger.get("/health")).status_code == 200
    assert TOKEN not in (await client.get("/api/v1/settings")).text
    assert TOKEN not in str(runtime.settings.to_wire())


async def test_many_turns_stream_at_a_time(runtime: Runtime, client: httpx2.AsyncClient) -> None:
    """Through one gateway, each told whole."""
    ids = [f"m-{number}" for number in range(8)]
    for id in ids:
        async with runtime.session(id, model="scripted/echo", stay=True, placement="pooled"):
            pass
    asked = [answered(client, id, f"to {id}") for id in ids]
    assert await asyncio.gather(*asked) == [f"to {id}" for id in ids]
