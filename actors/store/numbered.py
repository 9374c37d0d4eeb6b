"""Rows in the order of their arrival. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

R = TypeVar("R")


class Rows(Mapping[str, R]):
    """Rows by their ids; each has a number for as long as it is here, in the order of arrival."""

    def __init__(self) -> None:
        self._rows: dict[str, R] = {}
        self._numbers: dict[str, int] = {}
        self._last = 0

    def __getitem__(self, id: str) -> R:
        return self._rows[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def last(self) -> int:
        """The highest number ever given."""
        return self._last

    def numbered(self) -> Iterator[tuple[int, R]]:
        """The rows with their numbers, rising."""
        return zip(self._numbers.values(), self._rows.values(), strict=True)

    def put(self, id: str, row: R) -> None:
        """A row that is here keeps its number."""
        if id not in self._rows:
            self._last += 1
            self._numbers[id] = self._last
        self._rows[id] = row

    def drop(self, id: str) -> bool:
        """Whether it was here."""
        self._numbers.pop(id, None)
        return self._rows.pop(id, None) is not None

    def copy(self) -> Rows[R]:
        twin: Rows[R] = Rows()
        twin._rows, twin._numbers, twin._last = dict(self._rows), dict(self._numbers), self._last
        return twin

    def drop_where(self, gone: Callable[[R], bool]) -> int:
        """How many were dropped."""
        return sum(map(self.drop, [id for id, row in self._rows.items() if gone(row)]))
