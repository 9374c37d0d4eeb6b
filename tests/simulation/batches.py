"""Handlers that take many events at a time: what the shell of the handling side does, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.handling.batches import _end, _leader
from llmgine.actors.bus.handling.jobs import Job
from llmgine.actors.bus.handling.queue import Places, Queue
from llmgine.actors.bus.policies import BatchPolicy
from tests.simulation.plan import EVENTS

if TYPE_CHECKING:
    from tests.simulation.account import Run
    from tests.simulation.handlers import Handling


class Batching:
    """When the batches of one handler go: full ones at once, others when the first has waited long enough."""

    def __init__(self, handling: Handling, number: int, places: Places) -> None:
        self.handling = handling
        self.process = handling.process
        self.world = handling.process.world
        self.number = number
        self.places = places
        self._policy = BatchPolicy.model_validate(places.record.batch)
        self._due = False
        self._timed = False

    @property
    def _queues(self) -> list[Queue]:
        return self.handling.queues(self.number)

    def pump(self) -> None:
        for queue in self._queues:
            while queue.beside and (job := queue.start_beside()) is not None:
                self._begin([job])
        while self.places.free and self._may_go():
            jobs = next((jobs for queue in self._queues if (jobs := queue.gather(self._policy.size))), [])
            if not jobs:
                return
            if len(jobs) > self._policy.size:
                text = (
                    f"a batch of {len(jobs)} for {self.places.record.name}, which takes {self._policy.size}"
                )
                raise self.world.account.violation(5, text, handler=self.places.record.name)
            self.places.taken += 1
            self.world.account.place(self.process, self.places.record, 1)
            self.world.account.check_places(self.process, self.places.record)
            self._due = False
            self._begin(jobs)

    def _may_go(self) -> bool:
        queues = self._queues
        if not any(queue.may_start for queue in queues):
            return False
        if self._due or any(queue.count >= self._policy.size for queue in queues):
            return True
        if not self._timed:
            self._timed = True
            self.world.scheduler.after(self._policy.wait, self.process, self._wait_is_over)
        return False

    def _wait_is_over(self) -> None:
        self._timed = False
        self._due = any(queue.may_start for queue in self._queues)
        if not self.handling.closed:
            self.pump()

    def _begin(self, jobs: list[Job]) -> None:
        batch = Batch(self, sorted(jobs, key=lambda one: one.entry))
        for job in jobs:
            self.handling.scripts[job] = Part(batch, job)
        self.world.scheduler.after(0, self.process, batch.begin)

    def ended(self, jobs: list[Job]) -> None:
        """Every lane goes on, and the place is free."""
        for job in jobs:
            self.handling.scripts.pop(job, None)
            job.queue.inbox.ended(job)
        _end(jobs)
        if not jobs[0].passage.reentrant:
            self.places.taken -= 1
            self.world.account.place(self.process, self.places.record, -1)
        if not self.handling.closed:
            self.pump()


class Batch:
    """One call of the handler: all of it is handled, or all of it has failed."""

    def __init__(self, batching: Batching, jobs: list[Job]) -> None:
        self.batching = batching
        self.world = batching.world
        self.jobs = jobs
        # Those that have no answer yet, in order.
        self.open: dict[Job, Run] = {}
        self.deaf = False
        self._over = False
        self._began = self.world.scheduler.now

    def begin(self) -> None:
        world, batching = self.world, self.batching
        record, process = batching.places.record, batching.process
        leader = _leader(self.jobs)
        for job in self.jobs:
            if job.queue.inbox.queues.get(job.queue.number) is not job.queue:
                job.queue.inbox.answer(job, wire.DISCARDED, None)
            elif job.aborted:
                self._answer(job, "cancelled")
            else:
                job.leader = leader
                self.open[job] = world.account.started(process, record, (*job.head.key, job.sequence), job)
                batching.handling.watch(job, world.scheduler.now + record.deadline)
        if not self.open:
            self._end()
            return
        world.count("batches")
        if len(self.open) > 1:
            world.count("batches of several")
        choose, temper = world.scheduler.random, batching.handling.tempers[batching.number]
        if world.publishing and choose.random() < temper.publishes:
            process.publish(choose.choice(sorted(EVENTS)), choose.choice(world.sessions), leader, wait=False)
        if world.publishing and choose.random() < temper.forever:
            self.deaf = choose.random() < 0.3
            return
        slow = world.scheduler.between(0.01, 0.08) if choose.random() < temper.slow else 0.0
        world.scheduler.after(world.scheduler.between(0.0, 0.008) + slow, process, self._finish)

    def _finish(self) -> None:
        if self._over:
            return
        temper = self.batching.handling.tempers[self.batching.number]
        if self.world.scheduler.chance(temper.fails):
            self.fail("handler")
            return
        took = self.world.scheduler.now - self._began
        for job, run in self.open.items():
            self._note(job, run, "handled")
            if job.head.wait:
                job.queue.inbox.answer(job, wire.HANDLED, [job.passage.attempt, took])
            else:
                job.queue.inbox.handled(job)
        self._end()

    def fail(self, reason: str) -> None:
        """One attempt was made, whatever it held: only the first one counts as failed by itself."""
        first = True
        together = len(self.open) > 1
        for job, run in self.open.items():
            alone = not together or (first and reason in ("handler", "deadline"))
            self._note(job, run, reason)
            self._answer(job, reason if alone else "batch")
            first = False
        self._end()

    def stuck(self, job: Job) -> None:
        """It cannot be ended; the others of the batch are as late, and follow."""
        run = self.open.pop(job, None)
        if run is None:
            return
        self._note(job, run, "stuck")
        job.queue.inbox.stuck(job, self._failure(job, "stuck"))
        if not self.open:
            later = self.world.scheduler.between(0.01, 0.3)
            self.world.scheduler.after(later, self.batching.process, self._end)

    def cancelled(self, job: Job) -> None:
        if not (self._over or self.deaf):
            self.fail("deadline" if job.aborted == "deadline" else "cancelled")

    def _note(self, job: Job, run: Run, outcome: str) -> None:
        self.world.account.ended(self.batching.process, self.batching.places.record, run, job, outcome)

    def _answer(self, job: Job, reason: str) -> None:
        job.queue.inbox.answer(job, wire.FAILED, self._failure(job, reason))

    def _failure(self, job: Job, reason: str) -> list[Any]:
        return [reason, reason, "no", job.passage.attempt, self.world.scheduler.now - self._began, False]

    def _end(self) -> None:
        self._over = True
        self.batching.ended(self.jobs)


class Part:
    """One event of a batch, for whoever watches deadlines."""

    def __init__(self, batch: Batch, job: Job) -> None:
        self._batch = batch
        self._job = job

    def cancelled(self) -> None:
        self._batch.cancelled(self._job)

    def stuck(self) -> None:
        self._batch.stuck(self._job)
