"""The handlers of one process: the real inboxes and queues, with scripts in place of users' functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmgine.actors.bus.handling.answers import Kept
from llmgine.actors.bus.handling.inbox import Inbox
from llmgine.actors.bus.handling.jobs import Job
from llmgine.actors.bus.handling.queue import Places, Queue
from llmgine.actors.bus.subscriptions import SubscriptionRecord
from tests.simulation.batches import Batching, Part
from tests.simulation.plan import Temper
from tests.simulation.script import Script

if TYPE_CHECKING:
    from tests.simulation.process import Process


class Handling:
    """What the asynchronous shell of the handling side does, step by step: start, watch, cancel."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.world = process.world
        self.tempers: dict[int, Temper] = {}
        self.scripts: dict[Job, Script | Part] = {}
        self._batchings: dict[int, Batching] = {}
        self._inboxes: list[Inbox] = []
        self.places: dict[int, Places] = {}
        self.kept = Kept(self.world.plan.options.kept_result_bytes)
        self._watching = float("inf")
        # Nothing more is started here.
        self.closed = False

    def inbox(self) -> Inbox:
        shard = len(self._inboxes)

        def wake() -> None:
            self.process.ends[shard].wake()

        inbox = Inbox(self.kept, wake, self._ready, self._cancel)
        self._inboxes.append(inbox)
        return inbox

    def add(self, record: SubscriptionRecord, temper: Temper) -> None:
        self.tempers[record.number] = temper
        places = self.places.get(record.number)
        if places is None:
            places = self.places[record.number] = Places(record, self.world.plan.options)
        else:
            places.configure(record)
        if record.batch is not None:
            self._batchings[record.number] = Batching(self, record.number, places)
        for inbox in self._inboxes:
            inbox.add(record.number, places)

    def remove(self, number: int) -> None:
        """It is called no more, by whichever router."""
        for inbox in self._inboxes:
            inbox.remove(number)

    def queues(self, number: int) -> list[Queue]:
        """Those of one handler, over every link that still hands to it."""
        return [inbox.queues[number] for inbox in self._inboxes if number in inbox.queues]

    # Starting

    def _ready(self, queue: Queue) -> None:
        """Workers take what may start; each leaves its place when its job has ended."""
        if self.closed:
            return
        batching = self._batchings.get(queue.number)
        if batching is not None:
            batching.pump()
            return
        while queue.beside and (job := queue.start_beside()) is not None:
            self._begin(job)
        places = queue.places
        while queue.may_start and places.free:
            job = queue.start()
            if job is None:
                return
            places.taken += 1
            self.world.account.place(self.process, places.record, 1)
            self.world.account.check_places(self.process, places.record)
            self._begin(job)

    def _begin(self, job: Job) -> None:
        script = self.scripts[job] = Script(self, job)
        self.world.scheduler.after(0, self.process, script.begin)

    def watch(self, job: Job, deadline: float) -> None:
        """It is cancelled then, and stuck where it ignores that."""
        job.queue.inbox.started(job, deadline)
        if deadline < self._watching:
            self._watch(deadline)

    def ended(self, job: Job) -> None:
        """The script is over, and has said what came of it."""
        self.scripts.pop(job, None)
        queue = job.queue
        queue.inbox.ended(job)
        queue.ended(job)
        if job.passage.reentrant:
            self._ready(queue)
            return
        queue.places.taken -= 1
        self.world.account.place(self.process, queue.places.record, -1)
        for inbox in self._inboxes:
            other = inbox.queues.get(queue.number)
            if other is not None:
                self._ready(other)

    # Deadlines

    def _watch(self, at: float) -> None:
        self._watching = at
        self.world.scheduler.after(max(0.0, at - self.world.scheduler.now), self.process, self._overdue)

    def _overdue(self) -> None:
        self._watching = float("inf")
        for inbox in self._inboxes:
            for job in inbox.overdue(self.world.scheduler.now):
                self.scripts[job].stuck()
        soonest = min(inbox.next_deadline() for inbox in self._inboxes)
        if soonest < float("inf"):
            self._watch(soonest)

    def _cancel(self, job: Job) -> None:
        script = self.scripts.get(job)
        if script is not None:
            self.world.scheduler.after(0, self.process, script.cancelled)

    @property
    def at_rest(self) -> bool:
        return not self.scripts

    def validate(self) -> None:
        for inbox in self._inboxes:
            inbox.validate()
