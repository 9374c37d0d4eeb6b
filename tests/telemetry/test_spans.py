"""Recording and draining."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from llmgine.telemetry import Batch, MalformedBatch, Span, SpanRecorder, TraceContext, error_type, names


def ticking() -> Callable[[], int]:
    """A clock that gives 1, 2, 3 …"""
    now = iter(range(1, 10**9))
    return lambda: next(now)


def recorder(**options: Any) -> SpanRecorder:
    return SpanRecorder("session-1", clock=ticking(), **options)


def spans(batch: Batch | None) -> list[Span]:
    assert batch is not None
    unpacked = Batch.unpack(batch.pack())
    assert unpacked == batch
    return [Span.from_record(record, unpacked.source) for record in unpacked.spans]


def test_a_span_that_runs_is_shown_with_what_is_known() -> None:
    """A start travels before the end does, and the end is whole by itself."""
    source = recorder()
    span = source.start("chat gpt-4o", kind="client", session="s", attributes={"a": 1})
    [running] = spans(source.drain())
    assert (running.end, running.attributes, running.session) == (None, {"a": 1}, "s")
    span.set(b=2)
    span.end(attributes={"c": 3}, error="timeout")
    [ended] = spans(source.drain())
    assert (ended.start, ended.end) == (running.start, 2)
    assert ended.attributes == {"a": 1, "b": 2, "c": 3}
    assert ended.error == "timeout"
    assert ended.kind == "client"
    assert source.drain() is None


def test_a_span_that_ended_before_the_drain_travels_once() -> None:
    """Short work costs one record on the wire, not two."""
    source = recorder()
    with source.start("short"):
        pass
    assert len(spans(source.drain())) == 1


def test_children_take_the_trace_and_flags_of_their_parent() -> None:
    """A child joins its parent's trace, here or from another process; without one it begins a trace."""
    source = recorder()
    with source.start("turn") as turn, source.start("tool", parent=turn.context) as tool:
        assert (tool.trace_id, tool.parent_id) == (turn.trace_id, turn.span_id)
    far = TraceContext(7, 9, 0)
    assert source.start("far", parent=far).context[0::2] == (7, 0)
    assert source.start("a").trace_id != source.start("b").trace_id


def test_only_the_first_end_counts() -> None:
    """Ending twice and setting after the end change nothing."""
    source = recorder()
    span = source.start("once")
    span.end()
    span.end(error="late")
    span.set({"late": 1})
    [ended] = spans(source.drain())
    assert ended.error is None
    assert not ended.attributes


def test_a_block_that_raises_ends_its_span_with_the_kind_of_error() -> None:
    """The exception's class is told, its text is not; a cancelled block says so."""
    source = recorder()
    with pytest.raises(ValueError, match="secret"), source.start("work"):
        raise ValueError("secret words")
    with pytest.raises(asyncio.CancelledError), source.start("work"):
        raise asyncio.CancelledError
    batch = source.drain()
    assert [span.error for span in spans(batch)] == ["ValueError", names.CANCELLED]
    assert batch is not None
    assert b"secret words" not in batch.pack()
    assert error_type(MalformedBatch()) == "MalformedBatch"


class TooLate(Exception):
    """It says itself what it is called."""

    error_type = "timeout"


class Unspeakable(Exception):
    """It cannot even be asked what it is called."""

    def __getattr__(self, name: str) -> str:
        raise RuntimeError(name)


def test_an_error_has_one_name_wherever_it_ends_a_span() -> None:
    """Its own word, as a failed model call has one, else its class."""
    source = recorder()
    for error in (TooLate(), Unspeakable()):
        with pytest.raises(type(error)), source.start("work"):
            raise error
    assert [span.error for span in spans(source.drain())] == ["timeout", "Unspeakable"]


def test_a_full_ring_drops_the_oldest_and_counts_it() -> None:
    """Loss takes numbers and is told, so that no record goes unseen in silence."""
    source = recorder(capacity=4)
    for number in range(10):
        source.start(f"work {number}").end()
    batch = source.drain()
    assert batch is not None
    assert [span.name for span in spans(batch)] == ["work 6", "work 7", "work 8", "work 9"]
    assert batch.lost == 6
    assert (batch.first, batch.next) == (6, 10)
    source.start("later").end()
    later = source.drain()
    assert later is not None
    assert (later.first, later.lost) == (10, 6)


def test_losses_alone_are_told_too() -> None:
    """A batch is made for a loss even where nothing else is left to say."""
    source = recorder(capacity=1)
    source.start("a")
    assert len(spans(source.drain())) == 1
    source.lost += 1
    told = source.drain()
    assert told is not None
    assert (told.spans, told.lost, told.next) == ((), 1, 2)


def test_an_end_after_its_start_was_dropped_still_arrives() -> None:
    """What the ring let go of as running comes back as ended."""
    source = recorder(capacity=1)
    first = source.start("first")
    source.start("second").end()
    assert len(spans(source.drain())) == 1
    first.end()
    [ended] = spans(source.drain())
    assert (ended.name, ended.end is None) == ("first", False)


