"""Batches to traces and sessions."""

from __future__ import annotations

import random
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgine.telemetry import Assembler, Batch, OpenSpan, Rollup, Span, SpanRecorder, TelemetryOptions, names
from llmgine.telemetry.sources import MAX_GAPS, Sequence
from llmgine.telemetry.summaries import summary_of


def drain(*sources: SpanRecorder, limit: int = 1024) -> list[Batch]:
    batches = []
    for source in sources:
        while (batch := source.drain(limit)) is not None:
            batches.append(batch)
    return batches


def source(name: str = "a", **options: Any) -> SpanRecorder:
    now = count(1)
    return SpanRecorder(name, clock=lambda: next(now), **options)


def story(shuffle: random.Random, sources: list[SpanRecorder], steps: int) -> tuple[list[Batch], int]:
    """Spans that start, end and spread over sources at random, drained at random."""
    batches: list[Batch] = []
    open_spans: list[OpenSpan] = []
    made = 0
    for _ in range(steps):
        recorder = shuffle.choice(sources)
        match shuffle.randrange(4):
            case 0 | 1:
                parent = shuffle.choice(open_spans) if open_spans and shuffle.random() < 0.8 else None
                session = shuffle.choice(["s1", "s2", ""])
                context = parent.context if parent else None
                open_spans.append(recorder.start(f"work {made}", parent=context, session=session))
                made += 1
            case 2 if open_spans:
                open_spans.pop(shuffle.randrange(len(open_spans))).end(error=shuffle.choice([None, "failed"]))
            case _:
                batches += drain(recorder, limit=shuffle.choice([1, 3, 100]))
    return batches + drain(*sources), made


def picture(assembler: Assembler) -> Any:
    traces = assembler.traces()
    sessions = {name: [t.trace_id for t in assembler.session(name)] for name in ("s1", "s2")}
    counters = {k: v for k, v in assembler.counters().items() if k not in ("batches", "repeated")}
    rollup = assembler.rollup
    usage = (rollup.spent, rollup.errors, rollup.spans)
    return sorted((t.trace_id, t.spans, t.sessions) for t in traces if t), sessions, counters, usage


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(0, 60))
def test_order_and_repeats_of_batches_change_nothing(shuffle: random.Random, steps: int) -> None:
    """However batches are shuffled and repeated, the same traces, sessions and counts come out."""
    now = count(1)
    sources = [SpanRecorder(f"a{number}", 40, clock=lambda: next(now)) for number in range(3)]
    batches, made = story(shuffle, sources, steps)
    plain, shuffled = Assembler(), Assembler()
    for batch in batches:
        plain.add(batch, 0)
    arriving = batches + shuffle.choices(batches, k=len(batches)) if batches else []
    shuffle.shuffle(arriving)
    for batch in arriving:
        shuffled.add(Batch.unpack(batch.pack()), 0)
    assert picture(shuffled) == picture(plain)
    assert plain.counters()["spans"] + sum(recorder.lost for recorder in sources) >= made


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_what_is_lost_on_the_way_is_counted_per_source(shuffle: random.Random, steps: int) -> None:
    """Records in lost batches and dropped records are missing by exactly their number."""
    now = count(1)
    sources = [SpanRecorder(f"a{number}", 5, clock=lambda: next(now)) for number in range(2)]
    batches, _ = story(shuffle, sources, steps)
    assembler = Assembler()
    highest: dict[int, int] = {}
    arrived: dict[int, int] = {}
    for batch in batches:
        if shuffle.random() < 0.3:
            continue
        highest[batch.instance] = batch.next
        arrived[batch.instance] = arrived.get(batch.instance, 0) + len(batch.spans)
        assembler.add(batch, 0)
    for told in assembler.sources():
        assert told["received"] == arrived[told["instance"]]
        assert told["lost"] == highest[told["instance"]] - arrived[told["instance"]]
    assert assembler.counters()["lost"] == sum(highest.values()) - sum(arrived.values())


def test_running_work_is_visible_and_its_end_follows() -> None:
    """A span is there from its start, and ends where its end arrives."""
    recorder, assembler = source(), Assembler()
    span = recorder.start("turn", session="s")
    assert assembler.add(drain(recorder)[0], 0) == []
    [running] = assembler.session("s")[0].spans
    assert running.end is None
    assert summary_of(assembler.traces()[0]).end is None
    assert assembler.counters()["running"] == 1
    span.end()
    [finished] = assembler.add(drain(recorder)[0], 0)
    assert finished.end is not None
    assert summary_of(assembler.traces()[0]).end == finished.end
    assert assembler.counters()["running"] == 0


