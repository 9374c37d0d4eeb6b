"""The publishing side of a client: stamps, keeps, sends, and tells callers what became of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from llmgine.actors.bus import wire
from llmgine.actors.bus.client.outbox import Entry, Outbox
from llmgine.actors.bus.client.producer import Producer
from llmgine.actors.bus.errors import BusClosed
from llmgine.actors.bus.handling.jobs import Job, current_job
from llmgine.actors.bus.handling.turns import waiting_sessions
from llmgine.actors.bus.messages import (
    Command,
    CommandResult,
    Event,
    HandlerOutcome,
    Message,
    Receipt,
    is_stamped,
    stamp,
)
from llmgine.actors.bus.wire import failed_answer
from llmgine.telemetry.current import others_present, scope
from llmgine.telemetry.names import CANCELLED

R = TypeVar("R")

_OTHERS = "opentelemetry.context"
_modules = sys.modules
_present = scope.get

# The router may begin with so many while the rest of this turn's are still being published.
_BURST = 256


class Calls:
    """What this client has published and executed through one router, and who waits for it."""

    def __init__(
        self, producer: Producer, outbox: Outbox, wake: Callable[[], None], flush: Callable[[], None]
    ) -> None:
        self._producer = producer
        self._origin = f"{producer.identity}:{producer.epoch}"
        self._outbox = outbox
        self._wake = wake
        self._flush = flush
        self._room = producer.room
        self._space = producer.room.space
        self._encoders = producer.encoders
        self._observers = producer.observers
        self._tracing = producer.tracing
        self._wall_clock = producer.wall_clock
        self._room.share(outbox)
        # Set by `start`: to ask for the loop would cost every publish more than the future does.
        self._future: Callable[[], asyncio.Future[Any]] = _not_started
        self._idle: list[asyncio.Future[None]] = []
        self._pending: dict[Entry, str] = {}
        self._confirmed: list[list[Any]] = []
        self._cancelled: list[tuple[str, int]] = []
        # Plain publishes inside handlers: they must not wait for a router that is away.
        self._nested: dict[Entry, None] = {}
        # What was put into the outbox since the last look into it.
        self._unsaid = 0
        self.connected = False

    def start(self) -> None:
        """Calls come on this loop from now on."""
        self._future = asyncio.get_running_loop().create_future

    @property
    def pending(self) -> int:
        """Commands and waiting publishes without an answer."""
        return len(self._pending)

    # Calls

    async def publish(self, event: Event) -> Receipt:
        """Kept, sent, and in its mailboxes; inside a handler it never waits for room."""
        job = current_job.get()
        if self._space.bytes >= self._space.limit or self._room.contended:
            await self._wait_for_room(job)
        session = event.session_id
        stuck = job is not None and (not self.connected or self._outbox.is_stuck(session))
        entry = self._enter(event, 0, job)
        # Its fields are packed: a thousand publishes that wait need not keep a thousand events.
        del event
        identity = f"{self._origin}:{session}:{entry.sequence}"
        if stuck:
            if entry.span is not None:
                entry.span.end()
            return Receipt(identity, False)
        waiter = entry.waiter = self._future()
        if entry.span is not None:
            waiter.add_done_callback(partial(_admitted, entry))
        if job is None:
            deferred = await waiter
        else:
            self._nested[entry] = None
            try:
                deferred = await waiter
            finally:
                self._nested.pop(entry, None)
        refused = entry.refused
        # As Receipt(...), which costs four times as much.
        fields = (identity, not (deferred or (refused and _is_refused(refused))), refused, ())
        return tuple.__new__(Receipt, fields)

    async def publish_and_wait(self, event: Event) -> Receipt:
        """As `publish`, and until each of the event's own handlers is done."""
        job = current_job.get()
        if self._space.bytes >= self._space.limit or self._room.contended:
            await self._wait_for_room(job)
        entry = self._enter(event, wire.WAIT, job)
        answer = await self._answer(entry, event.session_id, job)
        identity = f"{self._origin}:{event.session_id}:{entry.sequence}"
        outcomes = tuple(HandlerOutcome.from_wire(outcome) for outcome in answer)
        return Receipt(identity, not _is_refused(entry.refused), entry.refused, outcomes)

    async def execute(
        self, command: Command[R], deadline: float | None, *, durable: bool
    ) -> CommandResult[R]:
        """The command's result, or a failure that says what is known at the deadline."""
        job = current_job.get()
        loop = asyncio.get_running_loop()
        limit = self._producer.options.command_deadline if deadline is None else deadline
        until = loop.time() + limit
        if self._space.bytes >= self._space.limit or self._room.contended:
            try:
                async with asyncio.timeout_at(until):
                    await self._wait_for_room(job)
            except TimeoutError:
                return CommandResult.failed("deadline", "there was no room to send it", retryable=True)
        flags = wire.COMMAND | wire.DURABLE if durable else wire.COMMAND
        entry = self._enter(command, flags, job, deadline)
        session = command.session_id
        timer = loop.call_at(until, self._expire, entry, session)
        try:
            answer = await self._answer(entry, session, job)
        except asyncio.CancelledError:
            self._cancel(entry, session)
            raise
        finally:
            timer.cancel()
        return self._producer.result(command, answer)

    async def _answer(self, entry: Entry, session: str, job: Job | None) -> Any:
        """Wait for the answer; a handler that waits leaves its place to others meanwhile."""
        waiter = entry.answer = self._future()
        if entry.span is not None:
            waiter.add_done_callback(partial(_answered, entry))
        self._pending[entry] = session
        if job is None or job.answered:
            job = None
        else:
            job.suspend()
        try:
            return await waiter
        finally:
            self._pending.pop(entry, None)
            if job is not None:
                job.resume()

    def _enter(self, message: Message, flags: int, job: Job | None, deadline: float | None = None) -> Entry:
        """Stamp the message and put it into the outbox; after this it is sure to be sent."""
        producer = self._producer
        if producer.closed:
            raise producer.closed_error()
        if is_stamped(message):
            # One message, one identity: what was received or published before goes as a copy.
            message = message.model_copy()
        kind = type(message)
        encoder = self._encoders.get(kind) or producer.encoder(kind)
        now = self._wall_clock()
        trace = span = None
        head = encoder.heads[flags]
        tracing = self._tracing
        if tracing is not None:
            tracing.left -= 1
            if tracing.left <= 0 or _present() is not None or (_OTHERS in _modules and others_present()):
                trace, span = tracing.sent(message)
                if span is not None:
                    head = head._replace(flags=flags | wire.TRACED)
        if encoder.told is not None:
            encoder.told.add()
        if job is not None:
            head = head._replace(depth=job.head.depth + 1)
            if flags and not job.answered:
                head = head._replace(extra={**(head.extra or {}), **_chain(job)})
        if flags and (turns := waiting_sessions()):
            head = head._replace(extra={**(head.extra or {}), "turns": turns})
        if deadline is not None:
            head = head._replace(extra={**(head.extra or {}), "deadline": deadline})
        session = message.session_id
        try:
            body = encoder.encode(message, now, trace)
        except BaseException:
            if span is not None:
                span.end(error="unsendable")
            raise
        entry = Entry(head, body)
        entry.span = span
        sequence = self._outbox.add(session, entry)
        stamp(
            message, (producer.identity, producer.epoch, session, sequence, now, trace, head.depth, 1, None)
        )
        if self._observers.watching and not flags & wire.COMMAND:
            self._observers.see(message)  # type: ignore[arg-type]  # what is no command is an event
        self._unsaid += 1
        if self._outbox.count == 1:
            # Nothing else is under way: the first of what may be many does not wait for the others.
            self._flush()
        elif self._unsaid == 1:
            self._wake()
        elif self._unsaid == _BURST:
            self._flush()
        return entry

    async def _wait_for_room(self, job: Job | None) -> None:
        if job is not None and not job.answered:
            raise self._room.refuse()
        await self._room.wait()

    # Deadlines of commands

    def _expire(self, entry: Entry, session: str) -> None:
        if entry.answer.done():
            return
        if self._outbox.give_up(session, entry.sequence):
            text = "the router was not reached before the deadline"
            if self.connected:
                text = "it was not sent before the deadline: earlier messages of its session waited for room"
            entry.answer.set_result(failed_answer("deadline", text, retryable=True))
            return
        self._cancel(entry, session)
        # The router knows how far the command has come; without it nobody does.
        loop = asyncio.get_running_loop()
        loop.call_later(self._producer.options.answer_grace, self._unanswered, entry)

    def _cancel(self, entry: Entry, session: str) -> None:
        if not self._outbox.give_up(session, entry.sequence):
            self._cancelled.append((session, entry.sequence))
            self._wake()

    def _unanswered(self, entry: Entry) -> None:
        if not entry.answer.done():
            text = "the deadline passed, and the router could not say how far the command has come"
            entry.answer.set_result(failed_answer("outcome_unknown", text))

    # From and to the router

    def welcome(self, received: list[Any], serial: int, *, again: bool) -> None:
        self._outbox.serial = serial
        self._outbox.resume([(session, last) for session, last in received], again=again)
        self.connected = True

    def table_at(self, serial: int) -> None:
        """The table stands there now, so what is sent from here on was sent to no older handler."""
        self._outbox.serial = max(self._outbox.serial, serial)

    def broken(self) -> None:
        """Nothing can be sent; handlers that publish go on, their messages wait here."""
        self.connected = False
        self._confirmed.clear()
        for entry in list(self._nested):
            _let_go(entry)

    def next_message(self) -> Any | None:
        """What is to be sent next; None when there is nothing or no window for it."""
        outbox = self._outbox
        self._unsaid = 0
        if self._cancelled:
            session, sequence = self._cancelled.pop()
            return [wire.CANCEL, session, sequence]
        if outbox.forgotten:
            sessions, outbox.forgotten = outbox.forgotten, []
            return [wire.FORGET, sessions]
        if outbox.has_unsent:
            runs = outbox.runs()
            if runs:
                return [wire.PUBLISH, runs]
        if self._confirmed:
            confirmed, self._confirmed = self._confirmed, []
            return [wire.CONFIRM, confirmed]
        return None

    def admitted(self, ranges: list[Any], serial: int) -> None:
        outbox = self._outbox
        self.table_at(serial)
        for session, first, last, refused, deferred in ranges:
            if deferred:
                entry = outbox.find(session, first)
                if entry is not None and entry in self._nested:
                    _let_go(entry)
                continue
            for entry in outbox.admitted(session, first, last):
                if entry.since < serial and not entry.head.flags & wire.AGAIN:
                    # Handed to nobody before it was admitted, and so to no handler of an older table.
                    entry.since = serial
                if refused:
                    entry.refused = tuple((name, reason) for name, reason in refused)
                waiter = entry.waiter
                if waiter is not None:
                    # Not needed any more: what waits for its handlers shall be little work to the collector.
                    entry.waiter = None
                    if not waiter.done():
                        waiter.set_result(False)
        if outbox.has_unsent:
            self._wake()

    def settled(self, ranges: list[Any]) -> None:
        for session, first, last in ranges:
            for entry in self._outbox.settled(session, first, last):
                # Said to be settled after a break that had swallowed its admission.
                if not entry.admitted and entry.waiter is not None and not entry.waiter.done():
                    entry.waiter.set_result(False)
        if self._outbox.has_unsent:
            self._wake()
        self._progress()

    def results(self, results: list[Any]) -> None:
        for session, sequence, answer in results:
            self._confirmed.append([session, sequence])
            for entry in self._outbox.settled(session, sequence, sequence):
                if entry.answer is not None and not entry.answer.done():
                    entry.answer.set_result(answer)
        self._wake()
        self._progress()

    def _progress(self) -> None:
        if self._room.contended:
            self._room.progress()
        if self._idle and not self._outbox.count:
            idle, self._idle = self._idle, []
            for waiter in idle:
                if not waiter.done():
                    waiter.set_result(None)

    # Ends

    async def empty(self) -> None:
        """Until the handlers of everything published here are done."""
        if self._outbox.count:
            waiter = self._future()
            self._idle.append(waiter)
            await waiter

    def close(self) -> None:
        """Nobody will answer any more."""
        closed = BusClosed(f"the bus client of {self._producer.identity!r} was closed before this was done")
        for entry, _ in list(self._pending.items()):
            if entry.answer.done():
                continue
            if entry.head.flags & wire.COMMAND:
                text = "the bus client was closed before the answer came"
                entry.answer.set_result(failed_answer("closed", text))
            else:
                entry.answer.set_exception(closed)
        for line in self._outbox.lines.values():
            for entry in line.entries.values():
                if entry.waiter is not None and not entry.waiter.done():
                    entry.waiter.set_exception(closed)
        self._room.close(closed)


