"""The span that code stands below, and how it joins the user's own OpenTelemetry."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import TracerProvider

from llmgine.telemetry import Span, SpanRecorder, TraceContext, current_trace, names, span, traceparent
from llmgine.telemetry.current import adopt, recorded, scope, standing_in, within

PARENT = TraceContext(0xABC, 0xDEF)


@pytest.fixture
def recorder() -> SpanRecorder:
    return SpanRecorder("test", content=True)


@pytest.fixture
def tracer() -> Iterator[otel.Tracer]:
    provider = TracerProvider()
    yield provider.get_tracer("of the user")
    provider.shutdown()


def spans(recorder: SpanRecorder) -> dict[str, Span]:
    batch = recorder.drain()
    return {} if batch is None else {one.name: Span.from_record(one, "test") for one in batch.spans}


def theirs() -> TraceContext | None:
    context = otel.get_current_span().get_span_context()
    return TraceContext(context.trace_id, context.span_id) if context.is_valid else None


def test_spans_stand_below_each_other(recorder: SpanRecorder) -> None:
    """A span that begins inside of another is its child, of the same session, and ends with its block."""
    with recorder.start("call", session="s") as call, standing_in(call):
        with span("outer", step=1), span("inner") as inner:
            assert traceparent() == inner.context.traceparent
        assert current_trace() == call.context
    assert scope.get() is None
    found = spans(recorder)
    assert found["inner"].parent_id == found["outer"].span_id
    assert found["outer"].parent_id == call.span_id
    assert found["outer"].attributes == {"step": 1}
    assert {one.session for one in found.values()} == {"s"}
    assert all(one.end for one in found.values())


def test_an_exception_ends_the_span_as_an_error(recorder: SpanRecorder) -> None:
    """What is raised in the block goes on, and stands on the span with what it says."""
    with pytest.raises(KeyError), recorded(recorder, "work", {}):
        raise KeyError("that")
    work = spans(recorder)["work"]
    assert (work.error, work.message) == ("KeyError", "'that'")


def test_what_errors_say_is_content() -> None:
    """Where content is not recorded, the kind of an error is, and nothing of its text."""
    recorder = SpanRecorder("test")
    with pytest.raises(KeyError), recorded(recorder, "work", {}):
        raise KeyError("what somebody said")
    recorder.start("other").end(error="refused", message="what somebody said")
    for one in spans(recorder).values():
        assert one.error
        assert one.message == ""
        assert "said" not in repr(one)


def test_nothing_is_recorded_outside_of_every_span() -> None:
    """A function that makes spans can be called where there is no runtime: nothing comes of them."""
    with span("alone") as alone:
        alone.event("happens")
        alone.set(of="no use")
        assert current_trace() is None
        assert traceparent() is None


async def test_the_scope_goes_into_tasks_and_threads(recorder: SpanRecorder) -> None:
    """Tasks that begin inside of a span stand below it, and so do threads that run in their context."""
    with recorded(recorder, "outer", {}) as outer:

        async def work() -> None:
            with span("in a task"):
                await asyncio.to_thread(lambda: span("in a thread").__enter__())

        await asyncio.create_task(work())
        seen: list[object] = []
        thread = threading.Thread(target=lambda: seen.append(scope.get()))
        thread.start()
        thread.join()
    assert seen == [None]
    found = spans(recorder)
    assert found["in a task"].parent_id == outer.span_id
    assert found["in a thread"].parent_id == found["in a task"].span_id


def test_a_generator_that_is_closed_elsewhere(recorder: SpanRecorder) -> None:
    """A span held open by a generator ends wherever that is closed."""

    def work() -> Generator[int]:
        with recorded(recorder, "held", {}):
            yield 1

    generator = work()
    contextvars.copy_context().run(next, generator)
    contextvars.Context().run(generator.close)
    assert spans(recorder)["held"].error == names.CANCELLED


def test_a_traceparent_is_a_parent(recorder: SpanRecorder) -> None:
    """What is given goes before what is current; one that cannot be read counts as none."""
    with recorded(recorder, "far", {}, trace=PARENT.traceparent):
        with recorded(recorder, "near", {}, trace="nonsense"):
            pass
        with recorded(recorder, "given", {}, trace=PARENT):
            pass
    found = spans(recorder)
    assert (found["far"].trace_id, found["far"].parent_id) == (0xABC, 0xDEF)
    assert found["near"].parent_id == found["far"].span_id
    assert found["given"].parent_id == 0xDEF


def test_a_span_of_the_users_tracing_is_a_parent(recorder: SpanRecorder, tracer: otel.Tracer) -> None:
    """Below a current span of OpenTelemetry ours begin in its trace; it goes before ours further out."""
    with recorded(recorder, "outer", {}), tracer.start_as_current_span("theirs") as parent:
        context = parent.get_span_context()
        with recorded(recorder, "ours", {}):
            pass
    ours = spans(recorder)["ours"]
    assert (ours.trace_id, ours.parent_id) == (context.trace_id, context.span_id)


def test_a_span_of_ours_is_a_parent_for_the_users_tracing(
    recorder: SpanRecorder, tracer: otel.Tracer
) -> None:
    """While ours is current, spans of OpenTelemetry begin below it; afterwards they do not."""
    with recorded(recorder, "ours", {}) as ours:
        assert theirs() == ours.context
        child = tracer.start_span("theirs")
        assert child.parent is not None  # type: ignore[attr-defined]  # of the SDK's class
        assert child.parent.span_id == ours.span_id  # type: ignore[attr-defined]
    assert theirs() is None


def test_outside_of_all_spans_is_outside_of_the_users_too(
    recorder: SpanRecorder, tracer: otel.Tracer
) -> None:
    """Who begins anew takes over no span that happened to be current, ours or theirs."""
    with tracer.start_as_current_span("theirs"), recorded(recorder, "ours", {}):
        with within(None):
            assert current_trace() is None
        assert current_trace() is not None


def test_spans_of_another_process_are_taken_in(recorder: SpanRecorder) -> None:
    """What a tool's process has recorded is recorded here as it was, and nonsense is let be."""
    other = SpanRecorder("tool", content=True)
    with other.start("run", parent=PARENT, session="s", attributes={"process.pid": 1}) as run:
        run.event("half")
        run.link(PARENT)
    batch = other.drain()
    assert batch is not None
    with recorded(recorder, "call", {}):
        adopt(batch.pack())
        adopt(b"nonsense")
    taken = spans(recorder)["run"]
    assert taken == Span.from_record(batch.spans[0], "test")
    assert taken.links
    assert taken.events


def test_opentelemetry_is_never_imported_from_here() -> None:
    """A process that does not use OpenTelemetry does not pay for its import."""
    source = """
import sys
from llmgine.telemetry import SpanRecorder, current_trace, span
from llmgine.telemetry.current import recorded
with recorded(SpanRecorder("x"), "a", {}), span("b"):
    assert current_trace()
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", source], check=True)
