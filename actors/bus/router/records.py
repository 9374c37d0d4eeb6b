"""What the router holds of each message, producer and client: plain slotted records, no decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmgine.actors.bus import wire

if TYPE_CHECKING:
    from llmgine.actors.bus.router.mailbox import Mailbox

Chain = tuple[tuple[int, str], ...]


class ProducerLine:
    """One producer's messages of one session: what has been received, and what is not settled yet."""

    __slots__ = ("client", "floor", "received", "results", "session", "unsettled")

    def __init__(self, client: ClientState, session: str, received: int) -> None:
        self.client = client
        self.session = session
        self.received = received
        self.floor = received + 1
        self.unsettled: dict[int, Record] = {}
        # Answers that the producer has not confirmed: a break may have swallowed them.
        self.results: dict[int, Any] = {}


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
        "since",
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
        self.again = bool(flags & wire.AGAIN)
        self.chain: Chain = ()
        self.since = 0
        if extra is not None:
            self.chain = tuple((number, session) for number, session in extra.get("chain", ()))
            self.since = extra.get("since", 0)


class Record:
    """One message in the router until every handler of it is done.

    `open` counts the mailboxes that hold it, `waiting` those whose room it waits for. `sent` is the
    generation of the subscription that a command was last handed to. `stages` is None where all
    handlers have one priority.
    """

    __slots__ = (
        "body",
        "failed",
        "head",
        "home",
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
        "id",
        "left_at",
        "lines",
        "lost",
        "mailboxes",
        "name",
        "notices",
        "ready",
        "results",
        "settled",
        "wanted",
    )

    def __init__(self, name: str, epoch: int, id_: str) -> None:
        self.name = name
        self.epoch = epoch
        self.id = id_
        self.connected = False
        self.left_at = 0.0
        self.lines: dict[str, ProducerLine] = {}
        self.mailboxes: dict[int, Mailbox] = {}
        self.ready: dict[Mailbox, None] = {}
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
            or self.ready
        )
