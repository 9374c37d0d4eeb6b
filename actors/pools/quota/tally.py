"""Amounts by the time at which they were counted, for as long as they count."""

from __future__ import annotations

from math import ceil

# A window is told apart into so many slots; what falls into one counts as at its end.
_SLOTS = 120


class Tally:
    """What was used in the window that ends now. An amount never leaves it too early."""

    def __init__(self, window: float) -> None:
        self.window = window
        self._width = window / _SLOTS
        self._slots: dict[int, float] = {}

    def add(self, amount: float, at: float) -> None:
        """`at` may be in the future; a negative amount takes back what was added there."""
        slot = ceil(at / self._width)
        left = self._slots.get(slot, 0.0) + amount
        if left > 1e-9:
            self._slots[slot] = left
        else:
            self._slots.pop(slot, None)

    def spread(self, amount: float, start: float, end: float) -> None:
        """Adds the amount evenly over a span."""
        first, last = ceil(start / self._width), ceil(end / self._width)
        first = max(first, last - _SLOTS)
        for slot in range(first, last + 1):
            self.add(amount / (last - first + 1), slot * self._width)

    def total(self, now: float) -> float:
        self.tidy(now)
        return sum(self._slots.values())

    def since(self, start: float) -> float:
        """What was counted after that time."""
        return sum(amount for slot, amount in self._slots.items() if slot * self._width > start)

    def aged(self, now: float) -> list[tuple[float, float]]:
        """How long ago each amount was counted, less than 0 where it may yet be, and the amount."""
        self.tidy(now)
        return [(now - slot * self._width, amount) for slot, amount in sorted(self._slots.items())]

    def tidy(self, now: float) -> None:
        """Forgets what counts no more."""
        for slot in [slot for slot in self._slots if slot * self._width + self.window <= now]:
            del self._slots[slot]
