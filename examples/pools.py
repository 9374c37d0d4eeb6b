"""A pool of provider actors that is scaled, changed and drained while calls run through it."""

import asyncio

from llmgine.runtime import PoolChangeRefused, Runtime


async def main() -> None:
    async with Runtime.in_process() as runtime:
        pool = runtime.pools["scripted"]
        print(await pool.scale(2))

        async with asyncio.TaskGroup() as calls:
            for number in range(20):
                calls.create_task(runtime.models.complete("scripted/slow", f"Call {number}"))
            # No call is lost: new actors are there before the old ones end their streams and go.
            first, _ = await pool.reconfigure(max_in_flight=8, timeouts={"idle": 30})

        await pool.reconfigure(scaling={"enabled": True, "min_size": 2, "max_size": 6})
        try:
            await pool.scale(9)
        except PoolChangeRefused as error:
            print(error)

        told = await pool.statistics()
        print(f"{told.ready} of {told.size} actors, {told.max_in_flight} calls at once in each")
        await pool.drain(first)
        print([actor.name for actor in (await pool.statistics()).actors if actor.state == "ready"])


if __name__ == "__main__":
    asyncio.run(main())
