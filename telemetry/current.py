"""The span that the running code stands below, for whatever begins inside of it.

It goes where the context of the code goes: into tasks, threads and callbacks. Where the user's own
tracing is OpenTelemetry, both stand for each other: a span of theirs is a parent for ours, and while one
of ours is current, theirs begin below it. OpenTelemetry is never imported from here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NamedTuple

from llmgine.telemetry.context import TraceContext
from llmgine.telemetry.names import SpanKind
from llmgine.telemetry.records import Batch, MalformedBatch
from llmgine.telemetry.redact import Mask
from llmgine.telemetry.spans import OpenSpan, SpanRecorder

_API, _CONTEXT = "opentelemetry.trace", "opentelemetry.context"


class Scope(NamedTuple):
    """Where code runs: what records its spans, the span it stands below, the session it works for.

    `mask` takes the secrets out of its spans that were given out to this code.
    """

    recorder: SpanRecorder
    context: TraceContext
    session: str
    mask: Mask | None = None


scope: ContextVar[Scope | None] = ContextVar("llmgine_span", default=None)
"""The present scope; None outside of every span."""

# Takes the spans of code that runs where nothing is recorded, as in a test of a tool's function.
_nowhere = SpanRecorder("nowhere", 1)


def current_trace(trace: TraceContext | str | None = None) -> TraceContext | None:
    """The parent of what begins now: what is given, else the user's current span, else ours.

    A `traceparent` that cannot be read counts as none given, as W3C asks.
    """
    given = TraceContext.parse(trace) if isinstance(trace, str) else trace
    if given is not None:
        return given
    theirs = current_opentelemetry() if _API in sys.modules else None
    if theirs is not None:
        return theirs
    present = scope.get()
    return None if present is None else present.context


def traceparent() -> str | None:
    """The current span as the W3C header, for requests of the user's own; None outside of every span."""
    context = current_trace()
    return None if context is None else context.traceparent


@contextmanager
def span(
    name: str,
    attributes: Mapping[str, Any] | None = None,
    /,
    *,
    kind: SpanKind = "internal",
    trace: TraceContext | str | None = None,
    **named: Any,
) -> Iterator[OpenSpan]:
    """A span of the user's own, below the one that the code stands in; an exception ends it as an error.

    In tools, handlers and below spans of a driver it is recorded, anywhere else it goes nowhere.
    """
    present = scope.get()
    with recorded(
        _nowhere if present is None else present.recorder,
        name,
        {**(attributes or {}), **named},
        kind=kind,
        trace=trace,
    ) as begun:
        yield begun


@contextmanager
def recorded(
    recorder: SpanRecorder,
    name: str,
    attributes: dict[str, Any],
    *,
    kind: SpanKind = "internal",
    trace: TraceContext | str | None = None,
) -> Iterator[OpenSpan]:
    """A span as the present one, in this recorder."""
    present = scope.get()
    with (
        recorder.start(
            name,
            kind=kind,
            parent=current_trace(trace),
            session="" if present is None else present.session,
            attributes=attributes or None,
            mask=None if present is None else present.mask,
        ) as begun,
        standing_in(begun),
    ):
        yield begun


@contextmanager
def standing_in(begun: OpenSpan) -> Iterator[None]:
    """What begins in here stands below the span; it is not ended by this."""
    if begun.recorder is _nowhere:
        yield
        return
    with within(Scope(begun.recorder, begun.context, begun.session, begun.mask)):
        yield


@contextmanager
def masking(mask: Mask) -> Iterator[None]:
    """Texts of the spans that begin in here are told as the mask leaves them."""
    present = scope.get()
    token = scope.set(None if present is None else present._replace(mask=mask))
    try:
        yield
    finally:
        with suppress(ValueError):  # as in `leave`
            scope.reset(token)


@contextmanager
def within(present: Scope | None) -> Iterator[None]:
    """What begins in here stands below this scope's span, be it one of another process; None: below none."""
    entered = enter(present)
    try:
        yield
    finally:
        leave(entered)


def enter(present: Scope | None) -> Any:
    """As the begin of `within`, for who cannot use a block; `leave` is given what this returns."""
    return scope.set(present), _attach(None if present is None else present.context)


def leave(entered: Any) -> None:
    """What `enter` has set is as it was before."""
    token, theirs = entered
    # A generator may be closed from another context, which has no need of it.
    if theirs is not None and sys.modules[_CONTEXT].get_current() is theirs[0]:
        sys.modules[_CONTEXT].detach(theirs[1])
    with suppress(ValueError):
        scope.reset(token)


def adopt(wire: bytes) -> None:
    """Records, where the present span is recorded, what another process has recorded for it."""
    present = scope.get()
    if present is not None:
        with suppress(MalformedBatch):  # a tool may write anything where its process writes
            present.recorder.adopt(Batch.unpack(wire))


def others_present() -> bool:
    """Whether OpenTelemetry has a context here, at a tenth of the cost of asking for its span."""
    try:
        return bool(sys.modules[_CONTEXT].get_current())
    except (KeyError, AttributeError):  # it is not there, or being imported right now
        return False


def current_opentelemetry() -> TraceContext | None:
    """The user's current OpenTelemetry span; None where there is none."""
    if not others_present():
        return None
    try:
        context = sys.modules[_API].get_current_span().get_span_context()
    except (KeyError, AttributeError):  # it is not there, or being imported right now
        return None
    return (
        TraceContext(context.trace_id, context.span_id, int(context.trace_flags))
        if context.is_valid
        else None
    )


def _attach(context: TraceContext | None) -> tuple[Any, Any] | None:
    """Makes it OpenTelemetry's current span, where that is in use; the context then, and what ends it."""
    api, contexts = sys.modules.get(_API), sys.modules.get(_CONTEXT)
    try:
        if api is None or contexts is None or (context is None and not contexts.get_current()):
            return None
        theirs = api.INVALID_SPAN
        if context is not None:
            flags = api.TraceFlags(context.flags)
            place = api.SpanContext(context.trace_id, context.span_id, is_remote=True, trace_flags=flags)
            theirs = api.NonRecordingSpan(place)
        made = api.set_span_in_context(theirs)
        return made, contexts.attach(made)
    except AttributeError:  # it is being imported right now
        return None
