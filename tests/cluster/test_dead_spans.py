"""What is left in a trace of a process that was killed over it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from llmgine.runtime import Runtime, ToolContext, tool
from llmgine.telemetry import Cut, Span, names

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

Eventually = Callable[..., Any]


def is_there(book: Path) -> bool:
    return book.exists()


def worker(book: Path) -> Any:
    """A tool that makes a span each hundredth of a second and notes it; run again, it is done at once."""

    @tool
    async def work(context: ToolContext) -> str:
        """Works."""
        if is_there(book):
            return "done"
        with book.open("w", buffering=1) as noted:
            for number in range(10_000):
                with context.span(f"step {number}"):
                    await asyncio.sleep(0.01)
                noted.write(f"{os.getpid()} {number} {time.time()}\n")
        return "never"

    return work


async def test_a_session_process_killed_in_mid_turn(
    runtime: Runtime, tmp_path: Path, eventually: Eventually
) -> None:
    """Its open spans are closed as `actor_died`, the trace says where it was cut off, and what is missing is
    younger than one flush; the turn goes on elsewhere, in the same trace."""
    book = tmp_path / "book"
    flush = runtime.settings.telemetry.flush_seconds
    async with runtime.session(model="scripted/works", tools=[worker(book)]) as session:
        turn = await session.submit("Go")
        await eventually(lambda: book.exists() and len(book.read_text().splitlines()) > 60)
        pid = int(book.read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        killed = time.time()
        reply = await turn.result()

        async def cut_off() -> tuple[tuple[Span, ...], Cut] | None:
            view = await runtime.telemetry.trace(reply.trace_id)
            ended = all(one.end is not None for one in view.spans)
            return (view.spans, view.cuts[0]) if view.cuts and ended else None

        spans, cut = await eventually(cut_off)
        (summary,) = (one for one in (await runtime.telemetry.traces()).items if one.id == reply.trace_id)
        sources = (await runtime.telemetry.counters())["sources"]

    # Closed, with the reason.
    dead = {one.name for one in spans if one.error == names.ACTOR_DIED and one.source == cut.source}
    assert dead >= {"invoke_agent", "execute_tool work"}
    closed = [one for one in spans if one.error == names.ACTOR_DIED]
    assert all(killed - 1 < (one.end or 0) / 1e9 < killed + 5 for one in closed)

    # Marked, with the last that is known, and nothing of what came before it is missing.
    assert summary.incomplete
    (source,) = (one for one in sources if one["instance"] == cut.instance)
    assert (source["received"], source["lost"]) == (cut.last + 1, 0)

    # What is missing is no older than one flush, and what the loop was late by.
    noted = [line.split() for line in book.read_text().splitlines()]
    times = [float(at) for _, _, at in noted]
    late = max(after - before for before, after in pairwise(times))
    kept = {one.name for one in spans if one.name.startswith("step") and one.error is None}
    missing = [float(at) for _, number, at in noted if f"step {number}" not in kept]
    assert kept
    assert all(at > killed - flush - 2 * late - 0.05 for at in missing), (killed, missing, late)

    # The turn has gone on below the same span of its driver.
    turns = [one for one in spans if one.name == "invoke_agent"]
    assert [one.error for one in turns] == [names.ACTOR_DIED, None]
    assert len({one.parent_id for one in turns}) == 1
    assert names.EVENT_TURN_RESUMED in [event.name for event in turns[1].events]