def test_drains_are_numbered_without_gaps() -> None:
    """Batches of any size count their records from 0 on."""
    source = recorder()
    for _ in range(10):
        source.start("work").end()
    seen = []
    while (batch := source.drain(3)) is not None:
        seen.append((batch.number, batch.first, len(batch.spans)))
    assert seen == [(1, 0, 3), (2, 3, 3), (3, 6, 3), (4, 9, 1)]


def test_whoever_ships_is_told_at_the_mark_once() -> None:
    """The mark is told once until the next drain."""
    source, told = recorder(), []
    source.notify_at(3, lambda: told.append(source.pending))
    for _ in range(10):
        source.start("work")
    assert told == [3]
    source.drain()
    for _ in range(3):
        source.start("work")
    assert len(told) == 2


def test_the_ring_stays_bounded_with_a_mark() -> None:
    """Being told does not lift the bound."""
    source = recorder(capacity=8)
    source.notify_at(4, lambda: None)
    for _ in range(100):
        source.start("work")
    assert source.pending == 8
    assert source.lost == 92


def test_threads_lose_nothing_silently() -> None:
    """Spans of many threads are each shipped or counted as lost."""
    source = SpanRecorder("threads", capacity=500)

    def work() -> None:
        for _ in range(2000):
            source.start("work").end()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batch = source.drain()
    assert batch is not None
    assert len(batch.spans) == 500
    assert batch.next == len(batch.spans) + batch.lost >= 8000


def test_draining_beside_recording_loses_no_end() -> None:
    """Whatever moment a drain hits, each span's end is shipped."""
    source = SpanRecorder("threads", capacity=1_000_000)
    ended: set[int] = set()
    done = threading.Event()

    def work() -> None:
        for _ in range(20_000):
            source.start("work").end()
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set() or source.pending:
        if (batch := source.drain(16)) is not None:
            ended |= {record.span_id for record in batch.spans if record.end}
    thread.join()
    assert len(ended) == 20_000


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_attributes_may_hold_anything() -> None:
    """What neither msgpack nor JSON carries becomes text or a note; nothing raises."""
    source = recorder()
    cyclic: dict[str, Any] = {}
    cyclic["self"] = cyclic
    source.start(
        "odd",
        attributes={
            "huge": 2**100,
            "decimal": Decimal("0.1"),
            "surrogate": "\ud800",
            "bytes": b"abc",
            "hostile": Hostile(),
            "cyclic": cyclic,
            "set": {1},
            "nan": float("nan"),
            "long": "x" * 10_000,
            5: "key",  # type: ignore[dict-item]
        },
    ).end()
    batch = source.drain()
    assert batch is not None
    attributes = Batch.unpack(batch.pack()).spans[0].attributes
    assert attributes is not None
    assert attributes["huge"] == str(2**100)
    assert attributes["decimal"] == "0.1"
    assert attributes["bytes"] == "[3 bytes]"
    assert "RuntimeError" in attributes["hostile"]
    assert len(attributes["long"]) < 4200
    assert attributes["5"] == "key"
    assert attributes["nan"] == "nan"
    assert json.loads(json.dumps(attributes, allow_nan=False))["cyclic"]


