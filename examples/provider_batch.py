"""Many prompts through a provider's batch API: within a day, for less, and resumed by the map's name."""

import asyncio

from llmgine.runtime import Runtime

PROMPTS = [f"Describe house number {number}." for number in range(1, 8)]
# The double answers at once; a provider is asked less and less often as hours go by.
SETTINGS = {"pools": {"batches": {"first_pause": 0.01}}}


async def main() -> None:
    async with Runtime.in_process(SETTINGS) as runtime:
        replies = await runtime.map(
            PROMPTS,
            model="scripted/echo",  # as openai/gpt-5 or anthropic/claude-opus-4-8
            batch=True,
            name="houses",
            max_output_tokens=200,
        )
        print(len(replies), replies[0].text)

        # The map of that name takes the results of its batches, and makes one of what is new.
        replies = await runtime.map(
            [*PROMPTS, "Describe the hill."], model="scripted/echo", batch=True, name="houses"
        )
        print(len(replies), replies[-1].text)


asyncio.run(main())
