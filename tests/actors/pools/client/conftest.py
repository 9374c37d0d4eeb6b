"""What the tests of the caller's end of the pools share."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator

import pytest

from llmgine.providers.layers.recovery import layer
from tests.actors.pools.client.stage import Stage
from tests.providers.faults.server import FaultServer


@pytest.fixture(scope="session", autouse=True)
def _loaded() -> None:
    """The SDK is there before any call's time runs."""
    importlib.import_module("openai")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor that begins a call anew does so at once."""
    monkeypatch.setattr(layer, "_FIRST_WAIT", 0.0)


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    server = FaultServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def stage(server: FaultServer) -> AsyncIterator[Stage]:
    stage = Stage(server.base_url)
    yield stage
    await stage.close()
