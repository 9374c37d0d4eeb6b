"""What a handler saw, so that loss, repetition and disorder show; in memory, or in a file that stays."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from llmgine.runtime import Delivery, Event


class Numbered(Event):
    """Counts from 0 in each session."""

    number: int


class Books:
    """What one handler has seen of each session; a delivery that it knows already is only counted."""

    def __init__(self) -> None:
        self.seen: dict[str, list[int]] = {}
        self.repeated = 0
        self._ids: set[str] = set()

    @property
    def count(self) -> int:
        return len(self._ids)

    async def take(self, event: Numbered, delivery: Delivery) -> None:
        if delivery.id in self._ids:
            self.repeated += 1
            return
        self._ids.add(delivery.id)
        self.seen.setdefault(event.session_id, []).append(event.number)

    def check(self, sessions: int, each: int) -> None:
        """Every session's events are there, once and in order."""
        assert len(self.seen) == sessions, (len(self.seen), sessions)
        for session, numbers in self.seen.items():
            assert numbers == list(range(each)), (session, len(numbers), _first_wrong(numbers))


class FileBooks:
    """The same in a file, written before the handler returns; several processes may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: Numbered, delivery: Delivery) -> None:
        line = f"{delivery.id}\t{event.session_id}\t{event.number}\t{os.getpid()}\n"
        # One write with O_APPEND is never torn between processes.
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    @property
    def count(self) -> int:
        return len({line[0] for line in self._lines()})

    def processes(self) -> set[int]:
        """Which processes have written."""
        return {int(line[3]) for line in self._lines()}

    def repeated(self) -> int:
        """How often something that was written was written again."""
        times = Counter(line[0] for line in self._lines())
        return sum(count - 1 for count in times.values())

    def check(self, sessions: int, each: int) -> None:
        """As `Books.check`, of what each delivery id brought first."""
        books: dict[str, list[int]] = {}
        known: set[str] = set()
        for identity, session, number, _ in self._lines():
            if identity not in known:
                known.add(identity)
                books.setdefault(session, []).append(int(number))
        assert len(books) == sessions, (len(books), sessions)
        for session, numbers in books.items():
            assert numbers == list(range(each)), (session, len(numbers), _first_wrong(numbers))

    def _lines(self) -> list[list[str]]:
        if not self.path.exists():
            return []
        return [line.split("\t") for line in self.path.read_text().splitlines()]


def _first_wrong(numbers: list[int]) -> str:
    for place, number in enumerate(numbers):
        if number != place:
            return f"{number} where {place} was due"
    return "the end is missing"
