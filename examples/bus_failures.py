"""What becomes of an event whose handler fails: tried again, given up, asked about, run once more."""

import asyncio

from llmgine.runtime import BreakerPolicy, Command, Event, RetryPolicy, Runtime


class OrderPlaced(Event):
    item: str


class Price(Command[float]):
    item: str


async def main() -> None:
    async with Runtime.in_process() as runtime:
        bus = runtime.bus
        closed = True

        async def ship(event: OrderPlaced) -> None:
            if closed:
                raise ConnectionError("the warehouse does not answer")
            print(f"shipped: {event.item}")

        await bus.register_event_handler(
            OrderPlaced, ship, name="ship", retry=RetryPolicy(retries=2, base=0.01), deadline=5
        )
        receipt = await bus.publish(OrderPlaced(item="tea"), wait=True)
        for outcome in receipt.outcomes:
            print(f"{outcome.handler}: {outcome.kind} after {outcome.attempts} attempts")

        for line in await bus.story(event=receipt.id):
            print(f"{line.handler}: {line.what}")

        async for letter in bus.dead_letters.list(handler="ship"):
            print(f"dead letter: {letter.reason}, {letter.fields}")
        closed = False
        for replayed in await bus.dead_letters.replay(handler="ship"):
            print(f"replayed: {replayed.handled}; left: {await bus.dead_letters.count()}")

        async def price(command: Price) -> float:
            raise ConnectionError("no prices today")

        await bus.register_command_handler(
            Price, price, name="price", breaker=BreakerPolicy(failures=2, open_for=30)
        )
        for _ in range(3):
            result = await bus.execute(Price(item="tea"))
            print(f"price: {result.error.kind if result.error else result.value}")


if __name__ == "__main__":
    asyncio.run(main())
