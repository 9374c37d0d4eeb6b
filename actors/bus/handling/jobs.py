"""Deliveries at their handler's process: which may start now, in which order. Pure.

The events of one session form a lane and run one after another. Events of the bus scope and
commands start in order and run beside each other, up to the handler's concurrency.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.handling.dedup import Line, LineKey
from llmgine.actors.bus.messages import BUS, LINEAGE_SEPARATOR


class JobHead:
    """What the messages of one delivered run have in common."""

    __slots__ = (
        "chain",
        "command",
        "depth",
        "epoch",
        "floor",
        "key",
        "laned",
        "lineage",
        "producer",
        "session",
        "wait",
        "wire_name",
    )

    def __init__(self, run: list[Any]) -> None:
        self.producer, self.epoch, self.session, self.lineage, _, self.floor, self.depth, flags, extra, _ = (
            run
        )
        self.wire_name = self.lineage.partition(LINEAGE_SEPARATOR)[0]
        self.key: LineKey = (self.producer, self.epoch, self.session)
        self.command = bool(flags & wire.COMMAND)
        self.wait = bool(flags & wire.WAIT)
        self.laned = self.session != BUS and not self.command
        self.chain: list[list[Any]] = extra.get("chain", []) if extra else []


class Job:
    """One delivery of one message to one handler here.

    `entry` is where the router expects the answer, valid on the link numbered `link` only.
    """

    __slots__ = (
        "aborted",
        "answered",
        "attempt",
        "body",
        "deadline",
        "entry",
        "extra",
        "head",
        "line",
        "link",
        "redelivered",
        "reentrant",
        "runner",
        "sequence",
        "suspended",
        "task",
        "trace",
        "twins",
    )

    def __init__(
        self,
        runner: Any,
        line: Line,
        head: JobHead,
        sequence: int,
        body: bytes,
        entry: int,
        link: int,
        attempt: int,
        redelivered: bool,
        reentrant: bool,
    ) -> None:
        self.runner = runner
        self.line = line
        self.head = head
        self.sequence = sequence
        self.body = body
        self.entry = entry
        self.link = link
        self.attempt = attempt
        self.redelivered = redelivered
        self.reentrant = reentrant
        self.twins: list[int] | None = None
        self.task: Any = None
        self.deadline = 0.0
        self.aborted = ""
        self.trace: bytes | None = None
        self.answered = False
        # How many waits on the bus it is suspended in.
        self.suspended = 0
        self.extra: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        head = self.head
        return f"{head.producer}:{head.epoch}:{head.session}:{self.sequence}"


class Lanes:
    """Jobs of one handler that have not started."""

    __slots__ = ("_lanes", "_ready", "count")

    def __init__(self) -> None:
        # Jobs, and lanes of which the first job may start; a lane whose job runs is in `_lanes` only.
        self._ready: deque[Job | deque[Job]] = deque()
        self._lanes: dict[str, deque[Job]] = {}
        self.count = 0

    def __bool__(self) -> bool:
        return bool(self._ready)

    def add(self, job: Job) -> None:
        self.count += 1
        if not job.head.laned:
            self._ready.append(job)
            return
        session = job.head.session
        lane = self._lanes.get(session)
        if lane is None:
            lane = self._lanes[session] = deque((job,))
            self._ready.append(lane)
        else:
            lane.append(job)

    def unstarted(self) -> list[Job]:
        """All that has not started, in no particular order."""
        jobs = [item for item in self._ready if isinstance(item, Job)]
        return jobs + [job for lane in self._lanes.values() for job in lane]

    def start(self) -> Job:
        """The next job that may start; its lane is closed until `ended`."""
        item = self._ready.popleft()
        self.count -= 1
        return item if isinstance(item, Job) else item.popleft()

    def following(self, job: Job) -> Job | None:
        """The next job of the same lane, to be run in place of `ended`; None where there is none."""
        lane = self._lanes.get(job.head.session) if job.head.laned else None
        if not lane:
            return None
        self.count -= 1
        return lane.popleft()

    def ended(self, job: Job) -> None:
        """Its lane may go on."""
        if not job.head.laned or job.reentrant:
            return
        session = job.head.session
        lane = self._lanes[session]
        if lane:
            self._ready.append(lane)
        else:
            del self._lanes[session]

    def clear(self) -> list[Job]:
        """Take out all that has not started; lanes whose job runs stay closed."""
        jobs: list[Job] = []
        waiting = {id(lane) for lane in self._ready if not isinstance(lane, Job)}
        for item in self._ready:
            if isinstance(item, Job):
                jobs.append(item)
        self._ready.clear()
        for session, lane in list(self._lanes.items()):
            jobs.extend(lane)
            lane.clear()
            if id(lane) in waiting:
                del self._lanes[session]
        self.count = 0
        return jobs