def test_a_trace_joins_what_processes_recorded() -> None:
    """Spans of three processes are one tree with the right parents."""
    driver, session, provider = source("driver"), source("session"), source("provider")
    turn = session.start("invoke_agent", session="s", parent=None)
    call = session.start("chat m", parent=turn.context, session="s")
    remote = provider.start("pool call", parent=call.context)
    local = driver.start("process TurnDone", parent=turn.context)
    assembler = Assembler()
    for span in (local, remote, call, turn):
        span.end()
    for batch in drain(provider, driver, session):
        assembler.add(batch, 0)
    [trace] = assembler.session("s")
    assert {span.name: span.parent_id for span in trace.spans} == {
        "invoke_agent": 0,
        "chat m": turn.span_id,
        "pool call": call.span_id,
        "process TurnDone": turn.span_id,
    }
    assert {span.source for span in trace.spans} == {"driver", "session", "provider"}


def test_spans_of_a_dead_source_are_closed_and_say_why() -> None:
    """When a process dies, its running spans end then with error.type actor_died; others go on."""
    dead, alive = source("dead"), source("alive")
    turn = alive.start("turn", session="s")
    tool = dead.start("tool", parent=turn.context)
    done = dead.start("done", parent=turn.context)
    done.end()
    assembler = Assembler()
    for batch in drain(dead, alive):
        assembler.add(batch, 0)
    [closed] = assembler.gone(dead.instance, 99)
    assert (closed.name, closed.end, closed.error) == ("tool", 99, names.ACTOR_DIED)
    assert assembler.gone(dead.instance, 100) == []
    states = {span.name: (span.end is None, span.error) for span in assembler.session("s")[0].spans}
    assert states == {"turn": (True, None), "tool": (False, names.ACTOR_DIED), "done": (False, None)}
    assert tool.ended is False


def test_a_start_that_arrives_after_the_death_is_closed_too() -> None:
    """No order of batch and death leaves a dead span running."""
    dead, assembler = source(), Assembler()
    dead.start("first")
    assembler.add(drain(dead)[0], 0)
    assembler.gone(dead.instance, 50)
    dead.start("second")
    [closed] = assembler.add(drain(dead)[0], 0)
    assert (closed.name, closed.error) == ("second", names.ACTOR_DIED)
    assert assembler.counters()["running"] == 0


def test_a_source_that_was_only_away_has_its_spans_running_again() -> None:
    """A false alarm is taken back, and the real end holds."""
    away, assembler = source(), Assembler()
    span = away.start("long", session="s")
    away.gauge("queue_size", 3, handler="h")
    assembler.add(drain(away)[0], 0)
    assembler.gone(away.instance, 50)
    assert assembler.metrics.read()[0].value == 0
    assembler.here(away.source, away.instance, 60)
    assert assembler.session("s")[0].spans[0].end is None
    assert assembler.metrics.read()[0].value == 3
    assembler.gone(away.instance, 70)
    span.end()
    [real] = assembler.add(drain(away)[0], 80)
    assert real.error is None
    assert assembler.session("s")[0].spans[0] == real
    assembler.here(away.source, away.instance, 90)
    assert assembler.session("s")[0].spans[0] == real


