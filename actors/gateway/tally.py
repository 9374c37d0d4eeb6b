"""What the gateway refused and whom it cut off, by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class Tally:
    """Counts by reason, of which there are few; `told` hears of each as it is counted."""

    def __init__(self, told: Callable[[str], None] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._told = told

    def add(self, reason: str) -> None:
        self.counts[reason] += 1
        if self._told is not None:
            self._told(reason)
