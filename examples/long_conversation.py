"""A conversation that outgrows what its model is shown, and a turn that is told more while it runs."""

import asyncio

from llmgine.runtime import Limits, Runtime, SessionBusy, Steered, StepStarted, Window

SCRIPTS = {"writer": {"replies": [{"text": "They count the stops of their train."}]}}
NOTES = Window.summary(model="scripted/writer", above=150, keep=60)


async def main() -> None:
    async with Runtime.in_process({"providers": {"scripts": SCRIPTS}}) as runtime:
        async with runtime.session(model="scripted/echo", window=NOTES, limits=Limits(steps=4)) as session:
            for number in range(1, 9):
                reply = await session.ask(f"Our train has come to stop {number} of its long way")
                print(f"turn {number} read {reply.usage.input_tokens} tokens")
            print(f"the conversation has {len(await session.history())} messages")
            await session.pin(0)
            await session.note(1, "rating", 5)
            print(await session.notes())
            for found in await session.search("stop 2", limit=1):
                print(f"message {found.message} by the {found.role}: {found.excerpt}")

        async with runtime.session(model="scripted/slow") as session:
            turn = await session.submit("one two three")
            try:
                await session.ask("four", when_busy="refuse")
            except SessionBusy as busy:
                print(type(busy).__name__)
            print("said:", await turn.steer("five"))
            async for event in turn.stream():
                if isinstance(event, StepStarted | Steered):
                    print(event.type)
            print((await turn.result()).text)


if __name__ == "__main__":
    asyncio.run(main())
