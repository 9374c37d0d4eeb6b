"""The spans of a driver: what it asks of sessions and models, and its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llmgine.actors.pools.client.spans import ended
from llmgine.telemetry import OpenSpan, SpanRecorder, TraceContext, current_trace, names


@contextmanager
def asked(
    recorder: SpanRecorder, verb: str, session: str, trace: TraceContext | str | None
) -> Iterator[OpenSpan]:
    """A turn that is asked for in here, until what the verb is for is there; the turn stands below it."""
    span = recorder.start(
        names.driver_span(verb),
        kind="client",
        parent=current_trace(trace),
        session=session,
        attributes={names.GEN_AI_CONVERSATION_ID: session},
    )
    with ended(span):
        yield span
