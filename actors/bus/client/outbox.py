"""What a client has published and not yet seen settled: pure, so that nothing is lost over a break.

Per session an `OutboxLine` numbers the messages and keeps each until its handlers are done. At most
`max_unadmitted` of a line are on their way into the router; its unsettled ones span at most
`max_unsettled`. What is beyond that waits here unsent, within the bytes that a client may keep.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Any, NamedTuple

from llmgine.actors.bus import wire
from llmgine.actors.bus.errors import UnsendableMessage
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.payload import check_sendable
from llmgine.telemetry import OpenSpan

_OVERHEAD = 64
_IDLE_LINES = 4_096


class RunHead(NamedTuple):
    """What messages must have in common to travel in one run."""

    lineage: str
    depth: int = 0
    flags: int = 0
    extra: dict[str, Any] | None = None


class Entry:
    """One message with whom to tell what became of it.

    Both futures belong to the client: `waiter` waits for admission, `answer` for the outcome.
    """

    __slots__ = ("admitted", "answer", "body", "head", "refused", "sequence", "since", "span", "waiter")

    def __init__(self, head: RunHead, body: bytes) -> None:
        self.head = head
        self.body = body
        self.sequence = 0
        # The table's serial when it was sent first, as far as this client knew.
        self.since = 0
        self.admitted = False
        self.refused: tuple[tuple[str, str], ...] = ()
        self.waiter: Any = None
        self.answer: Any = None
        # Of its sending, where it has one.
        self.span: OpenSpan | None = None


_VOID = RunHead("", flags=wire.VOID)
# What was settled before the router lost its memory: it keeps its place in the row.
_GAP = Entry(_VOID, b"")


class OutboxLine:
    """This client's messages of one session."""

    __slots__ = ("entries", "next", "sent", "session", "unadmitted")

    def __init__(self, session: str, first: int) -> None:
        self.session = session
        self.next = first
        self.sent = first - 1
        # Sent and not admitted.
        self.unadmitted = 0
        self.entries: dict[int, Entry] = {}

    @property
    def floor(self) -> int:
        """The lowest sequence that is not settled."""
        return next(iter(self.entries), self.next)


class Space:
    """The bytes that all outboxes of one client keep between them."""

    __slots__ = ("bytes", "limit")

    def __init__(self, limit: int) -> None:
        self.bytes = 0
        self.limit = limit


