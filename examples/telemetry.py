"""What happened: observed while it happens, asked for afterwards, and what it cost."""

import asyncio

from llmgine.runtime import Runtime, Span, TraceQuery


async def main() -> None:
    async with Runtime.in_process() as runtime:
        ended: asyncio.Queue[Span] = asyncio.Queue()
        observed = runtime.telemetry.observe(ended.put)
        await observed.ready()
        async with runtime.session("anna", model="scripted/echo") as session:
            await session.ask("Hello")
        while (await ended.get()).name != "ask turn":
            pass
        await observed.stop()

        [trace] = (await runtime.telemetry.traces(TraceQuery(session="anna"))).items
        print(trace.name, trace.session, trace.errors)
        for row in (await runtime.telemetry.session("anna")).rows():
            print("  " * row.depth + row.name)
        for cost in await runtime.telemetry.cost(by="session"):
            print(cost.key, cost.calls, cost.tokens.output, cost.cost)


asyncio.run(main())
