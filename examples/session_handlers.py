"""A session with handlers of its own: they run where it lives, and it is woken for what comes for them."""

import asyncio

from llmgine.runtime import Command, Event, HandlerContext, Runtime, StreamDelta, TurnCompleted, answers, on

SCRIPTS = {"helper": {"replies": [{"text": "Have you tried to turn it off and on?"}]}}


class Ticket(Event):
    text: str


class Messages(Command[int]):
    pass


@on(Ticket)
async def take(ticket: Ticket, context: HandlerContext) -> None:
    """Each ticket is a turn of the conversation, also where the ticket is delivered twice."""
    await context.submit(ticket.text)


@answers(Messages)
async def count(command: Messages, context: HandlerContext) -> int:
    return len(context.history())


async def main() -> None:
    done = asyncio.Event()
    said: list[str] = []

    async with Runtime.in_process({"providers": {"scripts": SCRIPTS}}) as runtime:
        async with runtime.session("desk", model="scripted/helper", handlers=[take, count]) as session:
            await session.register_event_handler(StreamDelta, lambda delta: said.append(delta.text))
            await session.register_event_handler(TurnCompleted, lambda event: done.set())
            await runtime.bus.publish(Ticket(session_id="desk", text="My lamp does not work."))
            await done.wait()
            print("".join(said))
            print("messages:", (await session.execute(Messages())).unwrap())


if __name__ == "__main__":
    asyncio.run(main())
