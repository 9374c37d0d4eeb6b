"""What becomes of events that come faster than their handler takes them, by the policy of its mailbox."""

import asyncio

from llmgine.runtime import Delivery, Event, Runtime


class Price(Event):
    symbol: str
    value: int


async def main() -> None:
    async with Runtime.in_process() as runtime:
        bus = runtime.bus
        go_on = asyncio.Event()

        async def show(event: Price, delivery: Delivery) -> None:
            await go_on.wait()
            print(f"{delivery.handler}: {event.symbol} {event.value}, missed {delivery.missed}")

        await bus.register_event_handler(
            Price, show, name="newest", overflow="drop_oldest", capacity=2, concurrency=1
        )
        await bus.register_event_handler(
            Price, show, name="latest", overflow="coalesce", coalesce_by="symbol", concurrency=1
        )
        await bus.register_event_handler(
            Price, show, name="first", overflow="reject_new", capacity=2, concurrency=1
        )
        for value in range(1, 6):
            receipt = await bus.publish(Price(symbol="A", value=value, metadata={"symbol": "A"}))
            print(f"published {value}, refused: {receipt.refused}")
        go_on.set()
        # Leaving the runtime waits for what is under way.


if __name__ == "__main__":
    asyncio.run(main())
