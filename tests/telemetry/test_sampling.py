"""Which traces are kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.telemetry import Span, TelemetryOptions
from llmgine.telemetry.sampling import Settled, TailSampler

SECOND = 1_000_000_000
NONE: dict[str, Any] = {"sample_ratio": 0.0}


def sampler(**options: Any) -> TailSampler:
    return TailSampler(TelemetryOptions(**(NONE | options)))


def span(trace: int = 1, number: int = 1, *, seconds: float | None = 0.1, **given: Any) -> Span:
    end = None if seconds is None else int(seconds * SECOND)
    return Span(
        trace, number, 0, "work", "internal", given.get("session", ""), "a", 0, end, given.get("error")
    )


def test_what_nobody_has_reason_to_keep_is_dropped_and_counted() -> None:
    """A quick trace without an error waits, is settled after a quiet moment, and is not passed on."""
    sampling = sampler()
    assert sampling.add([span(seconds=None)], 0) == []
    assert sampling.add([span()], SECOND) == []
    assert sampling.due(2 * SECOND - 1) == []
    assert sampling.due(2 * SECOND) == [Settled(1, "")]
    counters = sampling.counters()
    assert (counters["dropped_traces"], counters["dropped_spans"], counters["unsettled_traces"]) == (1, 1, 0)


def test_an_error_releases_all_that_waited() -> None:
    """The first failure of a trace passes on what ended before it, and what ends after it at once."""
    sampling = sampler()
    first, failed, last = span(number=1), span(number=2, error="timeout"), span(number=3)
    assert sampling.add([first], 0) == []
    assert sampling.add([failed], 0) == [first, failed]
    assert sampling.add([last], 0) == [last]
    assert sampling.due(SECOND) == [Settled(1, "error")]
    assert sampling.counters()["kept_error"] == 1


def test_slow_ones_are_kept_by_the_whole() -> None:
    """What counts is from the first begin to the last end, whichever spans these are."""
    sampling = sampler(sample_slow=2.0)
    assert sampling.add([span(number=1, seconds=1.9)], 0) == []
    assert len(sampling.add([span(number=2, seconds=2.0)], 0)) == 2
    assert sampling.due(SECOND) == [Settled(1, "slow")]


def test_chosen_sessions_are_kept() -> None:
    """By their id, by a pattern, and from the moment on in which they are chosen."""
    sampling = sampler(sample_sessions=("vip-*",))
    assert sampling.add([span(1, session="vip-7")], 0)
    assert not sampling.add([span(2, session="s")], 0)
    sampling.choose("s")
    assert sampling.add([span(3, session="s")], 0)
    assert [settled.because for settled in sampling.due(SECOND)] == ["session", "", "session"]


@given(st.integers(1, 2**128 - 1), st.floats(0, 1), st.floats(0, 1))
def test_the_ratio_goes_by_trace_id(trace: int, one: float, other: float) -> None:
    """Whatever a smaller share keeps, a larger one keeps too; all is all and nothing is nothing."""
    kept = [bool(sampler(sample_ratio=ratio).add([span(trace)], 0)) for ratio in sorted((one, other))]
    assert kept != [True, False]
    assert sampler(sample_ratio=1.0).add([span(trace)], 0)
    assert not sampler().add([span(trace)], 0)


def test_the_ratio_is_the_share() -> None:
    """Of ids spread evenly, the share is kept."""
    sampling = sampler(sample_ratio=0.25)
    ids = [number * 2**56 // 1000 for number in range(1, 1000)]
    assert sum(bool(sampling.add([span(trace)], 0)) for trace in ids) == pytest.approx(250, abs=2)


def test_what_runs_is_waited_for_until_the_grace_is_over() -> None:
    """A quiet trace with a reason is settled by what is known, whatever runs, and again once more is."""
    sampling = sampler(sample_grace=30.0)
    sampling.add([span(number=1, error="timeout"), span(number=2, seconds=None)], 0)
    assert sampling.due(29 * SECOND) == []
    assert sampling.due(30 * SECOND) == [Settled(1, "error")]
    late = span(number=2)
    assert sampling.add([late], 60 * SECOND) == [late]
    assert sampling.due(61 * SECOND) == [Settled(1, "error")]
    assert sampling.counters()["kept_error"] == 1


def test_what_runs_without_a_reason_is_not_given_up() -> None:
    """However long it is quiet: when it fails in the end, all that had ended before goes on."""
    sampling = sampler(sample_grace=30.0, sample_slow=None)
    first = span(number=1)
    sampling.add([first, span(number=2, seconds=None)], 0)
    assert sampling.due(1000 * SECOND) == []
    late = span(number=2, error="actor_died")
    assert sampling.add([late], 1001 * SECOND) == [first, late]
    assert sampling.due(1002 * SECOND) == [Settled(1, "error")]
    counters = sampling.counters()
    assert (counters["dropped_traces"], counters["dropped_spans"], counters["kept_error"]) == (0, 0, 1)


def test_what_runs_for_long_is_slow_before_it_ends() -> None:
    """A trace that waits for a tool is kept whole: what had ended before goes on once it is settled."""
    sampling = sampler(sample_grace=30.0, sample_slow=10.0)
    first = span(number=1)
    assert sampling.add([first, span(number=2, seconds=None)], 0) == []
    assert sampling.due(30 * SECOND) == [Settled(1, "slow", (first,))]
    last = span(number=2, seconds=60)
    assert sampling.add([last], 60 * SECOND) == [last]
    assert sampling.counters()["dropped_spans"] == 0
    sampling.add([span(3, 1), span(3, 2, seconds=None)], 0)
    assert [settled.because for settled in sampling.settle_all(20 * SECOND)] == ["slow", "slow"]


def test_one_that_is_kept_stays_kept() -> None:
    """What comes after a trace was settled goes on at once, for the same reason, and counts once."""
    sampling = sampler()
    sampling.add([span(error="timeout")], 0)
    sampling.due(SECOND)
    late = span(number=2)
    assert sampling.add([late], 5 * SECOND) == [late]
    assert sampling.due(6 * SECOND) == [Settled(1, "error")]
    assert sampling.because(1) == "error"
    assert sampling.counters()["kept_error"] == 1


def test_what_cannot_be_held_is_settled_at_once() -> None:
    """Whoever must forget a trace gets the verdict of what is known."""
    sampling = sampler()
    sampling.add([span(seconds=None)], 0)
    assert sampling.settle(1, SECOND) == Settled(1, "")
    assert sampling.settle(1, SECOND) is None


def test_switched_off_reasons_keep_nothing() -> None:
    """Errors and slow ones are kept only where that is asked for."""
    sampling = sampler(sample_errors=False, sample_slow=None)
    assert sampling.add([span(error="timeout", seconds=1e6)], 0) == []


def test_what_waits_is_bounded() -> None:
    """Of one huge trace without a verdict only so many spans wait, of choices only so many hold."""
    sampling = sampler(max_trace_spans=10)
    sampling.add([span(number=number) for number in range(1, 100)], 0)
    assert sampling.due(SECOND) == [Settled(1, "")]
    assert sampling.counters()["dropped_spans"] == 99
    for number in range(1500):
        sampling.choose(f"s{number}")
    assert not sampling.add([span(2, session="s0")], 0)
    assert sampling.add([span(3, session="s1499")], 0)
