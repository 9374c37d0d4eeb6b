"""What is limited, by how much, and what one call needs of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Of = Literal["requests", "input_tokens", "output_tokens", "tokens", "concurrency", "trial", "dollars"]
Source = Literal["settings", "provider", "refusals", "trial"]

# What a provider counts when a call arrives, what it counts while it answers, and what it counts of both.
ON_ARRIVAL: Final[frozenset[Of]] = frozenset({"requests", "input_tokens", "tokens"})
ON_ANSWER: Final[frozenset[Of]] = frozenset({"output_tokens", "tokens"})
RATES: Final = ON_ARRIVAL | ON_ANSWER
# What is free again as soon as a call ends; `trial` already when its answer begins.
LEVELS: Final[frozenset[Of]] = frozenset({"concurrency", "trial"})
WHOLE: Final[frozenset[Of]] = LEVELS | {"requests"}

MINUTE: Final = 60.0
DAY: Final = 86_400.0
# How long a call may take, in seconds, until the provider has counted that it is there: as long as a
# connection may take to stand, unless settings allow it more.
ARRIVAL: Final = 5.0


class Meter(NamedTuple):
    """One thing of a key that is limited: of all its models where `group` is "", else of those in it."""

    key: str
    group: str
    of: Of


@dataclass(frozen=True, slots=True)
class Limit:
    """So much in any `window` seconds, at most the share `burst` of it at once.

    Of what is no rate the window says nothing.
    """

    amount: float
    window: float = MINUTE
    burst: float = 1.0
    source: Source = "settings"

    def narrowed(self, other: Limit) -> Limit:
        """The stricter of two limits of one meter."""
        return self if self.amount / self.window <= other.amount / other.window else other


@dataclass(frozen=True, slots=True)
class Need:
    """What one call, or several, are expected to use. Without a known price they need no dollars."""

    input: float = 0.0
    output: float = 0.0
    dollars: float = 0.0
    calls: float = 1.0

    def __add__(self, other: Need) -> Need:
        return Need(
            self.input + other.input,
            self.output + other.output,
            self.dollars + other.dollars,
            self.calls + other.calls,
        )

    def of(self, of: Of) -> float:
        match of:
            case "requests" | "concurrency" | "trial":
                return self.calls
            case "tokens":
                return self.input + self.output
            case "input_tokens":
                return self.input
            case "output_tokens":
                return self.output
            case "dollars":
                return self.dollars


@dataclass(frozen=True, slots=True)
class Used:
    """What a call has used; None where that is not known."""

    input: float | None = None
    output: float | None = None
    dollars: float | None = None

    def instead_of(self, need: Need) -> Need:
        """The need, corrected by what is known."""
        return Need(
            need.input if self.input is None else self.input,
            need.output if self.output is None else self.output,
            need.dollars if self.dollars is None else self.dollars,
        )


def day_of(now: float, epoch: float) -> int:
    """The day, in UTC, of a clock that stood at 0 at `epoch`, in seconds since 1970."""
    return int((now + epoch) // DAY)
