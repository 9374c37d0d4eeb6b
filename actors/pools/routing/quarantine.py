"""Keeps calls away from an actor that is silent or broken, and lets single ones find out. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# Seconds: the first pause, the longest, and how long after its last failure an actor begins anew.
_FIRST = 1.0
_LONGEST = 30.0
_FORGOTTEN = 60.0
# How long a probing call is waited for before another may probe.
_PATIENCE = 30.0


@dataclass(slots=True)
class Quarantine:
    """One actor's. Each failure of a probing call doubles the pause before the next; any answer ends it."""

    held: bool = False
    until: float = 0.0
    probing: bool = False
    _pause: float = 0.0
    _failed_at: float = 0.0

    def admits(self, now: float) -> bool:
        """Whether a call may go to the actor: it is well, or this one call shall find out."""
        return not self.held or now >= self.until + (_PATIENCE if self.probing else 0.0)

    def failed(self, now: float) -> None:
        """The actor was silent or its link broke. Calls that fail with it in one go count as one."""
        if self.held and not self.probing:
            return
        anew = not self._pause or now - self._failed_at > _FORGOTTEN
        self._pause = _FIRST if anew else min(self._pause * 2, _LONGEST)
        self._failed_at = now
        self.held, self.probing, self.until = True, False, now + self._pause

    def answered(self) -> None:
        """The actor lives. What it failed lately is remembered for its next failure."""
        self.held = self.probing = False
