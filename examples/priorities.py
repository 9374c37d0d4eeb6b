"""A question that somebody waits for goes before work in bulk, though that came first."""

import asyncio

from llmgine.runtime import Runtime

ONE_AT_A_TIME = {"pools": {"by_provider": {"scripted": {"max_in_flight": 1}}}}
PROMPTS = [f"Describe house number {number}." for number in range(1, 4)]


async def main() -> None:
    async with Runtime.in_process(ONE_AT_A_TIME) as runtime:
        in_bulk = asyncio.create_task(runtime.map(PROMPTS, model="scripted/slow", concurrency=3))
        async with runtime.session(model="scripted/slow") as session:
            await session.ask("Who lives in house number 3?")
        print("answered; the map is done:", in_bulk.done())
        print("replies of the map:", len(await in_bulk))

        # The other way round: this turn can wait, and whatever is interactive goes before it.
        async with runtime.session(model="scripted/slow") as session:
            await session.ask("Describe the whole street.", priority="batch")


asyncio.run(main())
