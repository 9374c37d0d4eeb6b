"""Deliveries as they lie at their handler's process."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.handling.dedup import Line, LineKey
from llmgine.actors.bus.messages import BUS, LINEAGE_SEPARATOR

if TYPE_CHECKING:
    from llmgine.actors.bus.handling.queue import Queue


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
        "replay_of",
        "replies",
        "session",
        "turns",
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
        # Whether more than "handled" has to be said of a success.
        self.replies = self.command or self.wait
        self.laned = self.session != BUS and not self.command
        self.chain: list[list[Any]] = extra.get("chain", []) if extra else []
        self.turns: list[str] = extra.get("turns", []) if extra else []
        self.replay_of: str | None = extra.get("replay_of") if extra else None


class Passage:
    """How the messages of one delivery came here; one object for all of them."""

    __slots__ = ("attempt", "missed", "redelivered", "reentrant")

    def __init__(self, attempt: int, redelivered: bool, reentrant: bool, missed: int) -> None:
        self.attempt = attempt
        self.redelivered = redelivered
        self.reentrant = reentrant
        self.missed = missed


class Job:
    """One delivery of one message to one handler here.

    `entry` is where the router expects the answer, valid on the link numbered `link` only.
    """

    __slots__ = (
        "aborted",
        "answered",
        "body",
        "deadline",
        "entry",
        "extra",
        "head",
        "hop",
        "leader",
        "line",
        "link",
        "passage",
        "queue",
        "sequence",
        "stuck",
        "suspended",
        "task",
        "thread",
        "trace",
        "twins",
    )

    def __init__(
        self,
        queue: Queue,
        line: Line,
        head: JobHead,
        sequence: int,
        body: bytes,
        entry: int,
        link: int,
        passage: Passage,
    ) -> None:
        self.queue = queue
        self.line = line
        self.head = head
        self.sequence = sequence
        self.body = body
        self.entry = entry
        self.link = link
        self.passage = passage
        self.twins: list[int] | None = None
        self.aborted = ""
        self.answered = False
        self.stuck = False
        self.trace: bytes | None = None
        # Its span, while it is handled and has one.
        self.hop: Any = None
        # How many waits on the bus it is suspended in.
        self.suspended = 0
        # What its deliveries' chain is, once something asked for it.
        self.extra: dict[str, Any] | None = None
        # Who stands for the batch that it runs in.
        self.leader: Job | None = None
        # What runs it, once it has not ended with its first step.
        self.task: Any = None
        self.thread: Any = None

    deadline: float

    @property
    def id(self) -> str:
        head = self.head
        return f"{head.producer}:{head.epoch}:{head.session}:{self.sequence}"

    @property
    def entries(self) -> list[int]:
        """Every delivery that this run answers."""
        return [self.entry, *(self.twins or ())]

    def suspend(self) -> None:
        """It waits for the bus: its place is free for others meanwhile."""
        self.suspended += 1
        if self.suspended > 1:
            return
        if self.thread is not None:
            self.thread.step_aside()
        if not self.passage.reentrant:
            self.queue.places.suspended += 1
            self.queue.inbox.ready(self.queue)

    def resume(self) -> None:
        self.suspended -= 1
        if self.suspended:
            return
        if self.thread is not None:
            self.thread.step_back()
        if not self.passage.reentrant:
            self.queue.places.suspended -= 1


current_job: contextvars.ContextVar[Job | None] = contextvars.ContextVar("llmgine_bus_delivery", default=None)
"""The delivery on whose behalf the present task runs."""
