"""Runs one handler: decodes, calls, measures, and says what came of each delivery."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from llmgine.actors.bus import wire
from llmgine.actors.bus.errors import UndecodableMessage, UnsendableMessage
from llmgine.actors.bus.handling.dedup import Lines
from llmgine.actors.bus.handling.handlers import Delivery, Handler, resumed, takes_delivery
from llmgine.actors.bus.handling.jobs import Job, Lanes
from llmgine.actors.bus.messages import (
    Command,
    CommandError,
    CommandResult,
    Message,
    result_type,
    stamp,
)
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.payload import Decoder, ResultCodec
from llmgine.actors.bus.subscriptions import SubscriptionRecord

if TYPE_CHECKING:
    from llmgine.actors.bus.handling.consumer import Consumer

current_job: contextvars.ContextVar[Job | None] = contextvars.ContextVar("llmgine_bus_delivery", default=None)
"""The delivery on whose behalf the present task runs."""

# After so many deliveries without a pause a worker lets the loop do other things.
_TURN = 128
# One lane's deliveries in a row, at most: their answers then make one range.
_ROW = 32
_ROW_SECONDS = 0.001


class Runner:
    """One subscription's handler in this process."""

    def __init__(
        self,
        consumer: Consumer,
        record: SubscriptionRecord,
        message_class: type[Message],
        handler: Handler,
        options: BusOptions,
        clock: Callable[[], float],
    ) -> None:
        self._consumer = consumer
        self._clock = clock
        self.number = record.number
        self.lines = Lines(options.max_unsettled, options.dedup_lines)
        self.lanes = Lanes()
        self.removed = False
        self.suspended = 0
        self._workers = 0
        self._probing = False
        self._max_payload = options.max_payload_bytes
        self.configure(record, message_class, handler)

    def configure(self, record: SubscriptionRecord, message_class: type[Message], handler: Handler) -> None:
        """Take a handler; registering again under the same name replaces the former one."""
        self.record = record
        self.message_class = message_class
        self._handler = handler
        self._with_delivery = takes_delivery(handler)
        self._decoder = Decoder(message_class)
        self._wire_name = message_class.__wire_name__
        # Handlers see the context in which they were registered, not that of whatever woke the link.
        self._context = contextvars.copy_context()
        self._results: ResultCodec | None = None
        if issubclass(message_class, Command):
            self._results = ResultCodec(
                message_class.__qualname__, result_type(message_class), self._max_payload
            )

    # Starting work

    def add(self, job: Job) -> None:
        if job.reentrant:
            context = self._context.copy()
            self._consumer.keep(asyncio.create_task(self._run_beside(job), context=context))
            return
        self.lanes.add(job)

    def pump(self) -> None:
        """Start a worker where there is work and a free place; looks again once that one had its turn."""
        if self._probing or not self.lanes or self._consumer.closing:
            return
        if self._workers >= self.record.concurrency + self.suspended:
            return
        self._workers += 1
        self._probing = True
        self._consumer.keep(asyncio.create_task(self._work(), context=self._context.copy()))
        # Comes after the worker's first step: it has then finished its work or is suspended in a handler.
        asyncio.get_running_loop().call_soon(self._probe)

    def _probe(self) -> None:
        self._probing = False
        self.pump()

    async def _work(self) -> None:
        lanes = self.lanes
        turn = 0
        try:
            while lanes and self._workers <= self.record.concurrency + self.suspended:
                turn += await self._row(lanes.start())
                if turn >= _TURN:
                    turn = 0
                    await asyncio.sleep(0)
        finally:
            self._workers -= 1
        self.pump()

    async def _row(self, job: Job) -> int:
        """Run a job and, as long as they are quick, those behind it in its lane; how many."""
        lanes, clock = self.lanes, self._clock
        began = clock()
        until = began + _ROW_SECONDS
        count = 0
        try:
            while True:
                count += 1
                pending = self._begin(job, began)
                if pending is not None:
                    await self._finish(job, pending, began)
                began = clock()
                following = lanes.following(job) if count < _ROW and began < until else None
                if following is None:
                    return count
                job = following
        finally:
            lanes.ended(job)

    async def _run_beside(self, job: Job) -> None:
        """A handler that its own delivery waits for: outside of lane and concurrency."""
        began = self._clock()
        pending = self._begin(job, began)
        if pending is not None:
            await self._finish(job, pending, began)

    # One delivery

    def _begin(self, job: Job, began: float) -> Awaitable[Any] | None:
        """Call the handler; what is returned is still to be awaited."""
        if self.removed:
            self._consumer.answer(job, wire.DISCARDED, None)
            return None
        if job.aborted:
            self._failed(job, "cancelled", "cancelled", job.aborted, began)
            return None
        try:
            message = self._message(job)
        except UndecodableMessage as error:
            self._failed(job, "undecodable", "undecodable", str(error), began)
            return None
        return self._call(job, message, began)

    def _call(self, job: Job, message: Message, began: float) -> Awaitable[Any] | None:
        # Nobody else's code runs in this context, so nothing has to be set back.
        current_job.set(job)
        try:
            if self._with_delivery:
                value = self._handler(message, self._delivery(job))
            else:
                value = self._handler(message)
            if type(value) is CoroutineType:
                # Most handlers end with their first step, and need no watching.
                try:
                    blocked = value.send(None)
                except StopIteration as returned:
                    value = returned.value
                else:
                    return resumed(value, blocked)
            elif value is not None and inspect.isawaitable(value):
                return value
        except asyncio.CancelledError:
            self._cancelled(job, began)
        except (Exception, SystemExit) as error:
            self._failed(job, "handler", type(error).__name__, str(error), began)
        else:
            self._returned(job, value, began)
        return None

    async def _finish(self, job: Job, pending: Awaitable[Any], began: float) -> None:
        """Wait for the handler, which may be cancelled, and is at its deadline."""
        consumer = self._consumer
        task = job.task = asyncio.current_task()
        assert task is not None
        job.deadline = began + self.record.deadline
        consumer.started(job)
        try:
            value = await pending
        except asyncio.CancelledError:
            if consumer.closing and not job.aborted:
                raise
            self._cancelled(job, began)
        except (Exception, SystemExit) as error:
            self._failed(job, "handler", type(error).__name__, str(error), began)
        else:
            self._returned(job, value, began)
        finally:
            consumer.ended(job)
            job.task = None
            if job.aborted:
                # The cancellation was this delivery's, not the worker's.
                while task.cancelling():
                    task.uncancel()

    def _message(self, job: Job) -> Message:
        head = job.head
        exact = head.wire_name == self._wire_name
        message, time, trace = self._decoder.decode(job.body, head.session, exact=exact)
        job.trace = trace
        stamp(message, (*head.key, job.sequence, time, trace, head.depth, job.attempt, None))
        return message

    def _delivery(self, job: Job) -> Delivery:
        head = job.head
        return Delivery(
            f"{job.id}/{self.record.name}",
            self.record.name,
            head.session,
            job.attempt,
            job.redelivered,
            head.producer,
            head.depth,
            job.trace,
        )

    def _returned(self, job: Job, value: Any, began: float) -> None:
        if value is None and not (job.head.command or job.head.wait):
            self._consumer.handled(job)
            return
        failure = value.error if isinstance(value, CommandResult) and not value.success else None
        if isinstance(value, CommandResult):
            if failure is None and not value.success:
                failure = CommandError("failed", "the handler returned a failure without an error")
            value = value.value
        if failure is not None:
            self._failed(job, "handler", failure.kind, failure.text, began, retryable=failure.retryable)
        elif job.head.command:
            self._answer_command(job, value, began)
        elif job.head.wait:
            self._consumer.answer(job, wire.HANDLED, [job.attempt, self._clock() - began])
        else:
            self._consumer.handled(job)

    def _answer_command(self, job: Job, value: Any, began: float) -> None:
        assert self._results is not None
        try:
            packed = self._results.dump(value)
        except UnsendableMessage as error:
            self._failed(job, "handler", "unsendable", str(error), began)
        except (ValidationError, TypeError, ValueError) as error:
            text = f"the handler of {self.message_class.__qualname__} returned another type: {error}"
            self._failed(job, "handler", "invalid_result", text, began)
        else:
            duration = self._clock() - began
            self._consumer.answer(job, wire.VALUE, [True, packed, "", "", False, job.attempt, duration])

    def _cancelled(self, job: Job, began: float) -> None:
        if job.aborted == "deadline":
            text = f"{self.record.name} took longer than its deadline of {self.record.deadline:g} s"
            self._failed(job, "deadline", "deadline", text, began, retryable=True)
        else:
            self._failed(job, "cancelled", "cancelled", job.aborted or "the handler was cancelled", began)

    def _failed(
        self, job: Job, reason: str, kind: str, text: str, began: float, *, retryable: bool = False
    ) -> None:
        duration = self._clock() - began
        # Beyond this a traceback in an exception's text would crowd out messages.
        text = text[:4_000]
        if job.head.command:
            detail = [False, None, kind, text, retryable, job.attempt, duration]
            self._consumer.answer(job, wire.VALUE, detail)
        else:
            self._consumer.answer(job, wire.FAILED, [reason, kind, text, job.attempt, duration])

    def stuck(self, job: Job) -> None:
        """It ignores its cancellation: the attempt has failed, its place stays taken."""
        text = f"{self.record.name} ignored its cancellation at the deadline of {self.record.deadline:g} s"
        self._failed(job, "deadline", "deadline", text, job.deadline - self.record.deadline)
