"""A running model server for the tests of providers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.providers.faults.server import FaultServer


@pytest.fixture
async def fault_server() -> AsyncIterator[FaultServer]:
    """A running `FaultServer`."""
    server = FaultServer()
    await server.start()
    yield server
    await server.stop()
