"""`runtime.telemetry` over a whole runtime in one process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.telemetry import TelemetryOff
from llmgine.runtime import Runtime
from llmgine.telemetry import Span
from tests.runtime.looks import cluster_of

SETTINGS = {"telemetry": {"flush_seconds": 0.01}}


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    async with Runtime.in_process(SETTINGS) as runtime:
        yield runtime


async def test_a_driver_asks_for_what_happened(runtime: Runtime) -> None:
    """Sessions, traces, statistics and the text of one trace are there once the driver has handed over."""
    with runtime.span("report", session_kind="nightly"):
        pass
    telemetry = runtime.telemetry
    assert await telemetry.flush()
    [trace] = [one for one in (await telemetry.traces()).items if one.name == "report"]
    assert [span.name for span in (await telemetry.trace(trace.id)).spans] == ["report"]
    assert '"report"' in await telemetry.export(trace.id, "jsonl")
    assert (await telemetry.stats()).spans >= 1


async def test_observers_hear_of_each_span_once_and_disturb_nothing(runtime: Runtime) -> None:
    """Plain and async ones hear of what ends; what one raises is counted by it alone."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    threads: set[int] = set()

    async def note(span: Span) -> None:
        await heard.put(span.name)

    def fail(span: Span) -> None:
        threads.add(threading.get_ident())
        raise ValueError(span.name)

    noting, failing = runtime.telemetry.observe(note), runtime.telemetry.observe(fail)
    await noting.ready()
    await failing.ready()
    for name in ("one", "two"):
        with runtime.span(name):
            pass
    assert [await heard.get(), await heard.get()] == ["one", "two"]
    await noting.stop()
    while failing.failed < 2:  # noqa: ASYNC110 - it runs in a thread of its own
        await asyncio.sleep(0.002)
    await failing.stop()
    assert (noting.told, noting.missed, noting.failed, failing.told) == (2, 0, 0, 0)
    assert "two" in failing.last_error
    assert threading.get_ident() not in threads


async def test_observing_is_switched_off_at_run_time(runtime: Runtime) -> None:
    """Between pause and resume nothing is kept of what happens."""
    telemetry = runtime.telemetry
    await telemetry.pause()
    with runtime.span("unseen"):
        pass
    await telemetry.flush()
    await telemetry.resume()
    with runtime.span("seen"):
        pass
    await telemetry.flush()
    names = {trace.name for trace in (await telemetry.traces()).items}
    assert "seen" in names
    assert "unseen" not in names


@pytest.mark.parametrize("ask", ["stats", "traces", "sessions", "pause", "counters"])
async def test_without_telemetry_the_error_says_so(ask: str) -> None:
    """A runtime that was launched without it names the setting."""
    async with Runtime.in_process({"telemetry": {"enabled": False}}) as runtime:
        question: Any = getattr(runtime.telemetry, ask)
        with pytest.raises(TelemetryOff, match=r"telemetry\.enabled"):
            await question()
        with pytest.raises(TelemetryOff):
            runtime.telemetry.observe(print)


async def test_kept_traces_outlive_the_telemetry_actor_and_the_runtime(
    tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    """After a crash of the actor, and in a later runtime over the same file, all that was kept is told."""
    settings = {"telemetry": {"flush_seconds": 0.01, "sample_settle": 0.01, "store": tmp_path / "t.db"}}
    async with Runtime.in_process(settings) as runtime:
        with runtime.span("before the crash"):
            pass
        await runtime.telemetry.flush()
        await eventually(lambda: stored(runtime))
        await cluster_of(runtime).crash("telemetry")
        assert "before the crash" in await told(runtime)
        with runtime.span("after the crash"):
            pass
        assert await runtime.telemetry.flush()
    async with Runtime.in_process(settings) as runtime:
        assert {"before the crash", "after the crash"} <= set(await told(runtime))


async def stored(runtime: Runtime) -> bool:
    """Whether every trace that has ended is in the file."""
    counters = await runtime.telemetry.counters()
    return bool(counters["store"]["stored"] and not counters["sampling"]["unsettled_traces"])


async def told(runtime: Runtime) -> list[str]:
    return [trace.name for trace in (await runtime.telemetry.traces()).items]
