"""Many prompts at once: in order, a few at a time, and what is done is not asked again."""

import asyncio

from llmgine.runtime import Runtime

PROMPTS = [f"Describe house number {number}." for number in range(1, 8)]


async def main() -> None:
    async with Runtime.in_process() as runtime:
        replies = await runtime.map(PROMPTS, model="scripted/echo", name="houses", concurrency=3)
        print(len(replies), replies[0].text)

        # As after an interruption: the same map takes from the store what is there, and asks for the rest.
        replies = await runtime.map([*PROMPTS, "Describe the hill."], model="scripted/echo", name="houses")
        print(len(replies), replies[-1].text)
        print([one.turns async for one in runtime.sessions.list(prefix="houses/")])


asyncio.run(main())
