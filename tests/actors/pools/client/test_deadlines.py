"""A call ends at its deadline, whatever it waits for."""

from __future__ import annotations

import asyncio

import pytest

from llmgine.providers import ErrorKind, ErrorPhase, ProviderError
from tests.actors.pools.client.stage import Stage


class Waits(Stage):
    """Pools that never start."""

    async def ensure_pool(self, provider: str) -> list[list[str]]:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_pool_that_does_not_start_holds_no_call_beyond_its_deadline() -> None:
    """It fails as late, and says where to look."""
    stage = Waits("http://127.0.0.1:9")
    async with asyncio.timeout(5):
        with pytest.raises(ProviderError, match="llmgine pools show one") as raised:
            await stage.events("one/any", deadline=0.02)
    assert (raised.value.kind, raised.value.phase) == (ErrorKind.TIMEOUT, ErrorPhase.CONNECT)
    await stage.close()
