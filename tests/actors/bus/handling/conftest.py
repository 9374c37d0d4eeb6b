"""Deliveries by hand, as a router would send them over one link."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from llmgine.actors.bus import BusOptions, Command, Event, SubscriptionRecord, wire
from llmgine.actors.bus.handling.answers import Kept
from llmgine.actors.bus.handling.inbox import Inbox
from llmgine.actors.bus.handling.jobs import Job
from llmgine.actors.bus.handling.process import Handlers
from llmgine.actors.bus.handling.queue import Places, Queue
from llmgine.actors.bus.messages import Message
from llmgine.actors.bus.payload import Encoder

NUMBER = 1


@dataclass
class RouterSide:
    """What a router keeps of one subscription: entries, and the sequences of its only producer."""

    inbox: Inbox
    entry: int = 0
    sequences: Counter[str] = field(default_factory=Counter)

    def run(self, session: str, first: int, bodies: list[bytes], **more: Any) -> list[Any]:
        flags, extra = more.get("flags", 0), more.get("extra")
        lineage, depth = more.get("lineage", "E"), more.get("depth", 0)
        return ["p", 1, session, lineage, first, more.get("floor", 1), depth, flags, extra, bodies]

    def deliver(
        self,
        session: str = "BUS",
        bodies: list[bytes] | None = None,
        *,
        first: int = 0,
        attempt: int = 1,
        redelivered: bool = False,
        reentrant: bool = False,
        missed: int = 0,
        number: int = NUMBER,
        **more: Any,
    ) -> list[int]:
        """Some messages of one session; `first` where they are not new. Returns their entries."""
        bodies = [b""] if bodies is None else bodies
        count = len(bodies)
        if not first:
            first = self.sequences[session] + 1
            self.sequences[session] += count
        entry, self.entry = self.entry + 1, self.entry + count
        run = self.run(session, first, bodies, **more)
        self.inbox.deliver([run], [[number, entry, 0, count, attempt, redelivered, reentrant, missed]])
        return list(range(entry, entry + count))

    def answers(self) -> list[tuple[int, int, Any]]:
        """Every entry that was answered since the last time, as (entry, code, detail); DONE is None."""
        found: list[tuple[int, int, Any]] = []
        while (message := self.inbox.answers.take()) is not None:
            if message[0] == wire.DONE:
                for _, first, last in message[1]:
                    found += [(entry, -1, None) for entry in range(first, last + 1)]
            else:
                found += [(entry, code, detail) for _, entry, code, detail in message[1]]
        return found


class PureSide(RouterSide):
    """With a handler that is only played: what starts is held until the test says what came of it."""

    def __init__(self, options: BusOptions | None = None, **record: Any) -> None:
        self.told: list[str] = []
        self.cancelled: list[Job] = []
        settings = options or BusOptions()
        super().__init__(
            Inbox(
                Kept(settings.kept_result_bytes),
                lambda: self.told.append("wake"),
                lambda queue: self.told.append("ready"),
                self.cancelled.append,
            )
        )
        kind = record.pop("kind", "event")
        self.record = SubscriptionRecord(kind, "E", "h", "c", 1, number=NUMBER, **record)
        self.places = Places(self.record, settings)
        self.queue: Queue = self.inbox.add(NUMBER, self.places)

    def start(self) -> Job | None:
        """A free place takes the next job."""
        return self.queue.start() if self.places.free else None

    def start_all(self) -> list[Job]:
        jobs = []
        while (job := self.start()) is not None:
            self.inbox.started(job, 10.0)
            jobs.append(job)
        return jobs

    def succeed(self, job: Job) -> None:
        self.inbox.ended(job)
        self.inbox.handled(job)
        self.queue.ended(job)

    def fail(self, job: Job, reason: str = "handler") -> None:
        self.inbox.ended(job)
        self.inbox.answer(job, wire.FAILED, [reason, "E", "no", job.passage.attempt, 0.0, False])
        self.queue.ended(job)


@pytest.fixture
def pure() -> Any:
    """Makes a link whose handler is played."""
    return PureSide


class Noted(Event):
    text: str = ""


class Add(Command[int]):
    left: int = 0
    right: int = 0


class LiveSide(RouterSide):
    """With handlers that are called; `clock` is the test's own where one is given."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, **options: Any) -> None:
        self.handlers = Handlers(BusOptions(**options), clock)
        self._told = asyncio.Event()
        super().__init__(self.handlers.inbox(self._told.set))

    def serve(
        self,
        handler: Any,
        message_class: type[Message] = Noted,
        middleware: Sequence[Any] = (),
        **record: Any,
    ) -> None:
        kind: Any = "command" if issubclass(message_class, Command) else "event"
        fields = {"number": NUMBER, "concurrency": 4, **record}
        settled = SubscriptionRecord(kind, message_class.__wire_name__, "h", "c", 1, **fields)
        self.handlers.serve(settled, message_class, handler, middleware)

    def send(self, *messages: Message, **more: Any) -> list[int]:
        """Deliver messages of one class and session."""
        encoder = Encoder(type(messages[0]), 1 << 20)
        bodies = [encoder.encode(message, 1, None) for message in messages]
        if isinstance(messages[0], Command):
            more["flags"] = wire.COMMAND
        return self.deliver(messages[0].session_id, bodies, lineage=encoder.lineage, **more)

    async def answered(self, count: int) -> list[tuple[int, int, Any]]:
        """The next so many answers."""
        found: list[tuple[int, int, Any]] = []
        async with asyncio.timeout(10.0):
            while len(found) < count:
                found += self.answers()
                if len(found) < count:
                    self._told.clear()
                    await self._told.wait()
        return found


@pytest.fixture
async def live() -> AsyncIterator[Callable[..., LiveSide]]:
    """Makes links whose handlers run; each is closed at the end."""
    made: list[LiveSide] = []

    def make(*arguments: Any, **options: Any) -> LiveSide:
        made.append(LiveSide(*arguments, **options))
        return made[-1]

    yield make
    for side in made:
        side.inbox.validate()
        await side.handlers.close()


@pytest.fixture
def noted() -> type[Noted]:
    return Noted


@pytest.fixture
def add() -> type[Add]:
    return Add
