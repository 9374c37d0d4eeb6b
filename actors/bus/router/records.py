"""What the router holds of each message, producer and client: plain slotted records, no decisions."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.router.sequences import Sequences

if TYPE_CHECKING:
    from llmgine.actors.bus.router.mailbox import Mailbox
    from llmgine.actors.bus.router.serving import Serving

Chain = tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """A message that the router itself sends: a scheduled event, a replay, news of a dead letter.

    `only` names the one mailbox that it is for, outside of routes and filters. `on_settled` hears once
    whether all went well: when every handler is done, or the journal has what is left.
    """

    producer: str
    epoch: int
    session: str
    sequence: int
    lineage: str
    body: bytes
    only: Mailbox | None = None
    replay_of: str | None = None
    depth: int = 0
    command: bool = False
    on_settled: Callable[[bool], None] | None = None


class ProducerLine:
    """One producer's messages of one session: what has been received, and what is not settled yet."""

    __slots__ = (
        "client",
        "floor",
        "gate",
        "journaled",
        "received",
        "results",
        "session",
        "stored",
        "unsettled",
    )

    def __init__(self, client: ClientState, session: str, received: int) -> None:
        self.client = client
        self.session = session
        self.received = received
        self.floor = received + 1
        self.unsettled: dict[int, Record] = {}
        # Answers that the producer has not confirmed: a break may have swallowed them.
        self.results: dict[int, Any] = {}
        # What waits for the journal, and for its turn behind that; None where nothing does.
        self.gate: deque[Record] | None = None
        # What is settled for the producer, and open for a durable handler, or failed there unbeknown to the
        # store.
        self.stored: Sequences | None = None
        # The highest sequence that was found in the journal when the router began.
        self.journaled = 0

    @property
    def open_floor(self) -> int:
        """Below it no handler will be given anything any more."""
        if not self.stored:
            return self.floor
        return min(self.floor, self.stored.lowest or self.floor)

    def keep_open(self, sequence: int) -> None:
        """Whoever knows this one must not take it for settled."""
        if self.stored is None:
            self.stored = Sequences()
        self.stored.add(sequence)

    def close(self, sequence: int) -> None:
        if self.stored is not None:
            self.stored.discard(sequence)
            self.stored = self.stored or None


class Head:
    """What the messages of one run have in common."""

    __slots__ = (
        "again",
        "chain",
        "command",
        "depth",
        "extra",
        "flags",
        "line",
        "lineage",
        "on_settled",
        "plain",
        "replay_of",
        "since",
        "until",
        "wants_result",
    )

    def __init__(
        self, line: ProducerLine, lineage: str, depth: int, flags: int, extra: dict[str, Any] | None
    ):
        self.line = line
        self.lineage = lineage
        self.depth = depth
        self.flags = flags
        self.extra = extra
        self.command = bool(flags & wire.COMMAND)
        self.wants_result = bool(flags & (wire.COMMAND | wire.WAIT))
        # Its producer waits for nothing but that it is settled.
        self.plain = not self.wants_result
        self.again = bool(flags & wire.AGAIN)
        self.chain: Chain = ()
        self.since = 0
        # When nobody waits for it any more, as the router's clock counts.
        self.until = math.inf
        self.replay_of: str | None = None
        # Of what the router itself sends.
        self.on_settled: Callable[[bool], None] | None = None
        if extra is not None:
            self.chain = tuple((number, session) for number, session in extra.get("chain", ()))
            self.since = extra.get("since", 0)
            self.replay_of = extra.get("replay_of")


class Kept:
    """A message's place in the journal.

    `keys` are the durable handlers that its row names, `pending` their mailboxes once it was routed to
    them, until they are done. `stages` are the mailboxes that it is for, as it came.
    """

    __slots__ = ("committed", "keys", "marked", "pending", "stages", "told", "unwritten")

    def __init__(self, keys: tuple[str, ...], stages: tuple[tuple[Mailbox, ...], ...]) -> None:
        self.keys = keys
        self.stages = stages
        self.pending: dict[Mailbox, None] = {}
        self.committed = False
        # Its producer has been told that it is settled.
        self.told = False
        # The journal knows that this command is about to be given to its handler.
        self.marked = False
        # How many of its durable handlers are done, the store not having heard of it, since one has failed.
        self.unwritten = 0


