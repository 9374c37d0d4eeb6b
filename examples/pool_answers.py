"""Equal requests: one call for those that come together, and its answer for those that come later."""

import asyncio

from llmgine.runtime import Runtime

SETTINGS = {"pools": {"by_provider": {"scripted": {"cache": {"enabled": True, "ttl": 600.0}}}}}


async def main() -> None:
    async with Runtime.in_process(SETTINGS) as runtime:
        # Five at once are one call, of which one of them is told what it used.
        asked = [runtime.models.complete("scripted/slow", "What is a pool?") for _ in range(5)]
        answers = await asyncio.gather(*asked)
        print("calls made:", sum(not answer.cached for answer in answers))

        later = await runtime.models.complete("scripted/slow", "What is a pool?")
        print("cached:", later.cached, "cost:", later.cost, "saved:", later.saved.output_tokens)

        # A turn of a session may want an answer of its own.
        async with runtime.session(model="scripted/slow") as session:
            reply = await session.ask("What is a pool?", response_cache=False)
            print("own answer:", reply.usage.output_tokens, "tokens")

        # Nothing that was said until now is said again.
        await runtime.pools["scripted"].clear_cache()
        later = await runtime.models.complete("scripted/slow", "What is a pool?")
        print("cached:", later.cached)


asyncio.run(main())
