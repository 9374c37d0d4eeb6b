"""What one caller knows of one actor's load, and how fast it forgets what it only heard. Pure.

Calls of its own it counts. Those of others it hears of when the actor takes a call; as that ages, the
actor is taken to carry what others do. So with times to the first chunk: an actor that was slow long ago
is an ordinary one again. Those times are averaged as logarithms, so that one answer of a minute does not
outweigh many of a second, and a call that still waits counts as soon as it waits longer than is usual.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, exp2, inf, log

# Seconds in which half of what was heard of other callers' calls, or of answer times, is forgotten.
_CALLS_HALVED = 2.0
_TIMES_HALVED = 30.0
# The share of a new observation in a running mean.
_WEIGHT = 0.3
_SHORTEST = 1e-4


@dataclass(slots=True)
class Usual:
    """What is usual in a pool, and so what an actor is taken for of which no more is known."""

    others: float = 0.0
    """Calls of other callers at one actor."""
    time: float = 0.0
    """The logarithm of the time to a first chunk."""
    _heard: bool = False
    _seen: bool = False

    def hear(self, others: float) -> None:
        self.others += (others - self.others) * (_WEIGHT if self._heard else 1.0)
        self._heard = True

    def see(self, time: float) -> None:
        self.time += (time - self.time) * (_WEIGHT if self._seen else 1.0)
        self._seen = True


@dataclass(slots=True)
class Load:
    """One actor's load at one caller."""

    usual: Usual
    mine: int = 0
    waiting: int = 0
    """Those of its own calls that have no first chunk yet."""
    _quiet_since: float = 0.0
    _others: float = 0.0
    _heard_at: float = -inf
    _slower: float = 0.0
    """How far the logarithm of its times lies above the usual."""
    _seen_at: float = -inf

    def started(self, now: float) -> None:
        if not self.waiting:
            self._quiet_since = now
        self.mine += 1
        self.waiting += 1

    def answered(self, seconds: float, now: float) -> None:
        """The first chunk of a call came after this time."""
        self.waiting -= 1
        self._quiet_since = now
        time = log(max(seconds, _SHORTEST))
        self.usual.see(time)
        slower = self._slower_now(now)
        self._slower = slower + (time - self.usual.time - slower) * _WEIGHT
        self._seen_at = now

    def finished(self, answered: bool) -> None:
        self.mine -= 1
        self.waiting -= not answered

    def heard(self, in_flight: int, now: float) -> None:
        """The actor said how many calls it carries, this caller's included."""
        self._others = max(0.0, in_flight - self.mine)
        self._heard_at = now
        self.usual.hear(self._others)

    def in_flight(self, now: float) -> float:
        """Calls that the actor carries, as far as is known."""
        usual = self.usual.others
        return self.mine + usual + (self._others - usual) * exp2((self._heard_at - now) / _CALLS_HALVED)

    def score(self, now: float, spared: float = 0.0) -> float:
        """What a call has to wait for: those before it, less some, each as long as answers take here."""
        slower = self._slower_now(now)
        if self.waiting and (quiet := now - self._quiet_since) > _SHORTEST:
            slower = max(slower, log(quiet) - self.usual.time)
        return (max(self.in_flight(now) - spared, 0.0) + 1.0) * exp(slower)

    def _slower_now(self, now: float) -> float:
        return self._slower * exp2((self._seen_at - now) / _TIMES_HALVED)
