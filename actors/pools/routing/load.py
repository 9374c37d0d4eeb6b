"""What one caller knows of one actor's load, and how fast it forgets what it only heard. Pure.

Calls of its own it counts. Those of others it hears of when the actor takes a call, and that ages. So
do times to the first chunk: an actor that was slow long ago is taken for an ordinary one and tried again.
Those times are averaged as logarithms, so that one answer of a minute does not outweigh many of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

# Seconds in which half of what was heard of other callers' calls, or of answer times, is forgotten.
_CALLS_HALVED = 2.0
_TIMES_HALVED = 10.0
# The share of a new observation in a running mean.
_WEIGHT = 0.15
_SHORTEST = 1e-4


@dataclass(slots=True)
class Usual:
    """The usual time to the first chunk in a pool, as a logarithm: what a newcomer is taken for."""

    logarithm: float = 0.0
    known: bool = False

    def observe(self, logarithm: float) -> None:
        self.logarithm += (logarithm - self.logarithm) * (_WEIGHT if self.known else 1.0)
        self.known = True


@dataclass(slots=True)
class Load:
    """One actor's load at one caller."""

    mine: int = 0
    others: float = 0.0
    heard_at: float = 0.0
    apart: float = 0.0
    """How far the logarithm of its times lies from the pool's usual."""
    seen_at: float = 0.0

    def heard(self, in_flight: int, now: float) -> None:
        """The actor said how many calls it carries, this caller's included."""
        self.others = max(0.0, in_flight - self.mine)
        self.heard_at = now

    def observed(self, seconds: float, now: float, usual: Usual) -> None:
        """A first chunk came after this time."""
        logarithm = log(max(seconds, _SHORTEST))
        usual.observe(logarithm)
        apart = self._apart(now)
        self.apart = apart + (logarithm - usual.logarithm - apart) * _WEIGHT
        self.seen_at = now

    def in_flight(self, now: float) -> float:
        """Calls that the actor carries, as far as is known."""
        if not self.others:
            return self.mine
        return self.mine + self.others * 0.5 ** ((now - self.heard_at) / _CALLS_HALVED)

    def score(self, now: float, spared: float = 0.0) -> float:
        """What a call has to wait for: those before it, less some, each as long as answers take here."""
        return (max(self.in_flight(now) - spared, 0.0) + 1.0) * exp(self._apart(now))

    def _apart(self, now: float) -> float:
        return self.apart and self.apart * 0.5 ** ((now - self.seen_at) / _TIMES_HALVED)
