"""What a user's own code may be told of."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from llmgine.telemetry.answers import Stats, TraceSummary
from llmgine.telemetry.records import Span


class Observer(Protocol):
    """A subclass overrides what it wants to hear of; each method may be plain or `async`.

    An observer stands behind a queue and has a thread and an event loop of its own, so it may block and
    fail: an exception is counted and loses what it was told of for this observer alone, and one that does
    not keep up misses what its queue has no room for, counted. Nothing that it does is observed.
    """

    def spans(self, spans: Sequence[Span]) -> Awaitable[None] | None:
        """These have ended; each is told once, whether its trace is kept or not.

        One that was closed because its process seemed gone comes a second time where that proves wrong.
        """
        return None

    def trace(self, trace: TraceSummary) -> Awaitable[None] | None:
        """Enough is known of a trace; it is told again where more of it came later."""
        return None

    def statistics(self, statistics: Stats) -> Awaitable[None] | None:
        """How everything stands, told each `telemetry.observer_interval`."""
        return None

    def close(self) -> Awaitable[None] | None:
        """Nothing comes any more."""
        return None
