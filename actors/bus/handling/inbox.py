"""The handlers' side of one link with a router: deliveries in, answers out. Pure.

It suppresses duplicates, says what may start, keeps what was answered for whoever asks again, and
holds everything back while a verdict is awaited. Who calls the handlers is told by three functions:
`wake` where there is something for the router, `ready` where a queue has something that may start, and
`cancel` where a handler shall end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.handling.answers import Answers, Kept
from llmgine.actors.bus.handling.dedup import Line
from llmgine.actors.bus.handling.jobs import Job, JobHead, Passage
from llmgine.actors.bus.handling.queue import Places, Queue

CANCEL_GRACE = 1.0
"""Once cancelled, a handler has so many seconds to end before its place counts as stuck."""

_NEVER = float("inf")


class Inbox:
    """All queues of one link; a link's loss makes answers on their way void, never what runs."""

    def __init__(
        self,
        kept: Kept,
        wake: Callable[[], None],
        ready: Callable[[Queue], None],
        cancel: Callable[[Job], None],
    ) -> None:
        self.wake = wake
        self.ready = ready
        self._cancel = cancel
        self._kept = kept
        self.queues: dict[int, Queue] = {}
        self.answers = Answers()
        # Jobs that have not ended with their first step.
        self._running: dict[tuple[Line, int], Job] = {}
        self._link = 0
        self.duplicates = 0

    @property
    def running(self) -> int:
        """Deliveries whose handler is suspended now."""
        return len(self._running)

    @property
    def queued(self) -> int:
        return sum(queue.count for queue in self.queues.values())

    # Handlers

    def add(self, number: int, places: Places) -> Queue:
        """Take deliveries for a subscription, from now on; again: with its new settings."""
        queue = self.queues.get(number)
        if queue is None:
            queue = self.queues[number] = Queue(number, places, self)
        queue.configure()
        return queue

    def remove(self, number: int) -> Queue | None:
        """This handler is called no more for this link; what had not started is given back."""
        queue = self.queues.pop(number, None)
        if queue is None:
            return None
        for job in queue.clear():
            self.answer(job, wire.DISCARDED, None)
        return queue

    # The link

    def link_lost(self) -> None:
        """What has not started will be delivered again; what runs goes on and answers then."""
        self._link += 1
        self.answers.clear()
        for queue in self.queues.values():
            queue.forget_verdicts()
            for job in queue.clear():
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
        for number, entry, index, count, attempt, redelivered, reentrant, missed in deliveries:
            queue = self.queues.get(number)
            if queue is None:
                for offset in range(count):
                    self.answers.outcome(number, entry + offset, wire.DISCARDED, None)
                self.wake()
                continue
            part = slice(index, index + count)
            messages = zip(heads[part], sequences[part], bodies[part], strict=True)
            passage = Passage(attempt, redelivered, reentrant, 0)
            self._take(queue, entry, messages, passage, missed)
            self.ready(queue)

    def _take(
        self,
        queue: Queue,
        entry: int,
        messages: Iterable[tuple[JobHead, int, bytes]],
        passage: Passage,
        missed: int,
    ) -> None:
        link = self._link
        attempt, redelivered = passage.attempt, passage.redelivered
        # A retry that the router hands out for the first time is no duplicate of what failed before it.
        fresh = attempt > 1 and not redelivered
        last: JobHead | None = None
        line = _NO_LINE
        failed, highest = line.failed, line.highest
        row: Any = None
        for head, sequence, body in messages:
            if head is not last:
                line = self._line(queue, head)
                failed, highest = line.failed, line.highest
                last, row = head, None
            # What runs comes first: it may be a later attempt than the one that had failed.
            if redelivered and self._join(line, sequence, entry):
                pass
            elif not fresh and (
                (sequence <= highest and line.seen(sequence))
                or (failed and failed.get(sequence, 0) >= (attempt or 1))
            ):
                self._repeat(queue, line, head, sequence, entry, passage)
            elif attempt == 0:
                # A question, and the answer is no.
                self.answers.outcome(queue.number, entry, wire.RETURNED, None)
                self.wake()
            else:
                line.running += 1
                job = Job(queue, line, head, sequence, body, entry, link, passage)
                if missed:
                    job.passage = Passage(attempt, redelivered, passage.reentrant, missed)
                    missed = 0
                if row is None:
                    row = queue.row(job)
                row.append(job)
                queue.count += 1
            entry += 1

    def _line(self, queue: Queue, head: JobHead) -> Line:
        line = queue.places.lines.line(head.key)
        line.settle(head.floor)
        if line.outcomes or line.failed:
            line.forget(head.floor)
        return line

    def _repeat(
        self, queue: Queue, line: Line, head: JobHead, sequence: int, entry: int, passage: Passage
    ) -> None:
        """Finished before: say again what came of it."""
        self.duplicates += 1
        kept = line.outcomes.get(sequence)
        if not line.seen(sequence):
            code, detail = kept or (wire.FAILED, _forgotten_failure(line.failed[sequence]))
            job = Job(queue, line, head, sequence, b"", entry, self._link, passage)
            queue.await_verdict(job, [entry])
            self.answers.outcome(queue.number, entry, code, detail)
        elif kept is not None and kept[0] != wire.FAILED:
            self.answers.outcome(queue.number, entry, *kept)
        elif head.command:
            text = "the command has run, and its result is not kept any more (bus option kept_result_bytes)"
            detail = [False, None, "outcome_unknown", text, False, 1, 0.0]
            self.answers.outcome(queue.number, entry, wire.VALUE, detail)
        elif head.wait:
            self.answers.outcome(queue.number, entry, wire.HANDLED, [1, 0.0])
        else:
            self.answers.done(queue.number, entry)
        self.wake()

    def _join(self, line: Line, sequence: int, entry: int) -> bool:
        """Whether the same message is running already: it will answer this delivery, too."""
        job = self._running.get((line, sequence))
        if job is None or job.answered:
            return False
        self.duplicates += 1
        if job.link != self._link:
            job.link, job.entry, job.twins = self._link, entry, None
        else:
            job.twins = [*(job.twins or []), entry]
        return True

    def verdict(self, number: int, entry: int, recall: int) -> None:
        """What the router makes of a failed attempt; what it takes back is returned.

        Entry 0 stands for no attempt: another member's failure has opened the breaker.
        """
        queue = self.queues.get(number)
        if queue is not None:
            for job in queue.judge(entry, recall):
                self.answer(job, wire.RETURNED, None)
        if recall != wire.KEEP:
            # The end mark, for the router cannot know how much there was.
            self.answers.outcome(number, entry, wire.RETURNED, None)
            self.wake()
        if queue is not None:
            self.ready(queue)

    def give_back(self) -> None:
        """Somebody else shall do what has not started here."""
        for queue in self.queues.values():
            for job in sorted(queue.clear(), key=lambda one: one.entry):
                self.answer(job, wire.RETURNED, None)

    def abort(self, number: int, entry: int) -> None:
        """Nobody waits for this delivery any more."""
        queue = self.queues.get(number)
        for job in queue.unstarted() if queue is not None else ():
            if job.entry == entry:
                job.aborted = "its caller's deadline passed before it was called"
                return
        for job in self._running.values():
            if job.queue.number == number and job.entry == entry and job.link == self._link:
                if not job.aborted:
                    job.aborted = "its caller's deadline passed"
                    self._cancel(job)
                return

    # What came of a job

    def started(self, job: Job, deadline: float) -> None:
        """It has not ended with its first step."""
        job.deadline = deadline
        self._running[job.line, job.sequence] = job

    def ended(self, job: Job) -> None:
        if self._running.get((job.line, job.sequence)) is job:
            del self._running[job.line, job.sequence]

    def handled(self, job: Job) -> None:
        """The plain success of an event."""
        if job.answered:
            return
        job.answered = True
        line, sequence = job.line, job.sequence
        line.running -= 1
        if sequence == line.base + 1 and not line.mask:
            # As `mark` does, for most come in order.
            line.base = sequence
        else:
            line.mark(sequence, ahead=job.passage.reentrant)
        if job.link != self._link:
            return
        number = job.queue.number
        if self.answers.done(number, job.entry):
            self.wake()
        if job.twins:
            for entry in job.twins:
                self.answers.done(number, entry)

    def answer(self, job: Job, code: int, detail: Any) -> None:
        """Any other outcome."""
        if job.answered:
            return
        job.answered = True
        line, sequence = job.line, job.sequence
        line.running -= 1
        if code == wire.FAILED:
            line.failed[sequence] = job.passage.attempt
        elif code not in (wire.DISCARDED, wire.RETURNED):
            line.mark(sequence, ahead=job.passage.reentrant)
        if detail is not None:
            self._kept.keep(line, sequence, code, detail)
        if job.link != self._link:
            return
        entries = job.entries
        queue = job.queue
        if code == wire.FAILED and self.queues.get(queue.number) is queue:
            queue.await_verdict(job, entries)
        for entry in entries:
            self.answers.outcome(queue.number, entry, code, detail)
        self.wake()

    # Deadlines

    def next_deadline(self) -> float:
        """When `overdue` is to be asked; infinite where nothing runs."""
        return min((job.deadline for job in self._running.values()), default=_NEVER)

    def overdue(self, now: float) -> list[Job]:
        """Those that are past their deadline are cancelled; those that ignored that are returned: stuck."""
        stuck = []
        for job in list(self._running.values()):
            if job.deadline > now:
                continue
            if job.aborted:
                job.deadline = _NEVER
                stuck.append(job)
            else:
                job.aborted = "deadline"
                job.deadline = now + CANCEL_GRACE
                self._cancel(job)
        return stuck

    def stuck(self, job: Job, detail: Any) -> None:
        """It cannot be ended: its attempt has failed and its place stays taken, but its lane goes on."""
        if job.answered:
            return
        self.answer(job, wire.FAILED, detail)
        job.queue.pass_by(job)
        job.deadline = _NEVER

    def validate(self) -> None:
        """What is queued and running is told apart; call it at the end of a test."""
        for queue in self.queues.values():
            queue.validate()


def _forgotten_failure(attempt: int) -> list[Any]:
    text = "the attempt had failed, and why is not kept any more (bus option kept_result_bytes)"
    return ["handler", "failed", text, attempt, 0.0, False]


_NO_LINE = Line(1)
