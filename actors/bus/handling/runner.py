"""Runs one handler: decodes, calls, measures, and says what came of each delivery."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable, Coroutine, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from llmgine.actors.bus import wire
from llmgine.actors.bus.errors import UndecodableMessage, UnsendableMessage
from llmgine.actors.bus.handling.batches import Batches
from llmgine.actors.bus.handling.calling import Call, Failed, Pending, failure, give_up, resumed, within
from llmgine.actors.bus.handling.durations import QUICK, Durations
from llmgine.actors.bus.handling.handlers import Delivery, Handler
from llmgine.actors.bus.handling.jobs import Job, current_job
from llmgine.actors.bus.handling.queue import Places, Queue
from llmgine.actors.bus.handling.watch import task_name
from llmgine.actors.bus.messages import Command, CommandError, CommandResult, Message, result_type, stamp
from llmgine.actors.bus.middleware import Middleware
from llmgine.actors.bus.payload import Decoder, ResultCodec
from llmgine.actors.bus.policies import BatchPolicy
from llmgine.actors.bus.subscriptions import SubscriptionRecord
from llmgine.telemetry.current import enter

if TYPE_CHECKING:
    from llmgine.actors.bus.handling.process import Handlers

logger = logging.getLogger(__name__)

# So long a worker goes on before it lets the loop do other things, and the lanes behind have their turn.
_TURN = 0.001
# One lane's deliveries in a row, at most: their answers then make one range.
_ROW = 32
# Beyond this a traceback in an exception's text would crowd out messages.
_MAX_TEXT = 4_000
_SLOW_NEVER = float("inf")


class Runner:
    """One subscription's handler in this process."""

    def __init__(
        self,
        host: Handlers,
        record: SubscriptionRecord,
        message_class: type[Message],
        handler: Handler,
        middleware: Sequence[Middleware],
    ) -> None:
        self.host = host
        self.clock = host.clock
        self.number = record.number
        self.places = Places(record, host.options)
        self.places.runner = self
        self.queues: list[Queue] = []
        self.durations = Durations(host.tracing.measures(record.kind) if host.tracing else ())
        self.stuck_now = 0
        self._next: Callable[[], Job | None] = self._first_of_any
        # A worker was called and has not come yet.
        self.starting = False
        # What a worker without work waits for; the others end.
        self._parked: asyncio.Future[None] | None = None
        self._batches: Batches | None = None
        self.configure(record, message_class, handler, middleware)

    def configure(
        self,
        record: SubscriptionRecord,
        message_class: type[Message],
        handler: Handler,
        middleware: Sequence[Middleware],
    ) -> None:
        """Take a handler; registering again under the same name replaces the former one."""
        self.record = record
        self.places.configure(record)
        self.message_class = message_class
        self._handler = handler
        self._middleware = tuple(middleware)
        self._task_name = task_name(record.name)
        self._decode = Decoder(message_class).decode
        self._wire_name = message_class.__wire_name__
        self._slow_after = _SLOW_NEVER if record.slow_after is None else record.slow_after
        # Plain successes that take less are counted in bulk.
        self._quick = min(QUICK, self._slow_after)
        # Handlers see the context in which they were registered, not that of whatever woke the link.
        self._context = contextvars.copy_context()
        self._context.run(enter, None)  # but for its span, which may be long over
        self._results: ResultCodec | None = None
        if issubclass(message_class, Command):
            self._results = ResultCodec(
                message_class.__qualname__, result_type(message_class), self.host.options.max_payload_bytes
            )
        self.close()
        self._batches = (
            None if record.batch is None else Batches(self, BatchPolicy.model_validate(record.batch))
        )
        self.wrap()

    def amend(self, record: SubscriptionRecord) -> None:
        """The subscription's settings have changed, in nothing that calling the handler depends on."""
        self.record = record
        self.places.configure(record)

    def close(self) -> None:
        """Nobody waits for work or time any more."""
        if self._batches is not None:
            self._batches.close()
        self.dismiss()

    def dismiss(self) -> None:
        """The worker that waits for work ends."""
        parked, self._parked = self._parked, None
        if parked is not None:
            parked.cancel()

    def wrap(self) -> None:
        """Put the middleware around the handler: the process's outside, the handler's own inside."""
        around = (*self.host.middleware, *self._middleware)
        call = Call(self._handler, around, self.host.options.handler_threads)
        self.call, self.with_delivery = call.function, call.with_delivery

    def attach(self, queue: Queue) -> None:
        """Deliveries come over one more link."""
        if queue not in self.queues:
            self.queues.append(queue)
            self._next = self.queues[0].start if len(self.queues) == 1 else self._first_of_any

    def detach(self, queue: Queue) -> None:
        self.queues.remove(queue)
        self._next = self.queues[0].start if len(self.queues) == 1 else self._first_of_any
        if not self.queues:
            self.dismiss()

    # Starting work

    def pump(self) -> None:
        """Call a worker where there is work and a free place; the next one when that one is suspended."""
        if self.host.closing:
            return
        for queue in self.queues:
            for _ in range(queue.beside):
                self.spawn(self._run_beside(queue))
        if self.starting or not self.places.free or not self.has_work():
            return
        self.places.taken += 1
        self.starting = True
        parked, self._parked = self._parked, None
        if self._batches is not None:
            self.spawn(self._batches.work())
        elif parked is not None and not parked.done():
            parked.set_result(None)
        else:
            self.spawn(self._stay())

    def has_work(self) -> bool:
        if self._batches is not None:
            return self._batches.ready()
        queues = self.queues
        return queues[0].may_start if len(queues) == 1 else any(queue.may_start for queue in queues)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=self._task_name, context=self._context.copy())
        self.host.keep(task)

    def _first_of_any(self) -> Job | None:
        """The next job of several queues, which take turns."""
        for place, queue in enumerate(self.queues):
            job = queue.start()
            if job is not None:
                self.queues.append(self.queues.pop(place))
                return job
        return None

    async def _stay(self) -> None:
        """A worker's life: it works, and then waits for more if nobody else does."""
        loop, context = asyncio.get_running_loop(), self._context
        while True:
            # What handlers set in their context ends with this row of deliveries.
            await within(context.copy(), self._work())
            stays = self._parked is None and self._context is context and bool(self.queues)
            if stays and not self.host.ending:
                call = self._parked = loop.create_future()
                self.pump()
                await call
            else:
                self.pump()
                return

    async def _work(self) -> None:
        """What one place does: job after job, until nothing may start."""
        self.starting = False
        places, clock = self.places, self.clock
        job = self._next()
        began = clock()
        until = began + _TURN
        row = quick = 0
        spent = 0.0
        try:
            while job is not None:
                queue = job.queue
                value = self._begin(job)
                if type(value) is Pending:
                    value = await self._finish(job, value, began)
                now = clock()
                took = now - began
                if value is None and took < self._quick and not job.head.replies:
                    queue.inbox.handled(job)
                    quick += 1
                    spent += took
                else:
                    self.conclude(job, value, took)
                if job.hop is not None:
                    self.left(job)
                row += 1
                following = queue.following(job) if row < _ROW and now < until else None
                if following is None:
                    ended, job = job, None
                    queue.ended(ended)
                    row = 0
                    if now >= until:
                        await asyncio.sleep(0)
                        now = clock()
                        until = now + _TURN
                    if places.taken <= places.limit + places.suspended:
                        job = self._next()
                else:
                    job = following
                began = now
        finally:
            if job is not None:
                job.queue.ended(job)
                if job.hop is not None:
                    self.left(job, "closed")
            self.durations.add_quick(quick, spent)
            places.taken -= 1

    async def _run_beside(self, queue: Queue) -> None:
        """A handler that its own delivery waits for: outside of lane and places."""
        job = queue.start_beside()
        if job is None:
            return
        if self._batches is not None:
            await self._batches.run([job])
            return
        began = self.clock()
        value = self._begin(job)
        if type(value) is Pending:
            value = await self._finish(job, value, began)
        self.conclude(job, value, self.clock() - began)
        if job.hop is not None:
            self.left(job)

    # One delivery

    def _begin(self, job: Job) -> Any:
        """Call the handler: its value, how it failed, or what is still to be awaited."""
        if job.aborted:
            return Failed("cancelled", "cancelled", job.aborted)
        try:
            message = self.message(job)
        except UndecodableMessage as error:
            return Failed("undecodable", "undecodable", str(error))
        if job.trace is not None and self.host.tracing is not None:
            job.hop = self.host.tracing.begin((job,), self.record.name)
        # Nobody else's code runs in this context, so nothing has to be set back.
        current_job.set(job)
        try:
            value = self.call(message, self.delivery(job)) if self.with_delivery else self.call(message)
            if type(value) is CoroutineType:
                # Most handlers end with their first step, and need no watching.
                try:
                    blocked = value.send(None)
                except StopIteration as returned:
                    return returned.value
                return Pending(resumed(value, blocked))
            return Pending(value) if inspect.isawaitable(value) else value
        except asyncio.CancelledError:
            return self.cancelled(job)
        except BaseException as error:
            return failure(error)

    async def _finish(self, job: Job, pending: Pending, began: float) -> Any:
        """Wait for the handler, which may be cancelled, and is at its deadline."""
        host, inbox = self.host, job.queue.inbox
        task = job.task = asyncio.current_task()
        assert task is not None
        inbox.started(job, began + self.record.deadline)
        host.expect(job.deadline)
        # This place is taken: another may go on with what there is.
        self.pump()
        try:
            return await pending.rest
        except asyncio.CancelledError:
            if host.closing and not job.aborted:
                raise
            return self.cancelled(job)
        except BaseException as error:
            return failure(error, threaded=job.thread is not None)
        finally:
            inbox.ended(job)
            self.released(job, task)

    def released(self, job: Job, task: asyncio.Task[Any]) -> None:
        """The handler has let go, be it late."""
        job.task = None
        if job.stuck:
            self.stuck_now -= 1
        if job.aborted:
            # The cancellation was this delivery's, not the worker's.
            while task.cancelling():
                task.uncancel()

    def message(self, job: Job) -> Message:
        head = job.head
        message, time, trace = self._decode(job.body, head.session, head.wire_name == self._wire_name)
        job.trace = trace
        stamp(
            message,
            (
                head.producer,
                head.epoch,
                head.session,
                job.sequence,
                time,
                trace,
                head.depth,
                job.passage.attempt,
                head.replay_of,
            ),
        )
        return message

    def delivery(self, job: Job) -> Delivery:
        head, passage = job.head, job.passage
        return Delivery(
            f"{job.id}/{self.record.name}",
            self.record.name,
            head.session,
            passage.attempt,
            passage.redelivered,
            head.producer,
            head.depth,
            job.trace,
            passage.missed,
        )

    def cancelled(self, job: Job) -> Failed:
        if job.aborted == "deadline":
            text = f"{self.record.name} took longer than its deadline of {self.record.deadline:g} s"
            return Failed("deadline", "deadline", text, True)
        return Failed("cancelled", "cancelled", job.aborted or "the handler was cancelled")

    # What came of it

    def conclude(self, job: Job, value: Any, took: float) -> None:
        """Answer with what the handler returned."""
        if job.answered:
            return
        self.durations.add(took)
        inbox, head, attempt = job.queue.inbox, job.head, job.passage.attempt
        if isinstance(value, CommandResult):
            value = value.value if value.success else _returned_failure(value.error)
        if head.command and type(value) is not Failed:
            value = self._packed(value)
        if type(value) is Failed:
            self._traced_failure(job, value, took)
            inbox.answer(job, wire.FAILED, _detail(value, attempt, took))
        elif head.command:
            inbox.answer(job, wire.VALUE, [True, value, "", "", False, attempt, took])
        elif head.wait or took >= self._slow_after:
            inbox.answer(job, wire.HANDLED, [attempt, took])
        else:
            inbox.handled(job)

    def left(self, job: Job, error: str | None = None) -> None:
        """Nothing more is done for this delivery in its context."""
        hop, job.hop = job.hop, None
        hop.end(error)
        hop.leave()

    def _traced_failure(self, job: Job, failed: Failed, took: float) -> None:
        hop, tracing = (job.leader or job).hop, self.host.tracing
        if hop is not None and hop.span is not None:
            hop.end(failed.kind, failed.text)
        elif tracing is not None:
            tracing.failed(job, self.record.name, failed.kind, failed.text, took)

    def _packed(self, value: Any) -> bytes | Failed:
        assert self._results is not None
        try:
            return self._results.dump(value)
        except UnsendableMessage as error:
            return Failed("handler", "unsendable", str(error))
        except (ValidationError, TypeError, ValueError) as error:
            text = f"the handler of {self.message_class.__qualname__} returned another type: {error}"
            # Another attempt would do the work again, and answer the same.
            return Failed("invalid", "invalid_result", text)

    def stuck(self, job: Job) -> None:
        """Nothing ends it: the attempt has failed, its place stays taken until it ends by itself."""
        if job.answered:
            return
        deadline = self.record.deadline
        threaded = (job.leader or job).thread is not None
        how = "runs in a thread, which cannot be ended" if threaded else "ignored its cancellation"
        text = f"{self.record.name} took longer than its deadline of {deadline:g} s and {how}"
        logger.warning("handler %s; it keeps its place", text)
        give_up(job)
        self.stuck_now += 1
        self.durations.add(deadline)
        self._traced_failure(job, Failed("stuck", "stuck", text), deadline)
        job.queue.inbox.stuck(job, _detail(Failed("stuck", "stuck", text), job.passage.attempt, deadline))
        self.pump()


def _returned_failure(error: CommandError | None) -> Failed:
    if error is None:
        return Failed("handler", "failed", "the handler returned a failure without an error")
    return Failed("handler", error.kind, error.text, error.retryable)


def _detail(failed: Failed, attempt: int, took: float) -> list[Any]:
    kind, text = _sendable(failed.kind), _sendable(failed.text)
    return [failed.reason, kind, text[:_MAX_TEXT], attempt, took, failed.retryable]


def _sendable(text: Any) -> str:
    """Users' errors may say what is no text, such as a file's name in no known encoding."""
    return str(text).encode("utf-8", "backslashreplace").decode()
