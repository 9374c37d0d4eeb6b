"""How handlers are called: session by session, by priority, filtered, wrapped, in threads, in batches."""

import asyncio
import threading
from typing import Any

from llmgine.runtime import (
    BatchPolicy,
    Bus,
    Delivery,
    Event,
    MetadataFilter,
    Middleware,
    Runtime,
    SessionFilter,
)


class Said(Event):
    text: str


class OrderPlaced(Event):
    item: str


class Viewed(Event):
    page: str


async def sessions(bus: Bus) -> None:
    """The events of one session come one after another, those of others beside them."""
    ben_was_heard = asyncio.Event()

    async def hear(event: Said, delivery: Delivery) -> None:
        if event.text == "one moment":
            await ben_was_heard.wait()
        print(f"{delivery.session_id}: {event.text}")
        if delivery.session_id == "ben":
            ben_was_heard.set()

    await bus.register_event_handler(Said, hear)
    for session, text in (("anna", "one moment"), ("anna", "here it is"), ("ben", "hello")):
        await bus.publish(Said(text=text, session_id=session))
    await bus.publish(Said(text="goodbye", session_id="anna"), wait=True)


class Told(Middleware):
    """Tells of each success."""

    async def handle(self, message: Any, delivery: Any, call_next: Any) -> Any:
        result = await call_next(message, delivery)
        print(f"done: {delivery.handler}")
        return result


async def priorities_and_filters(bus: Bus) -> None:
    """The lower priority starts first; a filter says which events reach a handler at all."""

    async def reserve(event: OrderPlaced) -> None:
        print(f"reserved: {event.item}")

    async def declare(event: OrderPlaced) -> None:
        print(f"declared to customs: {event.item}")

    abroad = MetadataFilter({"abroad": True}) & ~SessionFilter("test")
    await bus.register_event_handler(OrderPlaced, declare, filter=abroad)
    await bus.register_event_handler(OrderPlaced, reserve, name="reserve", priority=10, middleware=[Told()])
    await bus.publish(OrderPlaced(item="tea"), wait=True)
    await bus.publish(OrderPlaced(item="coffee", metadata={"abroad": True}), wait=True)


async def threads_and_batches(bus: Bus) -> None:
    """A plain function runs in a thread, several calls at a time; a batch handler takes a list."""
    views: dict[str, int] = {}
    lock = threading.Lock()

    def count(event: Viewed) -> None:
        with lock:
            views[event.page] = views.get(event.page, 0) + 1

    async def store(events: list[Viewed]) -> None:
        print(f"stored: {len(events)}")

    await bus.register_event_handler(Viewed, count)
    await bus.register_event_handler(Viewed, store, batch=BatchPolicy(size=50, wait=0.5))
    await asyncio.gather(*(bus.publish(Viewed(page="/tea"), wait=True) for _ in range(100)))
    print(views)


async def main() -> None:
    async with Runtime.in_process() as runtime:
        await sessions(runtime.bus)
        await priorities_and_filters(runtime.bus)
        await threads_and_batches(runtime.bus)


if __name__ == "__main__":
    asyncio.run(main())
