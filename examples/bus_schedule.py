"""Events for later: once, again and again, and as a calendar says."""

import asyncio
from datetime import timedelta

from llmgine.runtime import Event, Runtime


class Reminder(Event):
    text: str


async def main() -> None:
    async with Runtime.in_process() as runtime:
        bus = runtime.bus
        heard: asyncio.Queue[str] = asyncio.Queue()

        async def remind(event: Reminder) -> None:
            await heard.put(event.text)

        await bus.register_event_handler(Reminder, remind)

        await bus.schedule(Reminder(text="take it out"), after=0.01)
        print(await heard.get())

        stir = await bus.schedule(Reminder(text="stir"), every=timedelta(seconds=0.05), id="stir")
        print(await heard.get(), await heard.get())
        print(f"cancelled: {await stir.cancel()}, and again: {await stir.cancel()}")

        tea = Reminder(text="buy tea")
        await bus.schedule(tea, cron="30 7 * * MON-FRI", zone="Europe/Berlin", id="shopping")
        for event in await bus.scheduled():
            print(f"{event.id}: {event.cron} ({event.zone}), fired {event.fired} times")


if __name__ == "__main__":
    asyncio.run(main())
