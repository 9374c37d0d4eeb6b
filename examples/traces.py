"""One trace from a driver's own span over a turn and its tool to the handler of what the tool publishes."""

import asyncio

from llmgine.runtime import Event, Runtime, ToolContext, span, tool, traceparent


class Looked(Event):
    place: str


@tool
async def look(context: ToolContext, place: str = "cellar") -> str:
    """Looks somewhere."""
    with context.span("look closer", place=place) as own:
        own.event("found it")
        own.set(tries=2)
    await context.publish(Looked(place=place), wait=True)
    return "It is there."


async def note(event: Looked) -> None:
    with span("write it down", place=event.place):
        headers = {"traceparent": traceparent()}  # for requests of your own
        print("in a handler:", len(headers["traceparent"] or ""), "characters say where it stands")


async def main() -> None:
    async with Runtime.in_process() as runtime:
        await runtime.bus.register_event_handler(Looked, note)
        async with runtime.session(model="scripted/tool", tools=[look]) as session:
            with runtime.span("nightly report", customer=7):
                reply = await session.ask("Where is it?")
        await asyncio.sleep(0.5)  # its records travel beside it
        view = await runtime.telemetry.trace(reply.trace_id)
        for row in view.rows():
            print("  " * row.depth + row.name)


asyncio.run(main())
