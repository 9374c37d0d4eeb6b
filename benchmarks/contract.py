"""What a case is, and what its contenders have in common.

A contender is a module with `stage(case, effort)`: an asynchronous context manager that sets up what
is to be measured and gives a `Measure`, which is called once to warm up and then once per round.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace


class Violation(Exception):
    """What was measured broke a promise that had to hold meanwhile; there is no figure."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: so many rounds, each `scale` times the full size."""

    repeats: int
    scale: float

    def count(self, full: int, least: int = 1) -> int:
        """So many of what is `full` at full size."""
        return max(least, round(full * self.scale))

    def seconds(self, full: float, least: float = 0.5) -> float:
        return max(least, full * self.scale)

    @property
    def warm_up(self) -> Effort:
        """One short round, whose figures are thrown away."""
        return replace(self, repeats=1, scale=self.scale * 0.2)


FULL = Effort(repeats=5, scale=1.0)
QUICK = Effort(repeats=2, scale=0.1)


@dataclass(slots=True)
class Round:
    """What one round gave: figures, and the single observations behind those that are percentiles.

    `courses` are values over time that belong to a figure, some lines of (seconds, value) for each.
    """

    figures: dict[str, float]
    samples: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    courses: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)


Measure = Callable[[Effort], Awaitable[Round]]
Stage = Callable[[str], AbstractAsyncContextManager[Measure]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two figures of different names that belong beside each other."""

    ours: str
    peer: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Case:
    """One table of figures.

    `caveats` are printed before any figure. `pairs` names ratios beyond those of equal names.
    """

    name: str
    summary: str
    figures: tuple[str, ...]
    peers: tuple[str, ...]
    caveats: tuple[str, ...]
    pairs: tuple[Pair, ...] = ()
    timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class Peer:
    """What a user would pick instead. `requires` are the modules without which it is left out.

    One that cannot be installed beside us has an `environment` of its own, made of these requirements.
    """

    name: str
    summary: str
    requires: tuple[str, ...] = ()
    install: str = ""
    environment: tuple[str, ...] = ()
