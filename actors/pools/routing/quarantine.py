"""Keeps calls away from an actor that is silent or broken, and lets single ones find out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

# Seconds: the first pause, the longest, and how long after its last failure an actor begins anew.
_FIRST = 1.0
_LONGEST = 30.0
_FORGOTTEN = 60.0


@dataclass(slots=True)
class Quarantine:
    """One actor's. Each failure lengthens the pause before the next call; any answer ends it."""

    held: bool = False
    until: float = 0.0
    _probing: bool = False
    _pause: float = 0.0
    _failed_at: float = -inf

    def admits(self, now: float) -> bool:
        """Whether a call may go to the actor: it is well, or this one call shall find out."""
        return not self.held or (now >= self.until and not self._probing)

    def enter(self, now: float) -> bool:
        """A call goes there; whether it is the one that shall find out."""
        if not self.held or not self.admits(now):
            return False
        self._probing = True
        return True

    def failed(self, began: float, now: float) -> None:
        """A call that began then had no answer, or its link broke. Calls that fail together count once."""
        if began <= self._failed_at or (self.held and not self._probing):
            return
        anew = now - self._failed_at > _FORGOTTEN
        self._pause = _FIRST if anew else min(self._pause * 2, _LONGEST)
        self._failed_at = now
        self.held, self._probing, self.until = True, False, now + self._pause

    def answered(self) -> None:
        """The actor lives. What it failed lately is remembered for its next failure."""
        self.held = self._probing = False

    def given_up(self) -> None:
        """The probing call ended without telling anything; another may find out."""
        self._probing = False
