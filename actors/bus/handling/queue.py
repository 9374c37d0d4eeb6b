"""Deliveries of one handler over one link: which may start now, in which order. Pure.

The events of one session form a lane and run one after another; with the order "strict" those of the
bus scope do so, too. All else starts in order and runs side by side, as far as the handler has places.
While the router's verdict on a failed attempt is awaited, nothing starts.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.handling.dedup import Lines
from llmgine.actors.bus.handling.jobs import Job
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.subscriptions import SubscriptionRecord

if TYPE_CHECKING:
    from llmgine.actors.bus.handling.inbox import Inbox


class Places:
    """What the queues of one handler share in this process: its places, and what it has finished.

    `taken` counts workers, `suspended` those of them whose handler waits for the bus.
    """

    __slots__ = ("limit", "lines", "record", "runner", "suspended", "taken")

    def __init__(self, record: SubscriptionRecord, options: BusOptions) -> None:
        # A durable event may be settled for its producer, and so out of its window, while it is open here.
        self.lines = Lines(2 * options.max_unsettled, options.dedup_lines)
        self.taken = 0
        self.suspended = 0
        # Who calls the handler.
        self.runner: Any = None
        self.configure(record)

    def configure(self, record: SubscriptionRecord) -> None:
        self.record = record
        self.limit = record.concurrency

    @property
    def free(self) -> bool:
        return self.taken < self.limit + self.suspended


class Queue:
    """What has not started, and what waits for a verdict."""

    __slots__ = ("_beside", "_lanes", "_ready", "_strict", "_verdicts", "count", "inbox", "number", "places")

    def __init__(self, number: int, places: Places, inbox: Inbox) -> None:
        self.number = number
        self.places = places
        self.inbox = inbox
        self.count = 0
        self.configure()
        # Jobs, and lanes of which the first job may start; a lane whose job runs is in `_lanes` only.
        self._ready: deque[Job | deque[Job]] = deque()
        self._lanes: dict[str, deque[Job]] = {}
        # What its own handler waits for: outside of lanes and places.
        self._beside: deque[Job] = deque()
        # By the failed delivery's entry, its lane.
        self._verdicts: dict[int, str | None] = {}

    def configure(self) -> None:
        self._strict = self.places.record.order == "strict" and self.places.record.kind == "event"

    @property
    def may_start(self) -> bool:
        """Whether there is something for a place."""
        return bool(self._ready) and not self._verdicts

    @property
    def beside(self) -> int:
        """How many may start without one."""
        return 0 if self._verdicts else len(self._beside)

    @property
    def verdicts(self) -> int:
        """How many failed attempts have not been judged."""
        return len(self._verdicts)

    def row(self, job: Job) -> deque[Job] | deque[Job | deque[Job]]:
        """Where to append this job, and others of its head and passage, now; `count` has to count them."""
        head = job.head
        if job.passage.reentrant:
            return self._beside
        if not (head.laned or self._strict):
            return self._ready
        lane = self._lanes.get(head.session)
        if lane is None:
            lane = self._lanes[head.session] = deque()
            self._ready.append(lane)
        return lane

    def unstarted(self) -> list[Job]:
        """All that has not started, in no particular order."""
        jobs = [item for item in self._ready if isinstance(item, Job)]
        return [*self._beside, *jobs, *(job for lane in self._lanes.values() for job in lane)]

    # Starting

    def start(self) -> Job | None:
        """The next job that may start, where a place is free; its lane is closed until `ended`."""
        if not self._ready or self._verdicts:
            return None
        item = self._ready.popleft()
        self.count -= 1
        return item if isinstance(item, Job) else item.popleft()

    def start_beside(self) -> Job | None:
        """The next job that its own handler waits for: it needs no place."""
        if not self._beside or self._verdicts:
            return None
        self.count -= 1
        return self._beside.popleft()

    def gather(self, size: int) -> list[Job]:
        """As `start` for a whole batch; it may hold several jobs of a lane, in their order.

        What has failed before comes alone.
        """
        jobs: list[Job] = []
        while self._ready and not self._verdicts and len(jobs) < size:
            item = self._ready[0]
            first = item if isinstance(item, Job) else item[0]
            alone = first.passage.attempt > 1
            if alone and jobs:
                break
            self._ready.popleft()
            if isinstance(item, Job):
                jobs.append(item)
            else:
                jobs.append(item.popleft())
                while not alone and item and len(jobs) < size and item[0].passage.attempt == 1:
                    jobs.append(item.popleft())
            if alone:
                break
        self.count -= len(jobs)
        return jobs

    def following(self, job: Job) -> Job | None:
        """The next job of the same lane, to be run in place of `ended`; None where there is none."""
        if self._verdicts or job.stuck or not (job.head.laned or self._strict):
            return None
        lane = self._lanes.get(job.head.session)
        if not lane:
            return None
        self.count -= 1
        return lane.popleft()

    def ended(self, job: Job) -> None:
        """Its lane may go on; told once of each lane that a start or a batch has closed."""
        lane = self.lane(job)
        if lane is None or job.stuck:
            return
        jobs = self._lanes[lane]
        if jobs:
            self._ready.append(jobs)
        else:
            del self._lanes[lane]

    def pass_by(self, job: Job) -> None:
        """It will not end: its lane goes on without it."""
        lane = self.lane(job)
        job.stuck = True
        jobs = self._lanes.get(lane) if lane is not None else None
        if jobs is None or lane is None or any(item is jobs for item in self._ready):
            return
        if jobs:
            self._ready.append(jobs)
        else:
            del self._lanes[lane]

    def lane(self, job: Job) -> str | None:
        """The session in whose order it stands."""
        head = job.head
        return head.session if (head.laned or self._strict) and not job.passage.reentrant else None

    # Verdicts

    def await_verdict(self, job: Job, entries: list[int]) -> None:
        """An attempt has failed: nothing starts until the router has said how to go on."""
        lane = self.lane(job)
        for entry in entries:
            self._verdicts[entry] = lane

    def judge(self, entry: int, recall: int) -> list[Job]:
        """The verdict on one failed delivery; what it takes back, in the order of entries."""
        if entry and entry not in self._verdicts:
            return []
        lane = self._verdicts.pop(entry) if entry else None
        if recall == wire.ALL:
            jobs = self.clear()
        elif recall == wire.LANE and lane is not None:
            jobs = self._clear_lane(lane)
        else:
            return []
        return sorted(jobs, key=lambda job: job.entry)

    def forget_verdicts(self) -> None:
        self._verdicts.clear()

    # Taking out

    def clear(self) -> list[Job]:
        """Take out all that has not started; lanes whose job runs stay closed."""
        jobs = self.unstarted()
        open_lanes = {id(item) for item in self._ready if not isinstance(item, Job)}
        self._beside.clear()
        self._ready.clear()
        for session, lane in list(self._lanes.items()):
            lane.clear()
            if id(lane) in open_lanes:
                del self._lanes[session]
        self.count = 0
        return jobs

    def _clear_lane(self, session: str) -> list[Job]:
        lane = self._lanes.get(session)
        if lane is None:
            return []
        jobs = list(lane)
        lane.clear()
        self.count -= len(jobs)
        if any(item is lane for item in self._ready):
            self._ready = deque(item for item in self._ready if item is not lane)
            del self._lanes[session]
        return jobs

    def validate(self) -> None:
        """Lanes are open exactly where something of them may start."""
        open_lanes = [item for item in self._ready if not isinstance(item, Job)]
        assert all(open_lanes), (self.number, "an open lane is empty")
        assert len({id(lane) for lane in open_lanes}) == len(open_lanes), (
            self.number,
            "a lane is open twice",
        )
        known = {id(lane) for lane in self._lanes.values()}
        assert all(id(lane) in known for lane in open_lanes), (self.number, "an open lane is unknown")
        assert self.count == len(self.unstarted()), (self.number, self.count)
