"""A chain of models: each takes over where the one before it failed, and the reply says which one served."""

import asyncio

from llmgine.runtime import Fallback, Runtime

FULL = {"replies": [{"text": "", "fault": {"kind": "overloaded"}}]}
FILTERED = {"replies": [{"text": "", "fault": {"kind": "content_filter"}}]}
SETTINGS = {
    "providers": {
        "scripts": {"full": FULL, "filtered": FILTERED},
        "aliases": {"answers": ["scripted/full", "scripted/echo"]},
    }
}


async def main() -> None:
    async with Runtime.in_process(SETTINGS) as runtime:
        async with runtime.session(model="answers") as session:
            reply = await session.ask("Who lives in house number 3?")
            print(reply.model, "serves")

        careful = Fallback(model="scripted/echo", on=("content_filter",))
        response = await runtime.models.complete(["scripted/filtered", careful], "And in number 4?")
        for attempt in response.attempts:
            print(attempt.model, attempt.outcome)


asyncio.run(main())
