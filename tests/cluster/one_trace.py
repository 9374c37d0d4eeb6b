"""One turn that crosses every kind of process, and the trace that is to come of it.

    async with Runtime.launch(SETTINGS) as runtime:
        asked = await one_turn(runtime)
        view = await whole(runtime, asked.trace_id)

`tree(view.spans)` is what of it has to be equal everywhere: each span with its kind and its place.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from llmgine.actors.telemetry import View
from llmgine.runtime import Command, Event, Runtime, ToolContext, answers, on, span, tool, traceparent
from llmgine.telemetry import Span, TraceContext
from tests.scripts import SCRIPTS

SETTINGS: dict[str, Any] = {"providers": {"scripts": SCRIPTS}}


class Looked(Event):
    """A tool has looked somewhere."""

    place: str


class Noted(Event):
    """A handler has written down what it heard."""

    text: str


class Price(Command[int]):
    """What does it cost?"""

    of: str


class Watcher:
    """Handlers in a process of their own."""

    async def start(self, bus: Any) -> None:
        self.bus = bus

    @on(Looked)
    async def seen(self, event: Looked) -> None:
        with span("write it down", place=event.place):
            await self.bus.publish(Noted(session_id=event.session_id, text=event.place), wait=True)

    @on(Noted)
    async def noted(self, event: Noted) -> None:
        return

    @answers(Price)
    async def price(self, command: Price) -> int:
        return len(command.of)


@tool
async def look(place: str, context: ToolContext) -> str:
    """Looks somewhere, tells the bus and asks for the price."""
    with context.span("look closer", place=place) as closer:
        closer.event("found it", {"at": place})
        await context.publish(Looked(place=place), wait=True)
    price = await context.execute(Price(of=place))
    return f"{price.unwrap()} {traceparent()}"


@tool(process=True)
def apart() -> str:
    """Thinks in a process of its own."""
    with span("think apart"):
        return f"{os.getpid()} {traceparent()}"


@tool(remote=True, num_cpus=0.1)
def far() -> str:
    """Works somewhere on the cluster."""
    with span("work far away"):
        return f"{os.getpid()} {traceparent()}"


class Asked(NamedTuple):
    """What came of the turn; `parent` is the user's own span that it was asked below."""

    session_id: str
    trace_id: str
    parent: TraceContext
    results: dict[str, str]


async def one_turn(runtime: Runtime) -> Asked:
    """Asks a session with these tools, below a span of the driver's own; the handlers are deployed for it."""
    deployment = await runtime.bus.deploy(Watcher)
    try:
        async with runtime.session(model="scripted/guide", tools=[look, apart, far]) as session:
            with runtime.span("the user's own", errand="find it") as own:
                reply = await session.ask("Where is it?")
            results = {call.name: call.result.text for call in reply.tool_calls if call.result is not None}
            return Asked(session.id, reply.trace_id, own.context, results)
    finally:
        await deployment.remove()


async def whole(runtime: Runtime, trace_id: str, timeout: float = 30.0) -> View:
    """The trace once all that belongs to it has arrived, and has ended."""
    before = -1
    async with asyncio.timeout(timeout):
        while True:
            view = await runtime.telemetry.trace(trace_id)
            spans = view.spans
            if spans and len(spans) == before and all(one.end is not None for one in spans):
                return view
            before = len(spans)
            await asyncio.sleep(0.3)  # three times as long as a record waits to be shipped


def tree(spans: Iterable[Span]) -> list[str]:
    """The spans as lines, indented by their depth, siblings by name: `client chat guide`."""
    children: dict[int, list[Span]] = {}
    known = {one.span_id: one for one in spans}
    for one in known.values():
        parent = one.parent_id if one.parent_id in known else 0
        children.setdefault(parent, []).append(one)
    lines: list[str] = []

    def draw(parent: int, depth: int) -> None:
        for one in sorted(children.get(parent, ()), key=lambda one: (one.name, one.start)):
            lines.append(f"{'  ' * depth}{one.kind} {one.name}")
            draw(one.span_id, depth + 1)

    draw(0, 0)
    return lines
