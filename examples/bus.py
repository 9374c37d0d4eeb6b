"""Events to any number of handlers, a command to exactly one; in one process, without Ray."""

import asyncio

from llmgine.runtime import Command, Event, Runtime


class OrderPlaced(Event):
    item: str


class Price(Command[float]):
    item: str


async def main() -> None:
    async with Runtime.in_process() as runtime:

        async def note(event: OrderPlaced) -> None:
            print(f"noted: {event.item}")

        def price(command: Price) -> float:
            return {"tea": 2.5, "coffee": 3.0}[command.item]

        await runtime.bus.register_event_handler(OrderPlaced, note, name="note")
        await runtime.bus.register_command_handler(Price, price, name="price")

        receipt = await runtime.bus.publish(OrderPlaced(item="tea"), wait=True)
        print(f"handlers that have run: {len(receipt.outcomes)}")
        for item in ("tea", "cake"):
            result = await runtime.bus.execute(Price(item=item))
            print(f"{item}: {result.value if result.success else result.error}")


if __name__ == "__main__":
    asyncio.run(main())
