"""The bus as one process holds it: publishes, executes, and runs the handlers that it registers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, Unpack

from llmgine.actors.bus.client.calls import Calls
from llmgine.actors.bus.client.figures import StoryLine, merged, told
from llmgine.actors.bus.client.observers import Observer, Observers
from llmgine.actors.bus.client.producer import Producer
from llmgine.actors.bus.client.records import CommandOptions, EventOptions, HandlerRecords, filter_wire
from llmgine.actors.bus.client.registration import (
    BusFilter,
    Leftover,
    RouterPeer,
    Subscription,
    SubscriptionRegistry,
)
from llmgine.actors.bus.client.shard import Shard
from llmgine.actors.bus.errors import BusError, InvalidOption
from llmgine.actors.bus.filters import Filter
from llmgine.actors.bus.handling.handlers import Handler
from llmgine.actors.bus.handling.process import Handlers
from llmgine.actors.bus.messages import Command, CommandResult, Event, Message, Receipt
from llmgine.actors.bus.middleware import Middleware
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.shards import shard_of
from llmgine.actors.bus.subscriptions import SubscriptionRecord
from llmgine.actors.bus.tracing import Tracing
from llmgine.providers.errors import LlmgineError
from llmgine.telemetry import SpanRecorder

logger = logging.getLogger(__name__)

E = TypeVar("E", bound=Event)
R = TypeVar("R")
T = TypeVar("T")

_PLACED = 65_536


class BusClient:
    """One process's end of the bus, on the loop that it is started on.

    `routers` give connections to the routers, all of them and in their order; `registry` keeps the table
    of subscriptions. What is published before a router can be reached waits and is delivered once it
    can. With `member_of` its handlers are those of a deployment, which several clients serve; `wakes` says
    that they are a session's own, which is woken for what waits for them. Its hops have spans in `recorder`:
    those in a sampled trace, one in `sample` of the others, and what fails.
    """

    def __init__(
        self,
        identity: str,
        epoch: int,
        routers: Sequence[RouterPeer],
        registry: SubscriptionRegistry,
        *,
        options: BusOptions | None = None,
        member_of: str = "",
        wakes: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], int] = time.time_ns,
        recorder: SpanRecorder | None = None,
        sample: int = 0,
    ) -> None:
        self.identity = identity
        self.epoch = epoch
        self._registry = registry
        self._options = options or BusOptions()
        tracing = None if recorder is None else Tracing(recorder, sample)
        self._handlers = Handlers(self._options, clock, tracing)
        self._observers = Observers()
        self._producer = Producer(identity, epoch, self._options, self._observers, wall_clock, tracing)
        self._records = HandlerRecords(identity, epoch, member_of, self._options, wakes=wakes)
        self._shards = [
            Shard(number, router, self._producer, self._handlers, member_of=member_of)
            for number, router in enumerate(routers)
        ]
        self._only = self._shards[0].calls if len(self._shards) == 1 else None
        # Where sessions belong, found once: a hash per publish would cost more than the rest of it.
        self._places: dict[str, Calls] = {}
        self._undoing: set[asyncio.Task[None]] = set()
        self._started = False

    # Life

    async def start(self) -> None:
        """Begin to connect; returns at once. Every other call starts the client by itself."""
        self._start()

    def _start(self) -> None:
        if self._producer.closed:
            raise self._producer.closed_error()
        if not self._started:
            self._started = True
            for shard in self._shards:
                shard.start()

    @property
    def connected(self) -> bool:
        """Whether every router has welcomed this client on a stream that still lives."""
        return all(shard.connected for shard in self._shards)

    @property
    def _unsettled(self) -> int:
        return sum(shard.outbox.count for shard in self._shards)

    async def drain(self, timeout: float | None = None) -> int:
        """Wait until every handler of what was published here is done; returns how many messages are left."""
        limit = self._options.drain_timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(limit):
                # Handlers may publish to other routers meanwhile.
                while self._unsettled:
                    for shard in self._shards:
                        await shard.calls.empty()
        except TimeoutError:
            logger.warning(
                "%s: %d messages are not settled after %g s", self.identity, self._unsettled, limit
            )
        return self._unsettled

    async def retire(self, timeout: float) -> int:
        """Take no more deliveries and let what runs end; returns how many handlers still do.

        What had not started goes to other members or waits for somebody else.
        """
        for shard in self._shards:
            shard.leave()
        running = await self._handlers.settle(timeout)
        for shard in self._shards:
            shard.flush()
        return running

    async def close(self, timeout: float | None = None) -> Leftover:
        """Take nothing new, drain, remove this client's handlers, let go; says what is left.

        Durable handlers and those of a deployment stay in the table and wait for who serves them next.
        """
        if self._producer.closed:
            return Leftover()
        self._producer.closed = True
        if self._started and timeout != 0:
            await self.drain(timeout)
        calls = sum(shard.calls.pending for shard in self._shards)
        left = Leftover(self._unsettled, calls, self._handlers.running)
        records = [runner.record for runner in self._handlers.runners.values()]
        going = [record for record in records if not (record.durable or record.members)]
        await asyncio.gather(*(self._unsubscribe(record) for record in going))
        for shard in self._shards:
            shard.flush()
        await self._handlers.close()
        for shard in self._shards:
            await shard.close()
        if left:
            logger.warning("%s closed its bus client and left %s", self.identity, left)
        return left

    # Publishing

    def publish(self, event: Event, wait: bool = False) -> Coroutine[Any, Any, Receipt]:
        """Returns once the router has the event in its handlers' mailboxes.

        With `wait`, once each of its own handlers is done; `Receipt.outcomes` says how. No handler's
        exception is raised here. Raises UnsendableMessage, Overloaded (inside a handler), BusClosed.
        """
        # The inner coroutine itself, for one more around it would cost every publish.
        if not self._started:
            return self._publish_first(event, wait)
        calls = self._only or self._calls(event.session_id)
        if wait:
            return calls.publish_and_wait(event)
        return calls.publish(event)

    async def _publish_first(self, event: Event, wait: bool) -> Receipt:
        self._start()
        return await self.publish(event, wait)

    async def execute(
        self, command: Command[R], *, durable: bool = False, deadline: float | None = None
    ) -> CommandResult[R]:
        """Have the command done by its one handler: the session's, else the bus's.

        Never raises what a handler raised: the result says it. `deadline` is in seconds and spans
        waiting, running and trying again. A `durable` one is in the store before it is handed out, and
        is done even where every process dies meanwhile.
        """
        self._start()
        calls = self._only or self._calls(command.session_id)
        return await calls.execute(command, deadline, durable=durable)

    def _calls(self, session: str) -> Calls:
        calls = self._places.get(session)
        if calls is None:
            if len(self._places) >= _PLACED:
                self._places.clear()
            calls = self._places[session] = self._shard(session).calls
        return calls

    def _shard(self, session: str) -> Shard:
        return self._shards[shard_of(session, len(self._shards))]

    def add_observer(self, observer: Observer) -> Callable[[], None]:
        """Show each event that this client publishes to a function, once; returns what removes it."""
        return self._observers.add(observer)

    # Handlers

    async def register_event_handler(
        self, event_class: type[E], handler: Handler, **options: Unpack[EventOptions]
    ) -> Subscription:
        """Call `handler(event)` or `handler(event, delivery)` for each event of the class or a subclass.

        Returns once every event published from now on reaches it. Raises RegistrationRefused.
        """
        record = self._records.event(event_class, handler, options)
        return await self._register(record, event_class, handler, options.get("middleware", ()))

    async def register_command_handler(
        self, command_class: type[Command[Any]], handler: Handler, **options: Unpack[CommandOptions]
    ) -> Subscription:
        """Let `handler(command)` answer commands of the class; at most one per class and scope."""
        record = self._records.command(command_class, handler, options)
        return await self._register(record, command_class, handler, options.get("middleware", ()))

    def add_middleware(self, middleware: Middleware) -> Callable[[], None]:
        """Wrap it around every handler of this process, inside of earlier ones; returns what removes it."""
        return self._handlers.add_middleware(middleware)

    async def add_filter(self, filter: Filter) -> BusFilter:
        """Let only events that pass it reach any handler, whoever publishes; it goes with this client."""
        wire = filter_wire(filter)
        if wire is None:
            raise InvalidOption("`filter` is needed: there is nothing to be filtered by")
        number = await self._whole(
            self._registry.add_filter(self.identity, wire), self._registry.remove_filter
        )
        return BusFilter(self._registry, number, filter)

    async def _register(
        self,
        record: SubscriptionRecord,
        message_class: type[Message],
        handler: Handler,
        middleware: Sequence[Middleware],
    ) -> Subscription:
        self._start()
        number = await self._whole(
            self._registry.subscribe(record.to_wire()),
            lambda number: self._withdraw(replace(record, number=number)),
        )
        settled = replace(record, number=number)
        self._handlers.serve(settled, message_class, handler, middleware)
        try:
            await self._attached(settled)
        except BaseException:
            await self._withdraw(settled)
            raise
        return Subscription(self, settled)

    async def _whole(self, work: Coroutine[Any, Any, T], undo: Callable[[T], Coroutine[Any, Any, None]]) -> T:
        """What comes of the work, which is undone where its caller is cancelled meanwhile."""
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            undoing = asyncio.create_task(_undo(task, undo))
            self._undoing.add(undoing)
            undoing.add_done_callback(self._undoing.discard)
            raise
        return task.result()

    async def _withdraw(self, record: SubscriptionRecord) -> None:
        """Its registration was broken off."""
        if record.durable or record.members:
            # What waits for it must not go with an attempt to serve it.
            self._handlers.remove(record.number)
        else:
            await self._unsubscribe(record)

    async def _attached(self, record: SubscriptionRecord) -> None:
        """Until every router routes to it."""
        limit = self._options.connect_timeout
        try:
            async with asyncio.timeout(limit):
                kept = await asyncio.gather(*(shard.attached(record.number) for shard in self._shards))
        except TimeoutError:
            raise BusError(
                f"the router did not take up handler {record.name!r} within {limit:g} s"
                " (bus option connect_timeout); it is not registered"
            ) from None
        if not all(kept):
            raise BusError(f"handler {record.name!r} was removed or taken over while it was registered")

    def serves(self, record: SubscriptionRecord) -> bool:
        runner = self._handlers.runners.get(record.number)
        return runner is not None and runner.record is record

    async def set_filter(self, record: SubscriptionRecord, filter: Filter | None) -> SubscriptionRecord:
        """As `subscription.set_filter(filter)`; the record as it stands now."""
        if record.kind == "command":
            raise InvalidOption(f"{record.name!r} answers commands, and those are not filtered")
        changed = replace(record, filter=filter_wire(filter))
        if not self.serves(record):
            raise InvalidOption(f"{record.name!r} is not served here any more; register it again to filter")
        await self._registry.subscribe(changed.to_wire())
        runner = self._handlers.runners.get(record.number)
        if runner is not None and runner.record is record:
            runner.amend(changed)
        return changed

    async def remove(self, record: SubscriptionRecord) -> None:
        """As `subscription.remove()`."""
        if not self.serves(record):
            return
        if record.durable:
            # Where the store is away it goes on, and whoever removes it hears of that.
            await self._registry.unsubscribe(record.number, record.client, record.epoch)
            self._handlers.remove(record.number)
        else:
            await self._unsubscribe(record)

    async def _unsubscribe(self, record: SubscriptionRecord) -> None:
        self._handlers.remove(record.number)
        for shard in self._shards:
            shard.wake()
        try:
            await self._registry.unsubscribe(record.number, record.client, record.epoch)
        except LlmgineError as error:
            # The table's owner is away: it removes what a client held when the client's lease ends.
            logger.info("handler %r could not be removed from the table: %s", record.name, error)

    # Questions

    async def ask(
        self,
        verb: str,
        body: Any = None,
        *,
        session: str | None = None,
        shard: int = 0,
        timeout: float | None = None,
    ) -> Any:
        """What one router answers: the one of `session`, else the one numbered `shard`.

        A question is asked again after a break, so its verb must bear that. Raises AskRefused.
        """
        self._start()
        asked = self._shards[shard] if session is None else self._shard(session)
        return await asked.ask(verb, body, timeout)

    async def ask_all(self, verb: str, body: Any = None, *, timeout: float | None = None) -> list[Any]:
        """What each router answers, in their order."""
        self._start()
        return list(await asyncio.gather(*(shard.ask(verb, body, timeout) for shard in self._shards)))

    async def statistics(self) -> dict[str, Any]:
        """The routers' exact counters and gauges as one, and this client's own under "client"."""
        reports = await self.ask_all("statistics")
        return {**merged(reports), "client": self.report()}

    async def story(self, about: Mapping[str, str]) -> list[StoryLine]:
        """What the routers remember of one handler, session or event, the oldest line first."""
        if "session" in about:
            return told([await self.ask("story", dict(about), session=about["session"])])
        return told(await self.ask_all("story", dict(about)))

    def report(self) -> dict[str, Any]:
        """What this client knows by itself, without asking."""
        return {
            "connected": self.connected,
            "unsettled": self._unsettled,
            "unsettled_bytes": self._producer.room.space.bytes,
            "calls": sum(shard.calls.pending for shard in self._shards),
            "handlers": len(self._handlers.runners),
            **self._handlers.report(),
            "observer_failures": self._observers.failures,
        }


async def _undo(task: asyncio.Task[T], undo: Callable[[T], Coroutine[Any, Any, None]]) -> None:
    try:
        await undo(await task)
    except LlmgineError as error:
        logger.info("what was broken off was refused, or goes with this client: %s", error)