class Unreadable(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("changed size during iteration")


def test_what_cannot_be_read_takes_nothing_with_it() -> None:
    """A value that fails when it is read is named, what is no link costs its span alone, which is counted."""
    source = recorder()
    source.start("before").end()
    source.start("value", attributes={"a": 1, "odd": Unreadable(b=2)}).end()
    with source.start("link") as linked:
        linked.link(object())  # type: ignore[arg-type]
    source.start("attributes", attributes=[("a", 1)]).end(error="odd")  # type: ignore[arg-type]
    source.start("after").end()
    batch = source.drain()
    assert batch is not None
    before, value, link, attributes, after = spans(batch)
    assert (before.name, after.name) == ("before", "after")
    assert value.attributes == {"a": 1, "odd": "[Unreadable that cannot be read: RuntimeError]"}
    assert (link.name, link.links, link.end) == ("link", (), link.start + 1)
    assert (attributes.error, attributes.attributes) == ("odd", {})
    assert [(series.name, series.value) for series in batch.metrics] == [(names.METRIC_SPANS_STRIPPED, 2)]
    assert (batch.first, batch.next, batch.lost) == (0, 5, 0)


def test_a_link_may_be_given_as_text() -> None:
    """A traceparent links as its context does; one that cannot be read links to nothing."""
    source = recorder()
    other = TraceContext(7, 9)
    with source.start("work") as span:
        span.link(other.traceparent)
        span.link("00-nonsense")
    [told] = spans(source.drain())
    assert told.links == ((7, 9),)


def test_content_never_leaves_unless_it_is_switched_on() -> None:
    """Prompts, answers and tool arguments are neither shipped nor held, in starts and in ends."""
    content = dict.fromkeys(names.CONTENT_ATTRIBUTES, "what was said") | {names.CONTENT_PREFIX + "x": "said"}
    source = recorder()
    span = source.start("chat", attributes={"kept": 1, **content})
    start = source.drain()
    span.end(attributes=dict(content))
    assert not names.CONTENT_ATTRIBUTES.intersection(source.ring[-1].attributes or {})
    for batch in (start, source.drain()):
        assert batch is not None
        assert b"said" not in batch.pack()
        assert batch.spans[0].attributes == {"kept": 1}
    switched = recorder(content=True)
    switched.start("chat", attributes=dict(content)).end()
    [ended] = spans(switched.drain())
    assert ended.attributes == content


def test_the_redaction_hook_has_the_last_word() -> None:
    """The hook sees every record in the recording process, and what it takes out does not leave."""
    source = recorder(
        content=True,
        redact=lambda name, attributes: {key: "█" if "input" in key else v for key, v in attributes.items()},
    )
    span = source.start("chat", attributes={names.GEN_AI_INPUT_MESSAGES: "my name is Ada", "a": 1})
    start = source.drain()
    span.end()
    for batch in (start, source.drain()):
        assert spans(batch)[0].attributes == {names.GEN_AI_INPUT_MESSAGES: "█", "a": 1}


def test_a_redaction_hook_that_fails_lets_nothing_through() -> None:
    """A record whose redaction failed leaves without attributes, and that is counted."""

    def broken(name: str, attributes: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("broken")

    source = recorder(redact=broken)
    source.start("chat", attributes={"a": "private"}).end()
    batch = source.drain()
    assert batch is not None
    assert b"private" not in batch.pack()
    assert [(series.name, series.value) for series in batch.metrics] == [(names.METRIC_REDACTION_FAILED, 1)]


def test_a_clock_that_is_set_back_gives_no_negative_time() -> None:
    """A span never ends before it began."""
    source = SpanRecorder("clock", clock=iter([100, 50]).__next__)
    source.start("work").end()
    assert spans(source.drain())[0].seconds == 0


@pytest.mark.parametrize(
    "wire",
    [b"", b"\xc1", b"\x90", b"\x01", Batch("s", 1, 0, 0, 0).pack()[:-1], b"\x93\x01\x02\x03", b"\xff" * 20],
)
def test_bytes_that_are_no_batch_are_refused(wire: bytes) -> None:
    """Anything but a batch of this version raises MalformedBatch."""
    with pytest.raises(MalformedBatch):
        Batch.unpack(wire)


def test_malformed_records_are_refused() -> None:
    """A batch with a record of another shape is refused as a whole."""
    good = (b"t" * 16, 1, 0, "n", 0, "", 1, 2, None, None)
    for index, bad in ((0, b"short"), (1, "x"), (3, 5), (4, 77), (6, -1), (7, 2**63), (9, [])):
        record: tuple[Any, ...] = (*good[:index], bad, *good[index + 1 :])
        with pytest.raises(MalformedBatch):
            Batch.unpack(Batch("s", 1, 0, 0, 0, (record,)).pack())  # type: ignore[arg-type]
    for time in (-1, 2**63):
        with pytest.raises(MalformedBatch):
            Batch.unpack(Batch("s", 1, 0, 0, 0, ((*good, None, ((time, "e", None),)),)).pack())  # type: ignore[arg-type]
    for series in (("counter", "n", (), "text"), ("other", "n", (), 1), ("histogram", "n", (), 3)):
        with pytest.raises(MalformedBatch):
            Batch.unpack(Batch("s", 1, 0, 0, 0, (), (series,)).pack())  # type: ignore[arg-type]


def test_what_callers_get_wrong_does_not_stop_the_rest() -> None:
    """Names that are no text, ids that are too long and unknown kinds travel as something plain."""
    source = recorder()
    wrong: Any = TraceContext(2**200 + 5, 2**70 + 6)
    source.start(7, kind="odd", parent=wrong, session=None).end(error=ValueError("x"))  # type: ignore[arg-type]
    [span] = spans(source.drain())
    assert (span.name, span.kind, span.trace_id, span.parent_id) == ("7", "internal", 5, 6)
    assert (span.session, span.error) == ("None", "x")


def test_names_and_errors_bear_no_keys() -> None:
    """A key that got into an error or a name is masked there too."""
    source = recorder()
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz"
    source.start(f"call {key}").end(error=f"bad key {key}")
    batch = source.drain()
    assert batch is not None
    assert key.encode() not in batch.pack()


def test_metrics_can_wait_for_a_later_batch() -> None:
    """What changed is not lost when a batch goes without it."""
    recorder = SpanRecorder("a")
    recorder.count("things")
    assert recorder.drain(metrics=False) is None
    recorder.start("work").end()
    without = recorder.drain(metrics=False)
    assert without is not None
    assert without.metrics == ()
    later = recorder.drain()
    assert later is not None
    assert [(series.name, series.value) for series in later.metrics] == [("things", 1)]
