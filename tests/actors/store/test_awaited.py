"""Reading a store that is not there yet."""

from __future__ import annotations

import logging

import pytest

from llmgine.actors.store import StoreUnavailable
from llmgine.actors.store.awaited import read_once_there


async def test_it_is_read_as_soon_as_it_is_there(caplog: pytest.LogCaptureFixture) -> None:
    """However often that fails; each reason is logged once, not each attempt."""
    reasons = ["no route", "no route", "no password", "no route"]
    pauses: list[float] = []

    async def read() -> str:
        if reasons:
            raise StoreUnavailable(reasons.pop())
        return "rows"

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    with caplog.at_level(logging.WARNING):
        assert await read_once_there("what is kept", read, sleep) == "rows"
    assert len(pauses) == 4
    assert [record.getMessage() for record in caplog.records] == [
        "what is kept cannot be read yet: no route",
        "what is kept cannot be read yet: no password",
    ]
