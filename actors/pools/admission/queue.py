"""Calls that wait for a place in an actor: bounded, fair over sessions, interactive ones first. Pure.

Each priority is a lane in which sessions take turns, one call each; a session's own calls keep their
order. While both lanes have calls, each `batch_every` interactive ones are followed by one of batch.

A full queue makes room for a call that is worth more than one which waits: for an interactive one the
last batch call goes, of the session with the most; within a lane the last call of the session with the
most, where that has at least two more than the newcomer's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from llmgine.providers.contracts import Priority


class Entry(Protocol):
    """A call that can wait; told apart by identity."""

    @property
    def session(self) -> str: ...

    @property
    def priority(self) -> Priority: ...

    @property
    def expires(self) -> float: ...


E = TypeVar("E", bound=Entry)


class FairQueue(Generic[E]):
    """At most `bound` entries."""

    def __init__(self, bound: int, batch_every: int) -> None:
        self._bound = bound
        self._batch_every = batch_every
        self._lanes: dict[Priority, _Lane[E]] = {"interactive": _Lane(), "batch": _Lane()}
        self._ahead_of_batch = 0

    def __len__(self) -> int:
        return self.waiting("interactive") + self.waiting("batch")

    def waiting(self, priority: Priority) -> int:
        return self._lanes[priority].size

    def put(self, entry: E) -> E | None:
        """Who has no place by this: `entry` itself, one that had to go for it, or nobody."""
        gone = None
        if len(self) >= self._bound:
            gone = self._least(entry)
            if gone is entry:
                return entry
            self.remove(gone)
        self._lanes[entry.priority].put(entry)
        return gone

    def take(self, now: float) -> tuple[E | None, list[E]]:
        """Whose turn it is, None where nobody's, and those that it found to have expired."""
        expired: list[E] = []
        while (lane := self._next_lane()) is not None:
            entry = lane.take()
            if entry.expires > now:
                self._count(entry)
                return entry, expired
            expired.append(entry)
        return None, expired

    def remove(self, entry: E) -> bool:
        """Whether it was waiting."""
        return self._lanes[entry.priority].remove(entry)

    def clear(self) -> list[E]:
        """All that waited."""
        waited = [entry for lane in self._lanes.values() for entry in lane]
        self._lanes = {"interactive": _Lane(), "batch": _Lane()}
        return waited

    def _next_lane(self) -> _Lane[E] | None:
        interactive, batch = self._lanes["interactive"], self._lanes["batch"]
        if batch.size and (not interactive.size or self._ahead_of_batch >= self._batch_every):
            return batch
        return interactive if interactive.size else None

    def _count(self, entry: E) -> None:
        ahead = entry.priority == "interactive" and self._lanes["batch"].size
        self._ahead_of_batch = self._ahead_of_batch + 1 if ahead else 0

    def _least(self, entry: E) -> E:
        """The one that is worth least, the newcomer included."""
        batch = self._lanes["batch"]
        if entry.priority == "interactive" and batch.size:
            return batch.last_of_most()
        lane = self._lanes[entry.priority]
        enough = lane.of(entry.session) + 2
        if lane.most_at_most() < enough:
            return entry
        last = lane.last_of_most()
        return last if lane.of(last.session) >= enough else entry


class _Lane(Generic[E]):
    """Sessions in turn, each with its entries in order."""

    def __init__(self) -> None:
        self.size = 0
        self._sessions: OrderedDict[str, OrderedDict[E, None]] = OrderedDict()

    def __iter__(self) -> Iterator[E]:
        for entries in self._sessions.values():
            yield from entries

    def of(self, session: str) -> int:
        return len(self._sessions.get(session, ()))

    def put(self, entry: E) -> None:
        self._sessions.setdefault(entry.session, OrderedDict())[entry] = None
        self.size += 1

    def take(self) -> E:
        session, entries = next(iter(self._sessions.items()))
        entry, _ = entries.popitem(last=False)
        self.size -= 1
        if entries:
            self._sessions.move_to_end(session)
        else:
            del self._sessions[session]
        return entry

    def remove(self, entry: E) -> bool:
        entries = self._sessions.get(entry.session)
        if entries is None or entry not in entries:
            return False
        del entries[entry]
        self.size -= 1
        if not entries:
            del self._sessions[entry.session]
        return True

    def most_at_most(self) -> int:
        """No session has more; known without looking at each."""
        return self.size - max(len(self._sessions) - 1, 0)

    def last_of_most(self) -> E:
        entries = max(self._sessions.values(), key=len)
        return next(reversed(entries))
