"""Spans of hops on the bus: of messages in a sampled trace, of one in so many others, of what failed.

Whoever sends decides, once, and everybody after goes by the context that the message carries. A command
is handled below the span of its sending. An event has many handlers: each has a span that is linked to the
sending, and stands below it where the event is a session's, whose trace then holds all of it; handlers
of the bus's other events begin traces of their own. What the runtime itself tells of its work is in the
spans of that work: its events are sent without a span, and their handlers stand below what they tell of.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from llmgine.actors.bus import wire
from llmgine.actors.bus.errors import UndecodableMessage
from llmgine.actors.bus.messages import BUS, LINEAGE_SEPARATOR, Message
from llmgine.actors.bus.payload import read_head
from llmgine.telemetry import (
    Counter,
    Histogram,
    OpenSpan,
    SpanRecorder,
    TraceContext,
    current_trace,
    names,
)
from llmgine.telemetry.context import next_root
from llmgine.telemetry.current import Scope, enter, leave

_OWN = "llmgine."
_NEVER = sys.maxsize


class Delivered(Protocol):
    """As much of a delivery as its span tells."""

    @property
    def id(self) -> str: ...
    @property
    def trace(self) -> bytes | None: ...
    @property
    def head(self) -> Any: ...
    @property
    def passage(self) -> Any: ...


class Hop(NamedTuple):
    """A delivery that is being handled, and what leaves its context again."""

    span: OpenSpan | None
    entered: Any

    def end(self, error: str | None = None, text: str = "") -> None:
        """It is over; only the first word on its span counts."""
        if self.span is not None:
            self.span.end(error=error, message=text)

    def leave(self) -> None:
        """What comes next in this context has nothing to do with it."""
        leave(self.entered)


class Tracing:
    """The hops of one process, in its recorder; of loose messages one in `one_in` is traced, by trace id.

    0 is for none. The next one is known beforehand: `left` counts the messages down to it.
    """

    def __init__(self, recorder: SpanRecorder, one_in: int) -> None:
        self._recorder = recorder
        self._one_in = one_in
        self.left, self._root = next_root(one_in) if one_in else (_NEVER, TraceContext.new())

    def measures(self, kind: str) -> tuple[Histogram, ...]:
        """Of how long handlers of that kind take: in the bus's own name, and in the conventions'."""
        metrics = self._recorder.metrics
        own = names.METRIC_COMMAND_SECONDS if kind == "command" else names.METRIC_EVENT_SECONDS
        process = {
            names.MESSAGING_SYSTEM: names.SYSTEM,
            names.MESSAGING_OPERATION_NAME: names.OPERATION_PROCESS,
        }
        return metrics.histogram(own), metrics.histogram(names.METRIC_PROCESS_DURATION, **process)

    # Sending

    def told(self, message_class: type[Message]) -> Counter | None:
        """What counts the messages of a class that the runtime itself tells; None for users' own."""
        if not _is_own(message_class):
            return None
        labels = {names.LLMGINE_EVENT_TYPE: message_class.__name__}
        return self._recorder.metrics.counter(names.METRIC_RUNTIME_EVENTS, **labels)

    def sent(self, message: Message) -> tuple[bytes | None, OpenSpan | None]:
        """The context that the message carries, and its span, which its sender ends."""
        context = current_trace()
        own = _is_own(type(message))
        if context is None:
            if self.left > 0:
                return None, None
            context = self._root
            self.left, self._root = next_root(self._one_in)
            if own:
                return None, None
        elif own or not context.sampled:
            return context.to_wire(), None
        span = self._start(names.OPERATION_SEND, message.__wire_name__, message.session_id, context)
        return span.context.to_wire(), span

    # Handling

    def begin(self, jobs: Sequence[Delivered], handler: str) -> Hop | None:
        """These are handled together from now on, in this context; None where none of them has a trace."""
        traced = [(job, TraceContext.from_wire(job.trace)) for job in jobs if job.trace is not None]
        if not traced:
            return None
        sampled = [(job, sender) for job, sender in traced if sender.sampled]
        if not sampled:
            job, sender = traced[0]
            return Hop(None, enter(Scope(self._recorder, sender, _session(job))))
        span = self._handled(*sampled[0], handler)
        for _, sender in sampled[1:]:
            span.link(sender)
        if len(jobs) > 1:
            span.set({names.MESSAGING_BATCH_MESSAGE_COUNT: len(jobs)})
        return Hop(span, enter(Scope(self._recorder, span.context, span.session)))

    def failed(self, job: Delivered, handler: str, error: str, text: str, took: float) -> None:
        """A delivery has failed that had no span while it ran; `took` is in seconds."""
        sender = None if job.trace is None else TraceContext.from_wire(job.trace)
        span = self._handled(job, sender, handler)
        span.start -= int(took * 1e9)
        span.end(error=error, message=text)

    def _handled(self, job: Delivered, sender: TraceContext | None, handler: str) -> OpenSpan:
        head = job.head
        below = sender if head.command or head.session != BUS else None
        span = self._start(names.OPERATION_PROCESS, head.wire_name, head.session, below)
        span.set(
            {
                names.MESSAGING_MESSAGE_ID: job.id,
                names.LLMGINE_HANDLER: handler,
                names.LLMGINE_ATTEMPT: job.passage.attempt,
                names.LLMGINE_CAUSAL_DEPTH: head.depth,
            }
        )
        if sender is not None and not head.command:
            span.link(sender)
        return span

    # Routing

    def routing(self, runs: Sequence[Any]) -> list[OpenSpan]:
        """The router puts the messages of these runs where they go: spans of those that have one."""
        return [
            self._start(names.OPERATION_ROUTE, lineage.partition(LINEAGE_SEPARATOR)[0], session, context)
            for session, lineage, _, _, _, flags, _, bodies in runs
            if flags & wire.TRACED
            for body in bodies
            if (context := _context_of(body)) is not None
        ]

    def _start(self, operation: str, wire_name: str, session: str, parent: TraceContext | None) -> OpenSpan:
        attributes: dict[str, Any] = {
            names.MESSAGING_SYSTEM: names.SYSTEM,
            names.MESSAGING_OPERATION_NAME: operation,
            names.MESSAGING_DESTINATION_NAME: wire_name,
        }
        if operation != names.OPERATION_ROUTE:
            attributes[names.MESSAGING_OPERATION_TYPE] = operation
        if session != BUS:
            attributes[names.MESSAGING_MESSAGE_CONVERSATION_ID] = session
        return self._recorder.start(
            names.messaging_span(operation, wire_name.rpartition(".")[2]),
            kind=_KINDS[operation],
            parent=parent,
            session="" if session == BUS else session,
            attributes=attributes,
        )


_KINDS: dict[str, names.SpanKind] = {
    names.OPERATION_SEND: "producer",
    names.OPERATION_ROUTE: "internal",
    names.OPERATION_PROCESS: "consumer",
}


def _context_of(body: bytes) -> TraceContext | None:
    """Where the message stands; None where its body cannot be read, as whoever handles it will find."""
    try:
        _, trace, _ = read_head(body)
        return None if trace is None else TraceContext.from_wire(trace)
    except (UndecodableMessage, ValueError):
        return None


def _is_own(message_class: type[Message]) -> bool:
    """Whether the runtime itself tells messages of the class."""
    return message_class.__wire_name__.startswith(_OWN)


def _session(job: Delivered) -> str:
    return "" if job.head.session == BUS else str(job.head.session)
