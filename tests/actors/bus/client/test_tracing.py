"""Spans of hops: which there are, and how they hang together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import TracerProvider

from llmgine.actors.bus import BatchPolicy, Command, Event, RetryPolicy
from llmgine.actors.bus.tracing import Tracing
from llmgine.actors.sessions.messages import TurnStarted
from llmgine.telemetry import Span, SpanRecorder, TelemetryOptions, TraceContext, current_trace, names, span
from llmgine.telemetry.current import recorded
from llmgine.telemetry.sampling import TailSampler
from llmgine.telemetry.spans import OpenSpan
from tests.actors.bus.client.conftest import House

Until = Callable[..., Any]


class Heard(Event):
    pass


class Asked(Command[int]):
    pass


class Ends:
    """Two clients that trace: one to publish, one to handle."""

    def __init__(self, house: House, sample: int = 0) -> None:
        self.here, self.there = SpanRecorder("here", content=True), SpanRecorder("there", content=True)
        self.publisher = house.client("publisher", recorder=self.here, sample=sample)
        self.handler = house.client("handler", recorder=self.there, sample=sample)

    def spans(self) -> list[Span]:
        """All that was recorded, by its begin."""
        found = []
        for recorder in (self.here, self.there):
            batch = recorder.drain()
            found += [] if batch is None else [Span.from_record(one, recorder.source) for one in batch.spans]
        return sorted(found, key=lambda one: one.start)


async def seen(event: Any) -> None:
    with span("in the handler"):
        pass


async def test_a_session_event_in_a_trace(house: House) -> None:
    """Its handler stands below its sending, linked to it, and spans in the handler below the handler."""
    ends = Ends(house)
    await ends.handler.register_event_handler(Heard, seen, name="seen")
    with recorded(ends.here, "outer", {}):
        await ends.publisher.publish(Heard(session_id="s"), wait=True)
    outer, send, process, inner = ends.spans()
    assert [one.name for one in (outer, send, process, inner)] == [
        "outer",
        "send Heard",
        "process Heard",
        "in the handler",
    ]
    assert [one.kind for one in (send, process)] == ["producer", "consumer"]
    assert (send.parent_id, process.parent_id, inner.parent_id) == (
        outer.span_id,
        send.span_id,
        process.span_id,
    )
    assert [link.span_id for link in process.links] == [send.span_id]
    assert {one.session for one in (send, process, inner)} == {"s"}
    told = process.attributes
    assert told[names.MESSAGING_SYSTEM] == "llmgine"
    assert told[names.MESSAGING_OPERATION_TYPE] == "process"
    assert told[names.MESSAGING_DESTINATION_NAME] == Heard.__wire_name__
    assert told[names.MESSAGING_MESSAGE_CONVERSATION_ID] == "s"
    assert told[names.LLMGINE_HANDLER] == "seen"


async def test_an_event_of_the_bus_in_a_trace(house: House) -> None:
    """It may have any number of handlers: each begins a trace of its own, linked to the sending."""
    ends = Ends(house)
    await ends.handler.register_event_handler(Heard, seen, name="seen")
    with recorded(ends.here, "outer", {}):
        await ends.publisher.publish(Heard(), wait=True)
    _, send, process, inner = ends.spans()
    assert process.trace_id != send.trace_id
    assert process.parent_id == 0
    assert [(link.trace_id, link.span_id) for link in process.links] == [(send.trace_id, send.span_id)]
    assert inner.trace_id == process.trace_id


async def test_a_command_in_a_trace(house: House) -> None:
    """One handler answers it, below its sending, whosever command it is; a failure is on both."""
    ends = Ends(house)

    async def fail(command: Asked) -> int:
        raise ValueError("what was said")

    await ends.handler.register_command_handler(Asked, fail, name="fail")
    with recorded(ends.here, "outer", {}):
        result = await ends.publisher.execute(Asked())
    assert not result.success
    outer, send, process = ends.spans()
    assert (send.parent_id, process.parent_id, process.links) == (outer.span_id, send.span_id, ())
    assert [(one.error, one.message) for one in (outer, send, process)] == [
        (None, ""),
        ("ValueError", "what was said"),
        ("ValueError", "what was said"),
    ]


async def test_loose_events_make_no_spans(house: House) -> None:
    """Outside of every trace a hop leaves none, and its handler stands below nothing."""
    ends = Ends(house)
    below = []

    async def look(event: Heard) -> None:
        below.append(current_trace())

    await ends.handler.register_event_handler(Heard, look, name="look")
    for _ in range(20):
        await ends.publisher.publish(Heard(), wait=True)
    assert below == [None] * 20
    assert ends.spans() == []


async def test_one_in_so_many_loose_events_is_traced(house: House) -> None:
    """The share is as it was asked for, and what is traced is traced at both ends."""
    ends = Ends(house, sample=10)
    await ends.handler.register_event_handler(Heard, seen, name="seen")
    for _ in range(400):
        await ends.publisher.publish(Heard(session_id="s"), wait=True)
    found = ends.spans()
    sent = [one for one in found if one.name == "send Heard"]
    assert 20 <= len(sent) <= 80
    assert {one.parent_id for one in sent} == {0}
    assert len({one.trace_id for one in sent}) == len(sent)
    handled = {one.parent_id for one in found if one.name == "process Heard"}
    assert handled == {one.span_id for one in sent}


async def test_a_loose_hop_that_fails_has_a_span(house: House) -> None:
    """Whoever handled it tells, with the time that it took; what was fine before and after does not."""
    ends = Ends(house)
    failing = iter([False, True, False])

    async def fail(event: Heard) -> None:
        if next(failing):
            raise ValueError("no")

    await ends.handler.register_event_handler(Heard, fail, name="fail", retry=RetryPolicy(retries=0))
    for _ in range(3):
        await ends.publisher.publish(Heard(), wait=True)
    (failed,) = ends.spans()
    assert (failed.name, failed.error, failed.message) == ("process Heard", "ValueError", "no")
    assert failed.end is not None
    assert failed.start <= failed.end


async def test_what_comes_after_stands_below_nothing(house: House) -> None:
    """A worker that has handled something traced handles the next one as if it had not."""
    ends = Ends(house)
    below = []

    async def look(event: Heard) -> None:
        below.append(current_trace())

    await ends.handler.register_event_handler(Heard, look, name="look")
    with recorded(ends.here, "outer", {}):
        traced = ends.publisher.publish(Heard(session_id="s"))
        await traced
    await asyncio.gather(*(ends.publisher.publish(Heard(session_id="s"), wait=True) for _ in range(5)))
    assert below[0] is not None
    assert below[1:] == [None] * 5


async def test_a_handler_forgets_the_span_that_it_was_registered_below(house: House) -> None:
    """The context of the registration is the handler's, but for its span, which is long over."""
    ends = Ends(house)
    below = []

    async def look(event: Heard) -> None:
        below.append(current_trace())

    tracer = TracerProvider().get_tracer("theirs")
    with tracer.start_as_current_span("theirs"), recorded(ends.there, "registering", {}):
        await ends.handler.register_event_handler(Heard, look, name="look")
    await ends.publisher.publish(Heard(), wait=True)
    assert below == [None]