def _not_started() -> asyncio.Future[Any]:
    raise RuntimeError("a client's calls begin with its start")


def _admitted(entry: Entry, waiter: asyncio.Future[Any]) -> None:
    """What was published is with its handlers, or was refused, and so its sending is over."""
    assert entry.span is not None
    if waiter.cancelled() or waiter.exception() is not None:
        entry.span.end(error=CANCELLED if waiter.cancelled() else "closed")
    else:
        entry.span.end(error=entry.refused[0][1] if entry.refused else None)


def _answered(entry: Entry, answer: asyncio.Future[Any]) -> None:
    """What was asked has its answer, and so its sending is over; how an event went, its handlers tell."""
    assert entry.span is not None
    if answer.cancelled() or answer.exception() is not None:
        entry.span.end(error=CANCELLED if answer.cancelled() else "closed")
    elif entry.head.flags & wire.COMMAND:
        success, _, kind, text, *_ = answer.result()
        entry.span.end(error=None if success else kind, message=text)
    else:
        entry.span.end()


def _let_go(entry: Entry) -> None:
    """Whoever publishes it inside a handler does not wait for its admission."""
    if entry.waiter is not None and not entry.waiter.done():
        entry.waiter.set_result(True)


def _is_refused(refused: tuple[tuple[str, str], ...]) -> bool:
    """Whether the router refused the event itself, rather than some handler's mailbox its copy."""
    return any(not handler for handler, _ in refused)


def _chain(job: Job) -> dict[str, Any]:
    """The deliveries that are suspended while this one waits."""
    if job.extra is None:
        own = [job.queue.number, job.head.session]
        job.extra = {"chain": [*job.head.chain, *([] if own in job.head.chain else [own])]}
    return job.extra