class Record:
    """One message in the router until every handler of it is done.

    `open` counts who holds it, but for durable handlers, whom `kept` names where it is in the journal;
    `waiting` counts what its admission waits for. `sent` is the generation of the subscription that a
    command was last handed to. `stages` is None where all handlers have one priority.
    """

    __slots__ = (
        "body",
        "failed",
        "head",
        "home",
        "kept",
        "open",
        "opened_at",
        "outcomes",
        "refused",
        "resolved",
        "sent",
        "sequence",
        "stage",
        "stages",
        "waiting",
    )

    def __init__(self, head: Head, sequence: int, body: bytes, open_: int = 0) -> None:
        self.head = head
        self.sequence = sequence
        self.body = body
        self.open = open_
        self.waiting = 0
        self.sent = 0
        self.failed = False
        self.resolved = False
        # Where a command waits or runs.
        self.home: Mailbox | None = None
        self.kept: Kept | None = None
        self.outcomes: list[Any] | None = None
        self.refused: list[tuple[str, str]] | None = None
        self.stages: list[list[Mailbox]] | None = None
        self.stage = 0
        self.opened_at = 0.0

    @property
    def id(self) -> str:
        line = self.head.line
        return f"{line.client.name}:{line.client.epoch}:{line.session}:{self.sequence}"

    def is_open_for(self, mailbox: Mailbox) -> bool:
        """Whether its priority's turn has come."""
        return self.stages is None or any(mailbox in stage for stage in self.stages[: self.stage + 1])


class ClientState:
    """One life of one client, connected or away, with what is to be said to it."""

    __slots__ = (
        "aborts",
        "admitted",
        "admitted_at",
        "attached",
        "connected",
        "epoch",
        "floors",
        "id",
        "left_at",
        "lines",
        "lost",
        "member_of",
        "name",
        "notices",
        "ready",
        "results",
        "servings",
        "settled",
        "verdicts",
        "wanted",
    )

    def __init__(self, name: str, epoch: int, id_: str) -> None:
        self.name = name
        self.epoch = epoch
        self.id = id_
        self.connected = False
        self.left_at = 0.0
        # Where its lines stood when it came, until the journal has been read.
        self.floors: dict[str, int] | None = None
        self.lines: dict[str, ProducerLine] = {}
        # Of the deployment whose subscriptions it serves beside others, "" for any other client.
        self.member_of = ""
        self.servings: dict[int, Serving] = {}
        # Where there may be something to hand out.
        self.ready: dict[Serving, None] = {}
        self.clear()

    def clear(self) -> None:
        """Forget what was to be said: after a break the client asks for where it stands."""
        self.notices: list[Any] = []
        self.admitted: list[list[Any]] = []
        # Where the table stood when the first of these was admitted; None where it has not moved since.
        self.admitted_at: int | None = None
        self.settled: list[list[Any]] = []
        self.results: list[list[Any]] = []
        self.attached: list[int] = []
        self.lost: list[int] = []
        # Subscriptions that it is ready to serve and that are not in the table yet.
        self.wanted: set[int] = set()
        self.aborts: list[tuple[int, int]] = []
        # On failed attempts: subscription, entry, what is taken back.
        self.verdicts: deque[tuple[int, int, int]] = deque()

    @property
    def owner(self) -> tuple[str, int]:
        return self.name, self.epoch

    def has_news(self) -> bool:
        return bool(
            self.admitted
            or self.settled
            or self.results
            or self.notices
            or self.attached
            or self.lost
            or self.aborts
            or self.verdicts
            or self.ready
        )
