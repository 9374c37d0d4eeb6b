"""The handlers' side of a client: takes deliveries, suppresses duplicates, runs handlers, answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.handling.answers import Answers, Kept
from llmgine.actors.bus.handling.dedup import Line
from llmgine.actors.bus.handling.jobs import Job, JobHead
from llmgine.actors.bus.handling.runner import Runner
from llmgine.actors.bus.options import BusOptions

logger = logging.getLogger(__name__)

# Once cancelled, a handler has so long to end before its place counts as stuck.
_CANCEL_GRACE = 1.0


class Consumer:
    """All handlers of one client. `wake` is called when there is something to tell the router."""

    def __init__(self, options: BusOptions, clock: Callable[[], float], wake: Callable[[], None]) -> None:
        self._options = options
        self._clock = clock
        self._wake = wake
        self.runners: dict[int, Runner] = {}
        self.answers = Answers()
        self._kept = Kept(options.kept_result_bytes)
        self._running: dict[Job, None] = {}
        self._link = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._tasks: set[asyncio.Task[None]] = set()
        self.closing = False
        self.duplicates = 0

    @property
    def running(self) -> int:
        """Deliveries whose handler is suspended now."""
        return len(self._running)

    @property
    def queued(self) -> int:
        return sum(runner.lanes.count for runner in self.runners.values())

    # The link

    def link_lost(self) -> None:
        """What has not started will be delivered again; what runs goes on and answers then."""
        self._link += 1
        self.answers.clear()
        for runner in self.runners.values():
            for job in runner.lanes.clear():
                job.line.running -= 1

    def deliver(self, runs: list[Any], deliveries: list[Any]) -> None:
        """One DELIVER message of the router."""
        # Three rows of equal length, for a tuple per message would be one more thing to collect.
        heads: list[JobHead] = []
        sequences: list[int] = []
        bodies: list[bytes] = []
        for run in runs:
            first, held = run[4], run[9]
            heads += [JobHead(run)] * len(held)
            sequences += range(first, first + len(held))
            bodies += held
        for number, entry, index, count, attempt, redelivered, reentrant in deliveries:
            runner = self.runners.get(number)
            if runner is None or runner.removed:
                for offset in range(count):
                    self.answers.outcome(number, entry + offset, wire.DISCARDED, None)
                self._wake()
                continue
            part = slice(index, index + count)
            messages = zip(heads[part], sequences[part], bodies[part], strict=True)
            self._take(runner, entry, messages, attempt, redelivered, reentrant)
            runner.pump()

    def _take(
        self,
        runner: Runner,
        entry: int,
        messages: Iterable[tuple[JobHead, int, bytes]],
        attempt: int,
        redelivered: bool,
        reentrant: bool,
    ) -> None:
        link = self._link
        last: JobHead | None = None
        line = _NO_LINE
        add = runner.add
        for head, sequence, body in messages:
            if head is not last:
                line = self._line(runner, head)
                last = head
            if line.seen(sequence):
                self._repeat(runner, line, head, sequence, entry)
            elif not (redelivered and self._join(line, sequence, entry)):
                line.running += 1
                add(Job(runner, line, head, sequence, body, entry, link, attempt, redelivered, reentrant))
            entry += 1

    def _line(self, runner: Runner, head: JobHead) -> Line:
        line = runner.lines.line(head.key)
        line.settle(head.floor)
        if line.outcomes:
            for sequence in [one for one in line.outcomes if one < head.floor]:
                del line.outcomes[sequence]
        return line

    def _repeat(self, runner: Runner, line: Line, head: JobHead, sequence: int, entry: int) -> None:
        """Finished before: say again what came of it."""
        self.duplicates += 1
        kept = line.outcomes.get(sequence)
        if kept is not None:
            self.answers.outcome(runner.number, entry, *kept)
        elif head.command:
            text = "the command has run, and its result is not kept any more (bus option kept_result_bytes)"
            detail = [False, None, "outcome_unknown", text, False, 1, 0.0]
            self.answers.outcome(runner.number, entry, wire.VALUE, detail)
        elif head.wait:
            self.answers.outcome(runner.number, entry, wire.HANDLED, [1, 0.0])
        else:
            self.answers.done(runner.number, entry)
        self._wake()

    def _join(self, line: Line, sequence: int, entry: int) -> bool:
        """Whether the same message is running already: it will answer this delivery, too."""
        for job in self._running:
            if job.line is line and job.sequence == sequence and not job.answered:
                self._rebind(job, entry)
                return True
        for job in _unstarted(self.runners.values()):
            if job.line is line and job.sequence == sequence:
                self._rebind(job, entry)
                return True
        return False

    def _rebind(self, job: Job, entry: int) -> None:
        self.duplicates += 1
        if job.link != self._link:
            job.link, job.entry, job.twins = self._link, entry, None
        else:
            job.twins = [*(job.twins or []), entry]

    def abort(self, number: int, entry: int) -> None:
        """Nobody waits for this delivery any more."""
        for job in self._running:
            if job.runner.number == number and job.entry == entry and job.link == self._link:
                self._cancel(job, "its caller's deadline passed")
                return
        for job in _unstarted(self.runners.values()):
            if job.runner.number == number and job.entry == entry:
                job.aborted = "its caller's deadline passed before it was called"
                return

    # What runners report

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold on to a worker until it ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def started(self, job: Job) -> None:
        self._running[job] = None
        if job.deadline < self._timer_at:
            self._set_timer(job.deadline)

    def ended(self, job: Job) -> None:
        self._running.pop(job, None)

    def handled(self, job: Job) -> None:
        """The plain success of an event."""
        if job.answered:
            return
        job.answered = True
        line = job.line
        line.mark(job.sequence)
        line.running -= 1
        if job.link != self._link:
            return
        number = job.runner.number
        if self.answers.done(number, job.entry):
            self._wake()
        if job.twins:
            for entry in job.twins:
                self.answers.done(number, entry)

    def answer(self, job: Job, code: int, detail: Any) -> None:
        """Any other outcome."""
        if job.answered:
            return
        job.answered = True
        line = job.line
        line.running -= 1
        if code != wire.DISCARDED:
            line.mark(job.sequence)
            self._kept.keep(line, job.sequence, code, detail)
        if job.link != self._link:
            return
        for entry in (job.entry, *(job.twins or ())):
            self.answers.outcome(job.runner.number, entry, code, detail)
        self._wake()

    # Waiting inside a handler

    def suspend(self, job: Job) -> None:
        """It waits for the bus: its place is free for others meanwhile."""
        job.suspended += 1
        if job.suspended == 1 and not job.reentrant:
            job.runner.suspended += 1
            job.runner.pump()

    def resume(self, job: Job) -> None:
        job.suspended -= 1
        if job.suspended == 0 and not job.reentrant:
            job.runner.suspended -= 1

    # Deadlines

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        delay = max(0.0, at - self._clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self._check_deadlines)

    def _check_deadlines(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        now = self._clock()
        soonest = float("inf")
        for job in list(self._running):
            if job.deadline <= now:
                self._overdue(job, now)
            soonest = min(soonest, job.deadline)
        if soonest < float("inf"):
            self._set_timer(soonest)

    def _overdue(self, job: Job, now: float) -> None:
        if job.aborted:
            job.deadline = float("inf")
            logger.warning("handler %s ignores its cancellation and keeps its place", job.runner.record.name)
            job.runner.stuck(job)
        else:
            job.deadline = now + _CANCEL_GRACE
            self._cancel(job, "deadline")

    def _cancel(self, job: Job, why: str) -> None:
        job.aborted = job.aborted or why
        if job.task is not None:
            job.task.cancel()

    # Ends

    def remove(self, number: int) -> Runner | None:
        """This handler is called no more; what had not started is given back."""
        runner = self.runners.pop(number, None)
        if runner is None:
            return None
        runner.removed = True
        for job in runner.lanes.clear():
            self.answer(job, wire.DISCARDED, None)
        return runner

    async def close(self) -> None:
        """Cancel what runs and wait for it to end, within the grace of a cancellation."""
        self.closing = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = {task for task in self._tasks if task is not asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CANCEL_GRACE)


def _unstarted(runners: Any) -> list[Job]:
    return [job for runner in runners for job in runner.lanes.unstarted()]


_NO_LINE = Line(1)