async def test_the_users_tracing_joins_in_handlers(house: House) -> None:
    """Their span is the parent of what is published in it; in a traced handler, ours is that of theirs."""
    ends = Ends(house)
    found = []

    async def look(event: Heard) -> None:
        found.append(otel.get_current_span().get_span_context().span_id)

    await ends.handler.register_event_handler(Heard, look, name="look")
    tracer = TracerProvider().get_tracer("theirs")
    with tracer.start_as_current_span("theirs") as theirs:
        await ends.publisher.publish(Heard(session_id="s"), wait=True)
    await ends.publisher.publish(Heard(session_id="s"), wait=True)
    send, process = ends.spans()
    assert send.parent_id == theirs.get_span_context().span_id
    assert found == [process.span_id, 0]


async def test_sync_handlers_and_what_they_publish(house: House) -> None:
    """A handler in a thread stands below its span, too."""
    ends = Ends(house)

    def look(event: Heard) -> None:
        with span("in a thread"):
            pass

    await ends.handler.register_event_handler(Heard, look, name="look")
    with recorded(ends.here, "outer", {}):
        await ends.publisher.publish(Heard(session_id="s"), wait=True)
    found = {one.name: one for one in ends.spans()}
    assert found["in a thread"].parent_id == found["process Heard"].span_id


