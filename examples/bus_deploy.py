"""Handlers in actors of their own: a class with marked methods, as often as it is needed."""

import asyncio

from llmgine.runtime import Command, Event, Runtime, answers, on


class Said(Event):
    text: str


class Translate(Command[str]):
    word: str


class Translator:
    """Constructed once in each replica, which is where what is slow to load belongs."""

    def __init__(self, words: dict[str, str]) -> None:
        self.words = words

    @answers(Translate, idempotent=True)
    async def translate(self, command: Translate) -> str:
        return self.words[command.word]

    @on(Said, concurrency=4)
    async def listen(self, event: Said) -> None:
        print(f"heard: {event.text}")


async def main() -> None:
    async with Runtime.in_process() as runtime:
        deployed = await runtime.bus.deploy(Translator, replicas=2, arguments={"words": {"tea": "thé"}})
        print(deployed.replicas)

        result = await runtime.bus.execute(Translate(word="tea"))
        print(result.unwrap())
        receipt = await runtime.bus.publish(Said(text="hello", session_id="anna"), wait=True)
        print([outcome.handler for outcome in receipt.outcomes])

        print(await deployed.scale(3))


if __name__ == "__main__":
    asyncio.run(main())
