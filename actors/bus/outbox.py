"""What a client has published and not yet seen settled: pure, so that nothing is lost over a break.

Per session an `OutboxLine` numbers the messages and keeps each until its handlers are done. At most
`max_unadmitted` of a line are on their way into the router; its unsettled ones span at most
`max_unsettled`. What is beyond that waits here unsent, within the bytes that the whole outbox holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.options import BusOptions

_OVERHEAD = 64
_IDLE_LINES = 4_096


class Entry:
    """One message with whom to tell what became of it; `waiter` and `answer` belong to the client."""

    __slots__ = (
        "admitted",
        "answer",
        "body",
        "depth",
        "extra",
        "flags",
        "lineage",
        "refused",
        "sequence",
        "since",
        "waiter",
    )

    def __init__(
        self, lineage: str, body: bytes, depth: int, flags: int, extra: dict[str, Any] | None
    ) -> None:
        self.lineage = lineage
        self.body = body
        self.depth = depth
        self.flags = flags
        self.extra = extra
        self.sequence = 0
        # The table's serial when it was sent first, as far as this client knew.
        self.since = 0
        self.admitted = False
        self.refused: tuple[tuple[str, str], ...] = ()
        self.waiter: Any = None
        self.answer: Any = None


# What was settled before the router lost its memory: it keeps its place in the row.
_GAP = Entry("", b"", 0, wire.VOID, None)


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


class Outbox:
    """All lines of one client."""

    def __init__(self, options: BusOptions) -> None:
        self._window = options.max_unadmitted
        self._span = options.max_unsettled
        self._max_bytes = options.outbox_bytes
        self.lines: dict[str, OutboxLine] = {}
        self.bytes = 0
        self.count = 0
        # The table's serial as the router told it last.
        self.serial = 0
        # Lines with something to send and room to send it.
        self._unsent: dict[OutboxLine, None] = {}
        # A line that is forgotten and begins anew must not use a sequence twice.
        self._highest = 0
        self.forgotten: list[str] = []

    @property
    def is_full(self) -> bool:
        return self.bytes >= self._max_bytes

    @property
    def places(self) -> int:
        """How many more messages of the average size fit in."""
        average = self.bytes / self.count if self.count else 1_024
        return int(max(0, self._max_bytes - self.bytes) / average)

    def add(self, session: str, entry: Entry) -> int:
        """Keep a message and number it; it is sent by `runs`."""
        line = self.lines.get(session)
        if line is None:
            if len(self.lines) >= _IDLE_LINES:
                self._forget_idle()
            line = self.lines[session] = OutboxLine(session, self._highest + 1)
        sequence = line.next
        line.next = sequence + 1
        entry.sequence = sequence
        line.entries[sequence] = entry
        self.bytes += len(entry.body) + _OVERHEAD
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
        count = size = 0
        for line in list(self._unsent):
            floor = line.floor
            # The line's own order decides: a run ends where the next message differs.
            head: Entry | None = None
            bodies: list[bytes] = []
            while (
                line.sent + 1 < line.next
                and line.unadmitted < self._window
                and line.sent + 1 - floor < self._span
                and count < wire.BATCH_EVENTS
                and size < wire.BATCH_BYTES
            ):
                line.sent += 1
                entry = line.entries.get(line.sent, _GAP)
                if entry is not _GAP:
                    line.unadmitted += 1
                    entry.since = entry.since or self.serial
                if (
                    head is None
                    or entry.lineage is not head.lineage
                    or entry.depth != head.depth
                    or entry.flags != head.flags
                    or entry.extra is not head.extra
                ):
                    head, bodies = entry, []
                    runs.append(
                        [
                            line.session,
                            entry.lineage,
                            line.sent,
                            floor,
                            entry.depth,
                            entry.flags,
                            entry.extra,
                            bodies,
                        ]
                    )
                bodies.append(entry.body)
                count += 1
                size += len(entry.body)
            if line.sent + 1 < line.next and (count >= wire.BATCH_EVENTS or size >= wire.BATCH_BYTES):
                break
            # Sent, or its window is full: what is admitted or settled puts it back.
            del self._unsent[line]
        return runs

    def admitted(self, session: str, first: int, last: int) -> Iterator[Entry]:
        """These are in the router's mailboxes; yields those of which that is news."""
        line = self.lines.get(session)
        if line is None:
            return
        entries = line.entries
        for sequence in range(first, last + 1):
            entry = entries.get(sequence)
            if entry is not None and not entry.admitted:
                entry.admitted = True
                line.unadmitted -= 1
                yield entry
        if line.sent + 1 < line.next:
            self._unsent[line] = None

    def settled(self, session: str, first: int, last: int) -> Iterator[Entry]:
        """Every handler of these is done; yields what was kept of them, now forgotten."""
        line = self.lines.get(session)
        if line is None:
            return
        entries = line.entries
        for sequence in range(first, last + 1):
            entry = entries.pop(sequence, None)
            if entry is None:
                continue
            if not entry.admitted:
                line.unadmitted -= 1
            self.bytes -= len(entry.body) + _OVERHEAD
            self.count -= 1
            yield entry
        if line.sent + 1 < line.next:
            self._unsent[line] = None

    def find(self, session: str, sequence: int) -> Entry | None:
        line = self.lines.get(session)
        return None if line is None else line.entries.get(sequence)

    def give_up(self, session: str, sequence: int) -> bool:
        """Void a message that was never sent; whether it was still here."""
        line = self.lines.get(session)
        if line is None or sequence <= line.sent or sequence not in line.entries:
            return False
        entry = line.entries[sequence]
        self.bytes -= len(entry.body)
        entry.body, entry.flags, entry.extra = b"", wire.VOID, None
        return True

    def hello(self) -> list[list[Any]]:
        """What was sent and is not settled: `[session, floor, last sent]` per line."""
        return [
            [line.session, line.floor, line.sent]
            for line in self.lines.values()
            if line.entries and line.floor <= line.sent
        ]

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
                if not entry.admitted:
                    line.unadmitted -= 1
                entry.admitted = False
                if again:
                    _repeat(entry)
            line.sent = kept
            if line.sent + 1 < line.next:
                self._unsent[line] = None


def _repeat(entry: Entry) -> None:
    """It may have reached handlers: they look for duplicates, and commands say how old they are."""
    entry.flags |= wire.AGAIN
    if entry.flags & wire.COMMAND:
        entry.extra = {**(entry.extra or {}), "since": max(1, entry.since)}
