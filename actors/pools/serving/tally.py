"""What became of an actor's calls. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

DONE = "done"
CANCELLED = "cancelled"


class Tally:
    """Each call that was let in counts once when it begins and once when it ends."""

    def __init__(self) -> None:
        self._begun = 0
        self._ended: Counter[str] = Counter()

    def begun(self) -> None:
        self._begun += 1

    def ended(self, outcome: str) -> None:
        """It was `DONE`, `CANCELLED`, or failed with that kind of error."""
        self._ended[outcome] += 1

    def statistics(self) -> dict[str, Any]:
        failed = {kind: count for kind, count in self._ended.items() if kind not in (DONE, CANCELLED)}
        return {
            "begun": self._begun,
            "present": self._begun - self._ended.total(),
            DONE: self._ended[DONE],
            CANCELLED: self._ended[CANCELLED],
            "failed": failed,
        }
