"""Sets of sequences that are open, and how far apart they may be. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Sequences:
    """A set of numbers that knows its lowest; what is put in is mostly above what is there."""

    __slots__ = ("_heap", "_held")

    def __init__(self) -> None:
        self._heap: list[int] = []
        self._held: set[int] = set()

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[int]:
        return iter(self._held)

    def add(self, number: int) -> None:
        if number not in self._held:
            self._held.add(number)
            heappush(self._heap, number)

    def discard(self, number: int) -> None:
        self._held.discard(number)
        heap, held = self._heap, self._held
        while heap and heap[0] not in held:
            heappop(heap)
        if len(heap) > 2 * len(held) + 64:
            self._heap = sorted(held)

    @property
    def lowest(self) -> int | None:
        return self._heap[0] if self._held else None


class Spans(Generic[T]):
    """What is open of each line, so that nothing of it is given out that is too far beyond the lowest."""

    __slots__ = ("_lines", "_width")

    def __init__(self, width: int) -> None:
        self._width = width
        self._lines: dict[T, Sequences] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __iter__(self) -> Iterator[tuple[T, int]]:
        for line, held in self._lines.items():
            for sequence in held:
                yield line, sequence

    def add(self, line: T, sequence: int) -> None:
        self._lines.setdefault(line, Sequences()).add(sequence)

    def discard(self, line: T, sequence: int) -> bool:
        """Whether anything was known of the line."""
        held = self._lines.get(line)
        if held is None:
            return False
        held.discard(sequence)
        if not held:
            del self._lines[line]
        return True

    def reaches(self, line: T, sequence: int) -> bool:
        """Whether it is near enough to the lowest one."""
        held = self._lines.get(line)
        lowest = held.lowest if held is not None else None
        return lowest is None or sequence - lowest < self._width
