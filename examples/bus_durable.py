"""What a durable handler has not done when everything ends, it does when it is there again."""

import asyncio
import tempfile

from llmgine.runtime import Bus, Command, Event, Runtime


class Paid(Event):
    order: int


class Refund(Command[str]):
    order: int


booked: asyncio.Queue[int] = asyncio.Queue()


async def book(event: Paid) -> None:
    await booked.put(event.order)


async def refund(command: Refund) -> str:
    return f"refunded: {command.order}"


async def serve(bus: Bus) -> None:
    await bus.register_event_handler(Paid, book, name="book", durable=True)
    await bus.register_command_handler(Refund, refund, name="refund", durable=True, idempotent=True)


async def main(folder: str) -> None:
    settings = {"store": {"url": f"sqlite:///{folder}/bus.db"}}

    async with Runtime.in_process(settings) as runtime:
        await serve(runtime.bus)
        await runtime.bus.publish(Paid(order=1))
        print(f"booked: {await booked.get()}")

    # Nobody serves the two handlers now, but they are known and their messages wait.
    async with Runtime.in_process(settings) as runtime:
        await runtime.bus.publish(Paid(order=2))
        print("published: 2")

    async with Runtime.in_process(settings) as runtime:
        await serve(runtime.bus)
        print(f"booked: {await booked.get()}")
        result = await runtime.bus.execute(Refund(order=1), durable=True, deadline=60)
        print(result.unwrap())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(folder))
