"""Users' observers, and who watches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from llmgine.actors.telemetry import ObserverUnusable
from llmgine.actors.telemetry.live import Watcher
from llmgine.actors.telemetry.observing import Observation, load_observer, open_observers
from llmgine.telemetry import Observer, Rollup, Span, TelemetryOptions, TraceSummary
from llmgine.telemetry.summaries import statistics


class Asynchronous(Observer):
    """Notes in its own loop what it is told."""

    def __init__(self) -> None:
        self.noted: list[Any] = []
        self.loops: set[int] = set()

    async def spans(self, spans: Sequence[Span]) -> None:
        await asyncio.sleep(0)
        self.loops.add(id(asyncio.get_running_loop()))
        self.noted += [span.span_id for span in spans]

    def trace(self, trace: TraceSummary) -> None:
        self.noted.append(trace.id)

    async def close(self) -> None:
        self.noted.append("closed")


class Failing(Observer):
    def spans(self, spans: Sequence[Span]) -> None:
        raise ValueError("no")

    async def trace(self, trace: TraceSummary) -> None:
        raise KeyError("neither")

    def close(self) -> None:
        raise OSError("nor this")


class Blocking(Asynchronous):
    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go_on = threading.Event(), threading.Event()

    async def spans(self, spans: Sequence[Span]) -> None:
        self.entered.set()
        self.go_on.wait(10)
        await super().spans(spans)


ready_made = Asynchronous()


def span(number: int, session: str = "s", trace: int = 1) -> Span:
    return Span(trace, number, 0, "work", "internal", session, "a", 1, 2)


SUMMARY = TraceSummary("ab", "work", "s", 1, 2, 1e-9, 1, 0, 0, False)


def test_plain_and_async_methods_are_told_in_order_in_one_loop() -> None:
    """What is handed over is told once, in its order, and the end last."""
    observer = Asynchronous()
    observation = Observation(observer, 100)
    observation.spans([span(1), span(2)])
    observation.trace(SUMMARY)
    observation.spans([span(3)])
    assert observation.close(10)
    assert observer.noted == [1, 2, "ab", 3, "closed"]
    assert len(observer.loops) == 1
    assert observation.counters()["told"] == 4
    observation.spans([span(4)])
    assert observation.counters()["dropped"] == 1


def test_a_failing_observer_is_counted_and_hears_on() -> None:
    """Whatever it raises, in plain or async methods, costs only what it was told of."""
    observation = Observation(Failing(), 100)
    observation.spans([span(1), span(2)])
    observation.trace(SUMMARY)
    observation.statistics(statistics(Rollup()))
    assert observation.close(10)
    counters = observation.counters()
    assert (counters["told"], counters["failed"]) == (1, 3)
    assert "nor this" in str(counters["last_error"])


def test_a_slow_observer_misses_what_has_no_room() -> None:
    """Nobody waits for it; what it missed is counted, also at the end."""
    observer = Blocking()
    observation = Observation(observer, 3)
    observation.spans([span(1)])
    assert observer.entered.wait(10)
    observation.spans([span(2), span(3)])
    observation.spans([span(4), span(5)])
    assert observation.counters()["dropped"] == 2
    assert not observation.close(0.01)
    assert observation.counters()["dropped"] == 4
    observer.go_on.set()
    assert observation.close(10)
    assert observer.noted == [1, "closed"]


def test_observers_are_found_by_their_path() -> None:
    """A class, a function that makes one, or the observer itself; what is none says why."""
    assert isinstance(load_observer(f"{__name__}:Asynchronous"), Asynchronous)
    assert load_observer(f"{__name__}:made") is ready_made
    assert load_observer(f"{__name__}:ready_made") is ready_made
    for wrong in ("no.such:thing", f"{__name__}:nothing", f"{__name__}:SUMMARY", "words"):
        with pytest.raises(ObserverUnusable, match=r"telemetry\.observers"):
            load_observer(wrong)


def made() -> Observer:
    return ready_made


def test_one_that_cannot_be_loaded_shows_in_the_counters() -> None:
    """The others are opened all the same."""
    options = TelemetryOptions(observers=("no.such:thing", f"{__name__}:Asynchronous"))
    wrong, right = open_observers(options)
    right.spans([span(1)])
    wrong.spans([span(1)])
    assert right.close(10)
    assert wrong.close(10)
    assert "no.such" in str(wrong.counters()["last_error"])
    assert (wrong.counters()["told"], right.counters()["told"]) == (0, 1)


async def test_who_watches_slowly_is_told_what_was_missed() -> None:
    """The queue of a watcher is bounded: the oldest go, and the next change says how many."""
    watcher = Watcher(None, capacity=3)
    watcher.put([span(number) for number in range(1, 6)])
    [change] = await watcher.take()
    assert [one.span_id for one in change.spans] == [3, 4, 5]
    assert change.missed == 2


async def test_one_session_is_watched_with_all_of_its_traces() -> None:
    """Spans of the session, and spans of others in the traces in which it takes part."""
    watcher = Watcher("s")
    watcher.put([span(1, "t", trace=7), span(2, "s", trace=8), span(3, "", trace=9)], {9})
    changes = await watcher.take()
    assert [(change.trace[-1], len(change.spans)) for change in changes] == [("8", 1), ("9", 1)]
