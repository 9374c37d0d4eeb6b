"""The bus as one process holds it: publishes, executes, and runs the handlers that it registers."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from llmgine.actors.bus import wire
from llmgine.actors.bus.client.calls import Calls
from llmgine.actors.bus.client.observers import Observer, Observers
from llmgine.actors.bus.client.outbox import Outbox
from llmgine.actors.bus.client.registration import Leftover, RouterPeer, Subscription, SubscriptionRegistry
from llmgine.actors.bus.errors import BusClosed, BusError, InvalidOption
from llmgine.actors.bus.handling.handlers import (
    Handler,
    anonymous_name,
    check_class,
    default_name,
    takes_delivery,
)
from llmgine.actors.bus.handling.process import Handlers
from llmgine.actors.bus.messages import BUS, Command, CommandResult, Event, Message, Receipt
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.schema import fingerprint
from llmgine.actors.bus.subscriptions import Kind, SubscriptionRecord
from llmgine.actors.bus.talk import Talk
from llmgine.actors.link import Connection, LinkError, Stream
from llmgine.providers.errors import LlmgineError

logger = logging.getLogger(__name__)

E = TypeVar("E", bound=Event)
R = TypeVar("R")

_POLICIES = ("block", "drop_oldest", "reject_new")


class BusClient:
    """One process's end of the bus, on the loop that it is started on.

    `router` gives connections to the router; `registry` keeps the table of subscriptions. Everything
    that is published before the router can be reached waits and is delivered once it can.
    """

    def __init__(
        self,
        identity: str,
        epoch: int,
        router: RouterPeer | Callable[[], Awaitable[Connection]],
        registry: SubscriptionRegistry,
        *,
        options: BusOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], int] = time.time_ns,
        trace: Callable[[], bytes | None] | None = None,
    ) -> None:
        self.identity = identity
        self.epoch = epoch
        self._connect = router.connection if hasattr(router, "connection") else router
        self._registry = registry
        self._options = options or BusOptions()
        self._clock = clock
        self._outbox = Outbox(self._options)
        self._handlers = Handlers(self._options, clock)
        self._inbox = self._handlers.inbox(self._wake)
        self._observers = Observers()
        self._calls = Calls(
            identity,
            epoch,
            self._outbox,
            self._observers,
            self._options,
            self._wake,
            wall_clock,
            trace,
        )
        self._talk: Talk | None = None
        self._reader: asyncio.Task[None] | None = None
        self._router_life = ""
        self._attach: list[int] = []
        self._attaching: dict[int, asyncio.Future[bool]] = {}
        self._questions: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._closed = False

    # Life

    async def start(self) -> None:
        """Begin to connect; returns at once. Every other call starts the client by itself."""
        self._start()

    def _start(self) -> None:
        if self._closed:
            raise BusClosed(f"the bus client of {self.identity!r} was closed")
        if self._reader is None:
            self._reader = asyncio.get_running_loop().create_task(self._serve(), name="bus client")

    @property
    def connected(self) -> bool:
        """Whether the router has welcomed this client on a stream that still lives."""
        return self._calls.connected

    async def drain(self, timeout: float | None = None) -> int:
        """Wait until every handler of what was published here is done; returns how many messages are left."""
        limit = self._options.drain_timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(limit):
                await self._calls.empty()
        except TimeoutError:
            logger.warning(
                "%s: %d messages are not settled after %g s", self.identity, self._outbox.count, limit
            )
        return self._outbox.count

    async def close(self, timeout: float | None = None) -> Leftover:
        """Take nothing new, drain, remove this client's handlers, let go; says what is left."""
        if self._closed:
            return Leftover()
        self._closed = True
        self._calls.closed = True
        if self._reader is not None:
            await self.drain(timeout)
        left = Leftover(self._outbox.count, self._calls.pending, self._handlers.running)
        for runner in list(self._handlers.runners.values()):
            await self._unsubscribe(runner.record)
        if self._talk is not None:
            self._talk.flush()
        await self._handlers.close()
        self._calls.close()
        waiting: list[asyncio.Future[Any]] = [*self._attaching.values(), *self._questions.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(BusClosed(f"the bus client of {self.identity!r} was closed"))
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
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
        if self._reader is None:
            return self._publish_first(event, wait)
        if wait:
            return self._calls.publish_and_wait(event)
        return self._calls.publish(event)

    async def _publish_first(self, event: Event, wait: bool) -> Receipt:
        self._start()
        return await self.publish(event, wait)

    async def execute(self, command: Command[R], *, deadline: float | None = None) -> CommandResult[R]:
        """Have the command done by its one handler: the session's, else the bus's.

        Never raises what a handler raised: the result says it. `deadline` is in seconds and spans
        waiting and running.
        """
        if self._reader is None:
            self._start()
        limit = self._options.command_deadline if deadline is None else deadline
        return await self._calls.execute(command, limit)

    def add_observer(self, observer: Observer) -> Callable[[], None]:
        """Show each event that this client publishes to a function, once; returns what removes it."""
        return self._observers.add(observer)

    # Handlers

    async def register_event_handler(
        self,
        event_class: type[E],
        handler: Handler,
        *,
        session_id: str | None = None,
        name: str | None = None,
        priority: int = 50,
        filter: None = None,
        overflow: str = "block",
        durable: bool = False,
        concurrency: int | None = None,
        deadline: float | None = None,
    ) -> Subscription:
        """Call `handler(event)` or `handler(event, delivery)` for each event of the class or a subclass.

        Without `session_id` it gets the events of every session, with one only that session's. A
        lower `priority` number starts earlier. Returns once every event published from now on reaches it.
        """
        check_class(event_class, "event")
        record = self._record("event", event_class, handler, session_id, name, concurrency, deadline)
        _supported(filter=filter, overflow=overflow, durable=durable)
        return await self._register(record, event_class, handler, priority=priority, overflow=overflow)

    async def register_command_handler(
        self,
        command_class: type[Command[Any]],
        handler: Handler,
        *,
        session_id: str | None = None,
        name: str | None = None,
        idempotent: bool = False,
        durable: bool = False,
        concurrency: int | None = None,
        deadline: float | None = None,
    ) -> Subscription:
        """Let `handler(command)` answer commands of the class; at most one per class and scope.

        `idempotent` allows a command to run again where its handler's process died with it.
        """
        check_class(command_class, "command")
        record = self._record("command", command_class, handler, session_id, name, concurrency, deadline)
        _supported(durable=durable)
        return await self._register(record, command_class, handler, idempotent=idempotent)

    def _record(
        self,
        kind: Kind,
        message_class: type[Message],
        handler: Handler,
        session_id: str | None,
        name: str | None,
        concurrency: int | None,
        deadline: float | None,
    ) -> dict[str, Any]:
        takes_delivery(handler)
        options = self._options
        owner = f"{self.identity}.{self.epoch}"
        return {
            "kind": kind,
            "wire_name": message_class.__wire_name__,
            "name": name or default_name(handler) or anonymous_name(handler, owner, next(self._numbers)),
            "client": self.identity,
            "epoch": self.epoch,
            "session": session_id or BUS,
            "capacity": options.mailbox_capacity,
            "concurrency": options.handler_concurrency if concurrency is None else concurrency,
            "deadline": options.handler_deadline if deadline is None else deadline,
            "fingerprint": fingerprint(message_class),
        }

    async def _register(
        self, record: dict[str, Any], message_class: type[Message], handler: Handler, **more: Any
    ) -> Subscription:
        self._start()
        record.update(more)
        number = await self._registry.subscribe(SubscriptionRecord.from_wire(record).to_wire())
        settled = SubscriptionRecord.from_wire({**record, "number": number})
        self._handlers.serve(settled, message_class, handler)
        try:
            await self._attached(settled)
        except BaseException:
            await self._unsubscribe(settled)
            raise
        return Subscription(self, settled)

    async def _attached(self, record: SubscriptionRecord) -> None:
        """Until the router routes to it."""
        future = asyncio.get_running_loop().create_future()
        self._attaching[record.number] = future
        self._attach.append(record.number)
        self._wake()
        try:
            async with asyncio.timeout(self._options.connect_timeout):
                kept = await future
        except TimeoutError:
            raise BusError(
                f"the router did not take up handler {record.name!r} within"
                f" {self._options.connect_timeout:g} s (bus option connect_timeout); it is not registered"
            ) from None
        finally:
            self._attaching.pop(record.number, None)
        if not kept:
            raise BusError(f"handler {record.name!r} was removed or taken over while it was registered")

    def serves(self, record: SubscriptionRecord) -> bool:
        runner = self._handlers.runners.get(record.number)
        return runner is not None and runner.record is record

    async def remove(self, subscription: Subscription) -> None:
        """As `subscription.remove()`."""
        if self.serves(subscription.record):
            await self._unsubscribe(subscription.record)

    async def _unsubscribe(self, record: SubscriptionRecord) -> None:
        self._handlers.remove(record.number)
        self._wake()
        try:
            await self._registry.unsubscribe(record.number, self.identity, self.epoch)
        except LlmgineError as error:
            # The table's owner is away: it removes what a client held when the client's lease ends.
            logger.info("handler %r could not be removed from the table: %s", record.name, error)

    # Figures

    async def statistics(self) -> dict[str, Any]:
        """The router's exact counters and gauges, with this client's own under "client"."""
        self._start()
        number = next(self._numbers)
        future = self._questions[number] = asyncio.get_running_loop().create_future()
        self._wake()
        try:
            async with asyncio.timeout(self._options.connect_timeout):
                values = await future
        finally:
            self._questions.pop(number, None)
        return {**values, "client": self.report()}

    def report(self) -> dict[str, Any]:
        """What this client knows by itself, without asking."""
        return {
            "connected": self.connected,
            "unsettled": self._outbox.count,
            "unsettled_bytes": self._outbox.bytes,
            "calls": self._calls.pending,
            "handlers": len(self._handlers.runners),
            **self._handlers.report(),
            "observer_failures": self._observers.failures,
        }

    # The link

    def _wake(self) -> None:
        if self._talk is not None:
            self._talk.wake()

    async def _serve(self) -> None:
        """Connect and talk, again and again."""
        while True:
            try:
                stream = (await self._connect()).open(wire.STREAM, self._hello())
            except LinkError as error:
                logger.info("%s cannot reach the router: %s", self.identity, error)
                await asyncio.sleep(_RETRY)
                continue
            asked: set[int] = set()
            self._talk = Talk(stream, lambda asked=asked: self._next_message(asked))  # type: ignore[misc]
            try:
                await self._listen(stream)
            except LinkError as error:
                logger.info("%s lost the router: %s", self.identity, error)
            except Exception:
                logger.exception("%s: the router sent what this client does not understand", self.identity)
            finally:
                self._broken(stream)
            await asyncio.sleep(_PAUSE)

    def _hello(self) -> dict[str, Any]:
        # They travel with the hello.
        self._attach.clear()
        return {
            "client": self.identity,
            "epoch": self.epoch,
            "incarnation": self._router_life,
            "lines": self._outbox.hello(),
            "subscriptions": list(self._inbox.queues),
        }

    def _broken(self, stream: Stream) -> None:
        if self._talk is not None:
            self._talk.close()
            self._talk = None
        stream.reset("left")
        self._calls.broken()
        self._inbox.link_lost()

    async def _listen(self, stream: Stream) -> None:
        calls, inbox = self._calls, self._inbox
        async for message in stream:
            match message[0]:
                case wire.DELIVER:
                    inbox.deliver(message[1], message[2])
                case wire.ADMITTED:
                    calls.admitted(message[1], message[2])
                case wire.SETTLED:
                    calls.settled(message[1])
                case wire.RESULT:
                    calls.results(message[1])
                case wire.WELCOME:
                    _, life, serial, received = message
                    calls.welcome(received, serial, again=life != self._router_life)
                    self._router_life = life
                case wire.ATTACHED:
                    calls.table_at(message[2])
                    self._tell_attached(message[1], True)
                case wire.LOST:
                    self._lost(message[1])
                case wire.ABORT:
                    inbox.abort(message[1], message[2])
                case wire.RESUME:
                    inbox.verdict(message[1], message[2], message[3])
                case wire.ANSWER:
                    future = self._questions.pop(message[1], None)
                    if future is not None and not future.done():
                        future.set_result(message[3])
            self._wake()

    def _tell_attached(self, numbers: list[int], kept: bool) -> None:
        for number in numbers:
            future = self._attaching.get(number)
            if future is not None and not future.done():
                future.set_result(kept)

    def _lost(self, numbers: list[int]) -> None:
        self._tell_attached(numbers, False)
        for number in numbers:
            runner = self._handlers.lose(self._inbox, number)
            if runner is not None:
                logger.info("handler %r is served by another process now, or was removed", runner.record.name)

    def _next_message(self, asked: set[int]) -> Any | None:
        """What goes to the router next: answers first, for they make room."""
        if not self._calls.connected:
            return None
        message = self._inbox.answers.take() or self._calls.next_message()
        if message is not None:
            return message
        if self._attach:
            numbers, self._attach = self._attach, []
            return [wire.ATTACH, numbers]
        for number in self._questions.keys() - asked:
            asked.add(number)
            return [wire.ASK, number, "statistics", None]
        return None


# How long to wait before the router is looked for again: after nobody could be reached, after a break.
_RETRY = 0.2
_PAUSE = 0.01


def _supported(*, filter: Any = None, overflow: str = "block", durable: bool = False) -> None:
    if filter is not None:
        raise InvalidOption("`filter` is not supported: every event of the class reaches the handler")
    if overflow not in _POLICIES:
        raise InvalidOption(
            f"`overflow`={overflow!r} is not supported; use one of {', '.join(_POLICIES)}"
        )
    if durable:
        raise InvalidOption("`durable` is not supported: messages are kept in memory only")
