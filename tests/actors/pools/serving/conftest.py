"""A pool whose providers a test holds in its hand; a server with two customers, and who calls it as both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmgine.actors.pools.serving import keyed
from tests.actors.pools.serving.keyserver import KEYS, Caller, KeyServer
from tests.actors.pools.serving.stage import Stage
from tests.providers.faults.refusals import HINTS


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    stage = Stage()
    monkeypatch.setattr(keyed, "open_endpoint", stage.open_endpoint)
    yield stage
    await stage.close()


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KeyServer]:
    """It may ask to come back soon: `status.429.soon`."""
    monkeypatch.setitem(HINTS, "soon", {"retry-after-ms": "50"})
    server = KeyServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def caller(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
) -> AsyncIterator[Caller]:
    """Its keys "a" and "b" lie in the environment."""
    for name, text in KEYS.items():
        monkeypatch.setenv(f"KEY_{name.upper()}", text)
    keys = [{"name": name, "env": f"KEY_{name.upper()}"} for name in KEYS]
    caller = Caller({"base_url": server.base_url, "keys": keys})
    await caller.calls.open()
    await until(caller.opened)
    yield caller
    await caller.calls.aclose()
