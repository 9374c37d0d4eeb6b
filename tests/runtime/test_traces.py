"""Where turns and model calls stand in the traces of those who ask for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from llmgine.runtime import (
    Event,
    HandlerContext,
    InvalidRequest,
    Runtime,
    ToolContext,
    TraceContext,
    TurnFailed,
    on,
    tool,
    traceparent,
)
from llmgine.telemetry import Span
from tests.cluster.one_trace import tree, whole
from tests.providers.faults.server import FaultServer

PARENT = TraceContext(0xABC, 0xDEF)


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    server = FaultServer()
    await server.start()
    yield server
    await server.stop()


def opened(server: FaultServer | None = None, **endpoint: Any) -> Any:
    providers = {}
    if server is not None:
        house = {"kind": "openai-compatible", "base_url": f"{server.base_url}/v1", **endpoint}
        providers = {"endpoints": {"house": house}}
    return Runtime.in_process({"providers": providers, "control": {"stop_grace": 1}})


def named(spans: tuple[Span, ...], name: str) -> Span:
    (found,) = (one for one in spans if one.name == name)
    return found


async def test_a_providers_server_is_told_where_a_request_stands(server: FaultServer) -> None:
    """The request of a turn carries the span of the call at its provider actor."""
    async with opened(server) as runtime:
        async with runtime.session(model="house/ok") as session:
            reply = await session.ask("Hi")
        context = TraceContext.parse(server.calls[-1].headers["traceparent"])
        assert context is not None
        spans = (await whole(runtime, reply.trace_id)).spans
    call = named(spans, "pool call")
    assert (call.trace_id, call.span_id) == (context.trace_id, context.span_id)
    assert call.attributes["server.port"] == int(server.base_url.rpartition(":")[2])
    chat = named(spans, "chat ok")
    assert chat.attributes["server.address"] == call.attributes["server.address"] == "127.0.0.1"
    assert chat.attributes["gen_ai.conversation.id"] == session.id


async def test_a_providers_server_is_told_nothing_that_it_shall_not_know(server: FaultServer) -> None:
    """An endpoint may do without the header, and one that the request brings is left as it is."""
    own = PARENT.traceparent
    async with opened(server) as runtime:
        await runtime.models.complete("house/ok", "Hi", extra_headers={"Traceparent": own})
    assert server.calls[-1].headers["traceparent"] == own
    async with opened(server, traceparent=False) as runtime:
        await runtime.models.complete("house/ok", "Hi")
    assert "traceparent" not in server.calls[-1].headers


async def test_turns_stand_below_what_is_given() -> None:
    """Each verb takes the place of its turn; without one the turn begins a trace."""
    async with opened() as runtime, runtime.session(model="scripted/echo") as session:
        asked = await session.ask("Hi", trace=PARENT)
        async for event in session.stream("Hi", trace=PARENT.traceparent):
            assert not isinstance(event, TurnFailed)
        turn = await session.submit("Hi", trace=PARENT.traceparent)
        await turn.result()
        alone = await session.ask("Hi")
        view = await whole(runtime, asked.trace_id)
        assert alone.trace_id != asked.trace_id == f"{PARENT.trace_id:032x}"
        assert {one.parent_id for one in view.spans if one.kind == "client" and "turn" in one.name} == {0xDEF}
        turns = [line for line in tree(view.spans) if "invoke_agent" in line or "turn" in line]
        assert turns == [
            "client ask turn",
            "  internal invoke_agent",
            "client stream turn",
            "  internal invoke_agent",
            "client submit turn",
            "  internal invoke_agent",
        ]
        with pytest.raises(InvalidRequest, match="trace="):
            await session.ask("Hi", trace=7)


async def test_turns_and_calls_stand_below_the_users_tracing() -> None:
    """A current span of OpenTelemetry is the parent of what is asked in it."""
    tracer = TracerProvider().get_tracer("theirs")
    async with opened() as runtime, runtime.session(model="scripted/echo") as session:
        with tracer.start_as_current_span("theirs") as theirs:
            reply = await session.ask("Hi")
            await runtime.models.complete("scripted/echo", "Hi")
        context = theirs.get_span_context()
        assert reply.trace_id == f"{context.trace_id:032x}"
        view = await whole(runtime, reply.trace_id)
    outer = [one.name for one in view.spans if one.parent_id == context.span_id]
    assert outer == ["ask turn", "chat echo"]


async def test_models_have_spans_outside_of_sessions() -> None:
    """A call, a stream and vectors each have theirs, below the current span or what is given."""
    async with opened() as runtime:
        with runtime.span("mine") as mine:
            await runtime.models.complete("scripted/echo", "Hi")
            async for _ in runtime.models.stream("scripted/echo", "Hi"):
                pass
        await runtime.models.embed("scripted/echo", ["a"], trace=mine.context)
        view = await whole(runtime, f"{mine.trace_id:032x}")
    assert tree(view.spans) == [
        "internal mine",
        "  client chat echo",
        "    client pool call",
        "  client chat echo",
        "    client pool call",
        "  client embeddings echo",
        "    client pool call",
    ]
    assert all(one.attributes["gen_ai.usage.input_tokens"] for one in view.spans if one.name == "chat echo")


class Ticket(Event):
    text: str


@on(Ticket)
async def take(ticket: Ticket, context: HandlerContext) -> None:
    with context.span("take it up", text=ticket.text):
        await context.submit(ticket.text)


async def test_a_turn_that_a_handler_submits_stands_below_it() -> None:
    """From the driver's span over the event and its handler to the turn it is one trace."""
    async with opened() as runtime, runtime.session(model="scripted/echo", handlers=[take]) as session:
        with runtime.span("mine") as mine:
            await session.publish(Ticket(text="Hi"), wait=True)
        view = await whole(runtime, f"{mine.trace_id:032x}")
    assert tree(view.spans)[:6] == [
        "internal mine",
        "  producer send Ticket",
        "    consumer process Ticket",
        "      internal take it up",
        "        internal invoke_agent",
        "          client chat echo",
    ]


async def test_a_sync_tool_has_spans_in_its_thread() -> None:
    """A tool that runs in a thread makes spans below its call, and can say where it stands."""
    said: list[str | None] = []

    @tool
    def look(context: ToolContext) -> str:
        """Looks."""
        with context.span("in a thread") as own:
            said.append(traceparent())
            own.set(found=1)
        return "done"

    async with opened() as runtime, runtime.session(model="scripted/tool", tools=[look]) as session:
        reply = await session.ask("Go")
        view = await whole(runtime, reply.trace_id)
    own = named(view.spans, "in a thread")
    assert own.parent_id == named(view.spans, "execute_tool look").span_id
    assert own.attributes == {"found": 1}
    assert said == [TraceContext(own.trace_id, own.span_id).traceparent]
    told = named(view.spans, "execute_tool look").attributes
    assert told["gen_ai.tool.description"] == "Looks."
    assert told["gen_ai.tool.type"] == "function"
    assert "gen_ai.tool.call.arguments" not in told