class Outbox:
    """All lines of one client with one router."""

    def __init__(self, options: BusOptions, space: Space | None = None) -> None:
        self._window = options.max_unadmitted
        self._span = options.max_unsettled
        self._space = space or Space(options.outbox_bytes)
        self.lines: dict[str, OutboxLine] = {}
        self.count = 0
        # The table's serial as the router told it last.
        self.serial = 0
        # Lines with something to send and room to send it.
        self._unsent: dict[OutboxLine, None] = {}
        # A line that is forgotten and begins anew must not use a sequence twice.
        self._highest = 0
        self.forgotten: list[str] = []

    @property
    def bytes(self) -> int:
        """What is kept in its space, by others as well."""
        return self._space.bytes

    def add(self, session: str, entry: Entry) -> int:
        """Keep a message and number it; it is sent by `runs`."""
        line = self.lines.get(session)
        if line is None:
            check_sendable(session, f"session_id={session!r}", UnsendableMessage)
            if len(self.lines) >= _IDLE_LINES:
                self._forget_idle()
            line = self.lines[session] = OutboxLine(session, self._highest + 1)
        sequence = line.next
        line.next = sequence + 1
        entry.sequence = sequence
        line.entries[sequence] = entry
        self._space.bytes += len(entry.body) + _OVERHEAD
        self.count += 1
        self._unsent[line] = None
        return sequence

    def is_stuck(self, session: str) -> bool:
        """Whether the next message of this session has to wait here before it can be sent."""
        line = self.lines.get(session)
        return line is not None and (
            line.unadmitted >= self._window
            or line.next - line.floor >= self._span
            or line.next - 1 > line.sent
        )

    def _forget_idle(self) -> None:
        for session in [session for session, line in self.lines.items() if not line.entries]:
            self._highest = max(self._highest, self.lines.pop(session).next - 1)
            self.forgotten.append(session)

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def runs(self) -> list[list[Any]]:
        """The next PUBLISH's worth of runs, now taken as sent; empty when nothing may go."""
        runs: list[list[Any]] = []
        count = wire.BATCH_EVENTS
        size = wire.BATCH_BYTES
        for line in list(self._unsent):
            sent = line.sent
            size = self._cut(line, runs, count, size)
            count -= line.sent - sent
            if line.sent + 1 < line.next and (count <= 0 or size <= 0):
                break
            # Sent, or its window is full: what is admitted or settled puts it back.
            del self._unsent[line]
        return runs

    def _cut(self, line: OutboxLine, runs: list[list[Any]], count: int, size: int) -> int:
        """Take what may go of one line, at most so much; returns how much of `size` is left."""
        floor, first = line.floor, line.sent + 1
        # The line's own order decides: a run ends where the next message differs.
        head: RunHead | None = None
        append: Any = None
        get, unadmitted = line.entries.get, line.unadmitted
        for sequence in range(first, min(line.next, first + count, floor + self._span)):
            if size <= 0 or unadmitted >= self._window:
                break
            entry = get(sequence, _GAP)
            line.sent = sequence
            if entry is not _GAP:
                unadmitted += 1
                entry.since = entry.since or self.serial
            if entry.head is not head and entry.head != head:
                head = entry.head
                bodies: list[bytes] = []
                append = bodies.append
                runs.append([line.session, head.lineage, sequence, floor, *head[1:], bodies])
            append(entry.body)
            size -= len(entry.body)
        line.unadmitted = unadmitted
        return size

    def admitted(self, session: str, first: int, last: int) -> list[Entry]:
        """These are in the router's mailboxes; returns those of which that is news."""
        line = self.lines.get(session)
        if line is None:
            return []
        news = []
        for entry in map(line.entries.get, range(first, last + 1)):
            if entry is not None and not entry.admitted:
                entry.admitted = True
                news.append(entry)
        line.unadmitted -= len(news)
        if line.sent + 1 < line.next:
            self._unsent[line] = None
        return news

    def settled(self, session: str, first: int, last: int) -> list[Entry]:
        """Every handler of these is done; returns what was kept of them, now forgotten."""
        line = self.lines.get(session)
        if line is None:
            return []
        known = [
            entry
            for entry in map(line.entries.pop, range(first, last + 1), repeat(None))
            if entry is not None
        ]
        space = self._space
        for entry in known:
            space.bytes -= len(entry.body) + _OVERHEAD
            if not entry.admitted:
                line.unadmitted -= 1
        self.count -= len(known)
        if line.sent + 1 < line.next:
            self._unsent[line] = None
        return known

    def find(self, session: str, sequence: int) -> Entry | None:
        line = self.lines.get(session)
        return None if line is None else line.entries.get(sequence)

    def give_up(self, session: str, sequence: int) -> bool:
        """Void a message that was never sent; whether it was still here."""
        line = self.lines.get(session)
        if line is None or sequence <= line.sent or sequence not in line.entries:
            return False
        entry = line.entries[sequence]
        self._space.bytes -= len(entry.body)
        entry.body, entry.head = b"", _VOID
        return True

    def hello(self) -> list[list[Any]]:
        """Where lines with something unsettled stand: `[session, floor, last sent]` of each.

        Also of one that is to be sent from its beginning again: an earlier router may have had it.
        """
        return [[line.session, line.floor, line.sent] for line in self.lines.values() if line.entries]

    def resume(self, received: Iterable[tuple[str, int]], *, again: bool) -> None:
        """Send again what the router has not received; `again`: it went to another life of the router."""
        known = dict(received)
        for line in self.lines.values():
            if not line.entries:
                continue
            kept = min(line.sent, known.get(line.session, line.floor - 1))
            for sequence in range(kept + 1, line.sent + 1):
                entry = line.entries.get(sequence)
                if entry is None:
                    continue
                if again:
                    _repeat(entry)
                if not entry.admitted:
                    line.unadmitted -= 1
                entry.admitted = False
            line.sent = kept
            if line.sent + 1 < line.next:
                self._unsent[line] = None


def _repeat(entry: Entry) -> None:
    """It may have reached handlers: they look for duplicates, and commands say how old they are."""
    flags, extra = entry.head.flags | wire.AGAIN, entry.head.extra
    if entry.admitted:
        flags |= wire.PROMISED
    if flags & wire.COMMAND:
        extra = {**(extra or {}), "since": max(1, entry.since)}
    entry.head = entry.head._replace(flags=flags, extra=extra)
