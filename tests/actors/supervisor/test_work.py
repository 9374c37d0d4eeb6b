"""Tasks that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from llmgine.actors.supervisor.work import Work


async def test_a_failure_is_logged(caplog: pytest.LogCaptureFixture, until: Callable[..., Any]) -> None:
    """A task that fails while nobody waits for it says so."""

    async def fail() -> None:
        raise ValueError("boom")

    work = Work()
    work.start(fail(), "tidy up")
    await until(lambda: "to tidy up failed: boom" in caplog.text)


async def test_all_end_together_but_who_asks() -> None:
    """Whoever ends the work in the middle of it goes on."""
    work = Work()
    other = work.start(asyncio.Event().wait(), "wait")

    async def end() -> str:
        work.cancel()
        await asyncio.wait({other})
        return "done"

    assert await work.start(end(), "end") == "done"
    assert other.cancelled()
