"""One attempt of a handler: it publishes, executes, waits, and ends well, badly or never."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.handling.jobs import Job
from tests.simulation.plan import COMMANDS, EVENTS

if TYPE_CHECKING:
    from tests.simulation.account import Run
    from tests.simulation.handlers import Handling


class Script:
    def __init__(self, handling: Handling, job: Job) -> None:
        self.handling = handling
        self.process = handling.process
        self.world = handling.process.world
        self.job = job
        self.over = False
        self.deaf = False
        self.waiting = False
        self.run: Run | None = None
        self.began = self.world.scheduler.now

    @property
    def record(self) -> Any:
        return self.job.queue.places.record

    def begin(self) -> None:
        world, job = self.world, self.job
        if job.queue.inbox.queues.get(job.queue.number) is not job.queue:
            # Removed meanwhile, and not called.
            self._leave(wire.DISCARDED, None)
            return
        if job.aborted:
            self._leave(wire.FAILED, self._failure("cancelled"))
            return
        self.run = world.account.started(self.process, self.record, (*job.head.key, job.sequence), job)
        scheduler, choose = world.scheduler, world.scheduler.random
        self.handling.watch(job, scheduler.now + self.record.deadline)
        temper = self.handling.tempers[job.queue.number]
        if world.publishing and choose.random() < temper.publishes:
            self._publish()
        if world.publishing and choose.random() < temper.forever:
            self.deaf = choose.random() < 0.3
            return
        pause = scheduler.between(0.0, 0.008)
        if choose.random() < temper.slow:
            pause += scheduler.between(0.01, 0.08)
        act = self._call if choose.random() < temper.waits else self._end
        scheduler.after(pause, self.process, act)

    # In the middle

    def _sessions(self) -> str:
        choose = self.world.scheduler.random
        session: str = choose.choice((self.job.head.session, choose.choice(self.world.sessions)))
        return session

    def _publish(self) -> None:
        choose = self.world.scheduler.random
        for _ in range(choose.choice((1, 1, 2))):
            self.process.publish(choose.choice(sorted(EVENTS)), self._sessions(), self.job, wait=False)

    def _call(self) -> None:
        """It waits for another handler, perhaps for itself."""
        if self.over:
            return
        choose, job = self.world.scheduler.random, self.job
        self._wait(True)
        if choose.random() < 0.5:
            sent = self.process.execute(choose.choice(sorted(COMMANDS)), self._sessions(), job, self._back)
        else:
            sent = self.process.publish(
                choose.choice(sorted(EVENTS)), self._sessions(), job, wait=True, on_answer=self._back
            )
        if not sent:
            self._back(None)

    def _wait(self, waiting: bool) -> None:
        if waiting is self.waiting:
            return
        self.waiting = waiting
        # Counted before, for others start at once in its place.
        if not self.job.passage.reentrant:
            self.world.account.place(self.process, self.record, -1 if waiting else 1)
        if waiting:
            self.job.suspend()
        else:
            self.job.resume()

    def _back(self, answer: Any) -> None:
        if not self.over:
            self._wait(False)
            self.world.scheduler.after(0.0005, self.process, self._end)

    # Ends

    def _end(self) -> None:
        if self.over:
            return
        temper = self.handling.tempers[self.job.queue.number]
        job = self.job
        if self.world.scheduler.chance(temper.fails):
            self._fail("handler")
            return
        self._finish("handled")
        inbox, attempt = job.queue.inbox, job.passage.attempt
        duration = self.world.scheduler.now - self.began
        if job.head.command:
            inbox.answer(job, wire.VALUE, [True, b"ok", "", "", False, attempt, duration])
        elif job.head.wait:
            inbox.answer(job, wire.HANDLED, [attempt, duration])
        else:
            inbox.handled(job)
        self.handling.ended(job)

    def cancelled(self) -> None:
        """Its deadline, or its caller's, has passed; some pay no heed."""
        if not self.over and not self.deaf:
            self._fail("deadline" if self.job.aborted == "deadline" else "cancelled")

    def stuck(self) -> None:
        if self.over:
            return
        self._finish("stuck")
        self.job.queue.inbox.stuck(self.job, self._failure("stuck"))
        # A thread that comes to its end after all.
        self.world.scheduler.after(
            self.world.scheduler.between(0.01, 0.3), self.process, self.handling.ended, self.job
        )

    def _fail(self, reason: str) -> None:
        self._finish(reason)
        self._leave(wire.FAILED, self._failure(reason))

    def _failure(self, reason: str) -> list[Any]:
        duration = self.world.scheduler.now - self.began
        return [reason, reason, "no", self.job.passage.attempt, duration, False]

    def _leave(self, code: int, detail: Any) -> None:
        self.over = True
        self.job.queue.inbox.answer(self.job, code, detail)
        self.handling.ended(self.job)

    def _finish(self, outcome: str) -> None:
        self._wait(False)
        self.over = True
        assert self.run is not None
        self.world.account.ended(self.process, self.record, self.run, self.job, outcome)
