"""All handlers of one process: who runs them, when they are late, and what wraps them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from llmgine.actors.bus.handling.answers import Kept
from llmgine.actors.bus.handling.calling import cancel
from llmgine.actors.bus.handling.durations import Durations
from llmgine.actors.bus.handling.handlers import Handler
from llmgine.actors.bus.handling.inbox import CANCEL_GRACE, Inbox
from llmgine.actors.bus.handling.jobs import Job
from llmgine.actors.bus.handling.queue import Queue
from llmgine.actors.bus.handling.runner import Runner
from llmgine.actors.bus.handling.watch import LoopWatch
from llmgine.actors.bus.messages import Message
from llmgine.actors.bus.middleware import Middleware
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.subscriptions import SubscriptionRecord
from llmgine.actors.bus.tracing import Tracing

_NEVER = float("inf")


class Handlers:
    """The handlers of one client; each link with a router has its own inbox of their deliveries."""

    def __init__(
        self, options: BusOptions, clock: Callable[[], float], tracing: Tracing | None = None
    ) -> None:
        self.options = options
        self.tracing = tracing
        self.clock = clock
        self.runners: dict[int, Runner] = {}
        self.middleware: list[Middleware] = []
        self.closing = False
        # Workers wait for nothing any more.
        self.ending = False
        self._inboxes: list[Inbox] = []
        self._kept = Kept(options.kept_result_bytes)
        self._middlewares: dict[int, Middleware] = {}
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = _NEVER
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: LoopWatch | None = None

    def inbox(self, wake: Callable[[], None]) -> Inbox:
        """One more link; `wake` is called when there is something to tell its router."""
        inbox = Inbox(self._kept, wake, self._ready, self._cancel)
        self._inboxes.append(inbox)
        for runner in self.runners.values():
            runner.attach(inbox.add(runner.number, runner.places))
        return inbox

    # Handlers

    def serve(
        self,
        record: SubscriptionRecord,
        message_class: type[Message],
        handler: Handler,
        middleware: Sequence[Middleware] = (),
    ) -> Runner:
        """Call this handler for deliveries of the subscription, over every link."""
        if self._watch is None:
            self._watch = LoopWatch.here(self.options.blocked_loop)
        runner = self.runners.get(record.number)
        if runner is None:
            runner = self.runners[record.number] = Runner(self, record, message_class, handler, middleware)
        else:
            runner.configure(record, message_class, handler, middleware)
        for inbox in self._inboxes:
            runner.attach(inbox.add(record.number, runner.places))
        return runner

    def lose(self, inbox: Inbox, number: int) -> Runner | None:
        """One router hands this subscription's deliveries to somebody else, or to nobody."""
        queue = inbox.remove(number)
        runner = self.runners.get(number)
        if queue is not None and runner is not None:
            runner.detach(queue)
            if not runner.queues:
                del self.runners[number]
        return runner

    def remove(self, number: int) -> Runner | None:
        """This handler is called no more; what had not started is given back."""
        runner = self.runners.get(number)
        for inbox in self._inboxes:
            self.lose(inbox, number)
        return runner

    def add_middleware(self, middleware: Middleware) -> Callable[[], None]:
        """Wrap it around every handler of this process, inside of those before; returns what removes it."""
        number = next(self._numbers)
        self._middlewares[number] = middleware
        self._wrap()

        def remove() -> None:
            if self._middlewares.pop(number, None) is not None:
                self._wrap()

        return remove

    def _wrap(self) -> None:
        self.middleware = list(self._middlewares.values())
        for runner in self.runners.values():
            runner.wrap()

    # What inboxes and runners report

    def _ready(self, queue: Queue) -> None:
        queue.places.runner.pump()

    def _cancel(self, job: Job) -> None:
        if not cancel(job) and job.aborted == "deadline":
            job.queue.places.runner.stuck(job)

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold on to a worker until it ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Deadlines

    def expect(self, deadline: float) -> None:
        """Look for late ones then, at the latest."""
        if deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            delay = max(0.0, deadline - self.clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._check_deadlines)

    def _check_deadlines(self) -> None:
        self._timer, self._timer_at = None, _NEVER
        now = self.clock()
        for inbox in self._inboxes:
            for job in inbox.overdue(now):
                job.queue.places.runner.stuck(job)
        self.expect(min((inbox.next_deadline() for inbox in self._inboxes), default=_NEVER))

    # Figures and end

    @property
    def running(self) -> int:
        """Deliveries whose handler is suspended now."""
        return sum(inbox.running for inbox in self._inboxes)

    @property
    def queued(self) -> int:
        return sum(inbox.queued for inbox in self._inboxes)

    @property
    def duplicates(self) -> int:
        return sum(inbox.duplicates for inbox in self._inboxes)

    def report(self) -> dict[str, Any]:
        """Figures of this process; durations, what is stuck and who blocked the loop by handler name."""
        durations: dict[str, dict[str, Durations]] = {"event": {}, "command": {}}
        stuck: dict[str, int] = {}
        for runner in self.runners.values():
            name = runner.record.name
            durations[runner.record.kind].setdefault(name, Durations()).merge(runner.durations)
            if runner.stuck_now:
                stuck[name] = stuck.get(name, 0) + runner.stuck_now
        return {
            "running": self.running,
            "queued": self.queued,
            "duplicates": self.duplicates,
            "stuck": stuck,
            "blocked_loop": dict(self._watch.blocked) if self._watch is not None else {},
            **{
                f"{kind}_processing_duration": {name: one.report() for name, one in rows.items()}
                for kind, rows in durations.items()
            },
        }

    async def settle(self, timeout: float) -> int:
        """Wait until what has started is done, the last of all; returns how many handlers still run."""
        self._dismiss()
        tasks = {task for task in self._tasks if task is not asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        return self.running

    def _dismiss(self) -> None:
        self.ending = True
        for runner in self.runners.values():
            runner.dismiss()

    async def close(self) -> None:
        """Cancel what runs and wait for it to end, within the grace of a cancellation."""
        self.closing = True
        self._dismiss()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._timer is not None:
            self._timer.cancel()
        for runner in self.runners.values():
            runner.close()
        tasks = {task for task in self._tasks if task is not asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_GRACE)
