"""How long to wait before a batch is asked about again. Pure: times are seconds."""

from __future__ import annotations

# What is done is known, at the latest, when it has been done for this share of the time that it took.
_SHARE = 1 / 8


def next_pause(waited: float, first: float, longest: float, hint: float | None = None) -> float:
    """The pause after so long a wait: growing with it, and never shorter than the provider's `hint`."""
    return max(min(max(first, waited * _SHARE), longest), hint or 0.0)


class Patience:
    """Pauses between tries at what fails, each twice the one before; `left` of them all together."""

    def __init__(self, first: float, longest: float, limit: float) -> None:
        self._first = first
        self._longest = longest
        self._limit = limit
        self.recovered()

    def recovered(self) -> None:
        """It has worked again."""
        self._next = self._first
        self._spent = 0.0

    def pause(self, hint: float | None = None) -> float | None:
        """The next pause; None where patience is at its end."""
        if self._spent >= self._limit:
            return None
        pause = max(self._next, hint or 0.0)
        self._next = min(2 * self._next, self._longest)
        self._spent += pause
        return pause