async def test_a_batch_has_one_span(house: House) -> None:
    """It is linked to the sending of each of its events, and says how many there were."""
    ends = Ends(house)

    async def take(events: list[Heard]) -> None:
        with span("in the batch"):
            pass

    policy = BatchPolicy(size=3, wait=5.0)
    await ends.handler.register_event_handler(Heard, take, name="take", batch=policy)
    with recorded(ends.here, "outer", {}):
        await asyncio.gather(*(ends.publisher.publish(Heard(session_id="s"), wait=True) for _ in range(3)))
    found = ends.spans()
    (process,) = (one for one in found if one.name == "process Heard")
    (inner,) = (one for one in found if one.name == "in the batch")
    assert {link.span_id for link in process.links} == {
        one.span_id for one in found if one.name == "send Heard"
    }
    assert process.attributes[names.MESSAGING_BATCH_MESSAGE_COUNT] == 3
    assert inner.parent_id == process.span_id


async def test_what_the_runtime_tells_has_no_sending(house: House) -> None:
    """Handlers of its events stand below what these tell of; the events themselves are counted."""
    ends = Ends(house)
    await ends.handler.register_event_handler(TurnStarted, seen, name="seen")
    with recorded(ends.here, "the turn", {}) as turn:
        await ends.publisher.publish(TurnStarted(session_id="s", turn_id="s:1"), wait=True)
    labels = {names.LLMGINE_EVENT_TYPE: "TurnStarted"}
    assert ends.here.metrics.counter(names.METRIC_RUNTIME_EVENTS, **labels).value == 1
    _, process, _ = ends.spans()
    assert process.name == "process TurnStarted"
    assert process.parent_id == turn.span_id


async def test_an_unsampled_trace_goes_through(house: House) -> None:
    """Who does not sample their trace gets no spans of hops, but its context at the other end."""
    ends = Ends(house)
    below = []

    async def look(event: Heard) -> None:
        below.append(current_trace())

    await ends.handler.register_event_handler(Heard, look, name="look")
    parent = TraceContext(1, 2, 0)
    with recorded(ends.here, "outer", {}, trace=parent) as outer:
        await ends.publisher.publish(Heard(session_id="s"), wait=True)
    assert below == [outer.context]
    assert [one.name for one in ends.spans()] == ["outer"]


async def test_what_cannot_be_sent_leaves_no_open_span(house: House) -> None:
    """A message that cannot be written ends its sending at once, as an error."""
    ends = Ends(house)
    message = Heard(metadata={"it": object()})
    with recorded(ends.here, "outer", {}), pytest.raises(Exception, match="metadata"):
        await ends.publisher.publish(message)
    _, send = ends.spans()
    assert (send.error, send.end is not None) == ("unsendable", True)


def test_loose_messages_are_traced_by_trace_id() -> None:
    """One in so many is the root of a trace whose id is among the same share of all ids."""
    recorder = SpanRecorder("here")
    tracing, traced, sent = Tracing(recorder, 4), list[OpenSpan](), 0
    while len(traced) < 500:
        sent += 1
        tracing.left -= 1
        _, began = tracing.sent(Heard())
        if began is not None:
            traced.append(began)
    assert sent == pytest.approx(2000, rel=0.25)
    assert {one.parent_id for one in traced} == {0}
    keeps = TailSampler(TelemetryOptions(sample_ratio=0.25, sample_slow=None))
    for one in traced:
        one.end()
    batch = recorder.drain(500)
    assert batch is not None
    assert len(keeps.add([Span.from_record(record, "here") for record in batch.spans], 0)) == 500


def test_the_users_generator_is_left_alone() -> None:
    """Which loose messages are traced is drawn elsewhere: a seed gives users the same numbers as ever."""
    random.seed(7)
    expected = random.random()
    random.seed(7)
    tracing = Tracing(SpanRecorder("here"), 1000)
    tracing.left = 0
    tracing.sent(Heard())
    assert tracing.left > 0
    assert random.random() == expected