def test_a_record_that_cannot_be_taken_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted, and those that came with it are there."""
    recorder, assembler = source(), Assembler()
    for name in ("first", "odd", "last"):
        recorder.start(name).end()
    add = Rollup.add

    def picky(rollup: Rollup, span: Span) -> None:
        if span.name == "odd":
            raise TypeError(span.name)
        add(rollup, span)

    monkeypatch.setattr(Rollup, "add", picky)
    told = [span.name for batch in drain(recorder) for span in assembler.add(batch, 0)]
    assert told == ["first", "last"]
    assert (assembler.counters()["refused"], assembler.counters()["lost"]) == (1, 0)


def test_an_operation_that_is_no_text_is_no_call() -> None:
    """Whatever an attribute holds, the span is kept and counted as other work."""
    recorder, assembler = source(), Assembler()
    recorder.start("odd", attributes={names.GEN_AI_OPERATION_NAME: ["chat"]}).end()
    assert len(assembler.add(drain(recorder)[0], 0)) == 1
    assert assembler.counters()["refused"] == 0
    assert (assembler.rollup.spans, assembler.rollup.spent) == (1, {})


def test_a_restarted_source_of_the_same_name_is_another_one() -> None:
    """Numbers begin anew with a new life and are no repeats."""
    assembler = Assembler()
    for _ in range(2):
        life = source("router-0")
        life.start("work").end()
        assembler.add(drain(life)[0], 0)
    assert assembler.counters()["records"] == 2
    assert assembler.counters()["sources"] == 2


def test_memory_is_bounded_and_what_was_forgotten_is_counted() -> None:
    """The quietest traces go first; spans, sessions and sources go with them."""
    assembler = Assembler(TelemetryOptions(max_traces=10, max_spans=25, max_trace_spans=4))
    recorder = source()
    held = [recorder.start("root", session="long") for _ in range(3)]
    for number in range(200):
        with recorder.start("root", session=f"s{number}") as root:
            for _ in range(number % 8):
                recorder.start("child", parent=root.context).end()
        for batch in drain(recorder):
            assembler.add(batch, 0)
    counters = assembler.counters()
    assert counters["traces"] <= 10
    assert counters["spans"] <= 25
    assert counters["running"] == 0
    assert counters["sessions"] <= 10
    assert counters["spans"] + counters["spans_evicted"] + counters["spans_over_limit"] == 203 + sum(
        number % 8 for number in range(200)
    )
    assert assembler.session("long") == []
    for span in held:
        span.end()
    for batch in drain(recorder):
        assert len(assembler.add(batch, 0)) == 3
    assert assembler.gone(recorder.instance, 1) == []


def test_a_span_over_the_limit_counts_once() -> None:
    """Also where its begin and its end come apart."""
    recorder, assembler = source(), Assembler(TelemetryOptions(max_trace_spans=1))
    root = recorder.start("root", session="s")
    assembler.add(drain(recorder)[0], 0)
    child = recorder.start("child", parent=root.context)
    assembler.add(drain(recorder)[0], 0)
    child.end()
    assembler.add(drain(recorder)[0], 0)
    assert assembler.counters()["spans_over_limit"] == 1
    assert summary_of(assembler.traces()[0]).spans == 2


def test_a_trace_that_comes_back_counts_once_for_its_session() -> None:
    """What comes of a trace after it had to go from memory makes no further trace of it."""
    recorder, assembler = source(), Assembler(TelemetryOptions(max_traces=1))
    with recorder.start("root", session="s") as root:
        recorder.start("child", parent=root.context, session="s").end()
    for batch in drain(recorder):
        assembler.add(batch, 0)
    recorder.start("other", session="t").end()
    assembler.add(drain(recorder)[0], 0)
    recorder.start("late", parent=root.context, session="s").end()
    recorder.start("later", parent=root.context, session="u").end()
    assembler.add(drain(recorder)[0], 0)
    sessions = assembler.rollup.sessions
    assert {name: sessions[name].traces for name in sessions} == {"s": 1, "t": 1, "u": 1}


def test_sources_are_bounded_and_their_counts_stay() -> None:
    """Old processes are folded together: dead ones first, and no count is lost by it."""
    assembler = Assembler(TelemetryOptions(max_sources=4))
    first = source("first")
    for number in range(20):
        recorder = first if number == 0 else source(f"s{number}", capacity=2)
        recorder.count("events_published_total")
        for _ in range(3):
            recorder.start("work").end()
        for batch in drain(recorder):
            assembler.add(batch, 0)
    counters = assembler.counters()
    assert counters["sources"] == 4
    assert counters["sources_folded"] == 16
    assert counters["lost"] == counters["reported_lost"] == 19
    values = {series.name: series.value for series in assembler.metrics.read()}
    assert values["events_published_total"] == 20
    first.start("late").end()
    assert assembler.add(drain(first)[0], 0) == []
    assert assembler.counters()["late"] == 1


def test_the_session_may_stand_in_the_attributes() -> None:
    """A span that names its conversation only by attribute is found by session all the same."""
    recorder, assembler = source(), Assembler()
    recorder.start("chat", attributes={names.GEN_AI_CONVERSATION_ID: "s"}).end()
    assembler.add(drain(recorder)[0], 0)
    assert len(assembler.session("s")) == 1
    assert assembler.session("other") == []
    assert assembler.trace(1) is None


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 12)), max_size=60))
def test_a_sequence_knows_what_it_has_seen(parts: list[tuple[int, int]]) -> None:
    """Each number is new once; what is missing is what was never seen below the highest."""
    sequence, seen, highest = Sequence(), set[int](), 0
    for first, size in parts:
        new = {number for start, stop in sequence.add(first, size) for number in range(start, stop)}
        assert new == set(range(first, first + size)) - seen
        seen |= new
        highest = max(highest, first + size)
        assert sequence.received == len(seen)
        assert sequence.missing == highest - len(seen)


def test_gaps_are_bounded() -> None:
    """A source that loses for ever costs no more memory, and its losses are still counted."""
    sequence = Sequence()
    for number in range(0, 10_000, 2):
        sequence.add(number + 1, 1)
    assert sequence.missing == 5000
    assert sequence.add(0, 1) == []
    assert len(sequence._gaps) == MAX_GAPS
