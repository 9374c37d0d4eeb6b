"""Runs a handler that takes many events at a time."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmgine.actors.bus.errors import UndecodableMessage
from llmgine.actors.bus.handling.calling import Failed, failure
from llmgine.actors.bus.handling.jobs import Job, current_job
from llmgine.actors.bus.messages import CommandResult, Message
from llmgine.actors.bus.policies import BatchPolicy

if TYPE_CHECKING:
    from llmgine.actors.bus.handling.runner import Runner


class Batches:
    """When a batch goes, and what becomes of its events: all are handled, or all have failed.

    What failed in company is tried again alone, so one bad event spoils no other for good.
    """

    def __init__(self, runner: Runner, policy: BatchPolicy) -> None:
        self._runner = runner
        self._policy = policy
        self._due = False
        self._timer: asyncio.TimerHandle | None = None

    def ready(self) -> bool:
        """Whether a batch may go; where it may not yet, it will be asked again in time."""
        if not any(queue.may_start for queue in self._runner.queues):
            return False
        if self._due or any(queue.count >= self._policy.size for queue in self._runner.queues):
            return True
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._policy.wait, self._wait_is_over)
        return False

    def _wait_is_over(self) -> None:
        self._timer = None
        self._due = any(queue.may_start for queue in self._runner.queues)
        self._runner.pump()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def work(self) -> None:
        """What one place does: batch after batch, as long as there is something."""
        runner = self._runner
        runner.starting = False
        places = runner.places
        try:
            while places.taken <= places.limit + places.suspended and (jobs := self._gather()):
                try:
                    await self.run(jobs)
                finally:
                    _end(jobs)
        finally:
            self._due = False
            places.taken -= 1
        runner.pump()

    def _gather(self) -> list[Job]:
        queues = self._runner.queues
        for place, queue in enumerate(queues):
            jobs = queue.gather(self._policy.size)
            if jobs:
                queues.append(queues.pop(place))
                return jobs
        return []

    async def run(self, jobs: Sequence[Job]) -> None:
        """Call the handler with those that can be decoded, and answer all."""
        runner = self._runner
        began = runner.clock()
        taken: list[Job] = []
        messages: list[Message] = []
        for job in sorted(jobs, key=lambda one: one.entry):
            try:
                if job.aborted:
                    runner.conclude(job, Failed("cancelled", "cancelled", job.aborted), 0.0)
                    continue
                messages.append(runner.message(job))
                taken.append(job)
            except UndecodableMessage as error:
                runner.conclude(job, Failed("undecodable", "undecodable", str(error)), 0.0)
        if not taken:
            return
        value = await self._call(taken, messages, began)
        if isinstance(value, CommandResult) and value.success:
            value = None
        took = runner.clock() - began
        leader = taken[0].leader
        for job in taken:
            if type(value) is Failed and len(taken) > 1:
                # One attempt was made, whatever it held: only the first one counts as failed by itself.
                alone = job is taken[0] and value.reason in ("handler", "deadline")
                runner.conclude(job, value if alone else value._replace(reason="batch"), took)
            else:
                runner.conclude(job, value if isinstance(value, Failed | CommandResult) else None, took)
        if leader is not None and leader.hop is not None:
            runner.left(leader)

    async def _call(self, jobs: list[Job], messages: list[Message], began: float) -> Any:
        runner = self._runner
        leader = _leader(jobs)
        task = leader.task = asyncio.current_task()
        assert task is not None
        if runner.host.tracing is not None:
            leader.hop = runner.host.tracing.begin(jobs, runner.record.name)
        current_job.set(leader)
        inbox = leader.queue.inbox
        for job in jobs:
            job.leader = leader
            inbox.started(job, began + runner.record.deadline)
        runner.host.expect(jobs[0].deadline)
        runner.pump()
        try:
            deliveries = [runner.delivery(job) for job in jobs]
            return await (
                runner.call(messages, deliveries) if runner.with_delivery else runner.call(messages)
            )
        except asyncio.CancelledError:
            if runner.host.closing and not jobs[0].aborted:
                raise
            return runner.cancelled(jobs[0])
        except BaseException as error:
            return failure(error, threaded=leader.thread is not None)
        finally:
            leader.answered = True
            for job in jobs:
                inbox.ended(job)
                runner.released(job, task)


def _leader(jobs: list[Job]) -> Job:
    """Stands for all of them towards what the handler publishes."""
    first = jobs[0]
    head = copy.copy(first.head)
    head.depth = max(job.head.depth for job in jobs)
    leader = Job(first.queue, first.line, head, 0, b"", 0, first.link, first.passage)
    leader.trace = first.trace
    chain: list[list[Any]] = []
    for job in jobs:
        for link in (*job.head.chain, [job.queue.number, job.head.session]):
            if link not in chain:
                chain.append(link)
    head.turns = list(dict.fromkeys(session for job in jobs for session in job.head.turns))
    leader.extra = {"chain": chain}
    return leader


def _end(jobs: Sequence[Job]) -> None:
    """Each lane of which jobs were in the batch may go on."""
    lanes: dict[str, Job] = {}
    for job in jobs:
        lane = job.queue.lane(job)
        if lane is not None:
            lanes.setdefault(lane, job)
    for job in lanes.values():
        job.queue.ended(job)
