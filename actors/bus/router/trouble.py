"""What has lately gone wrong with one subscription; there is none of it as long as nothing has."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from llmgine.actors.breaking import Breaker
from llmgine.actors.bus.router.records import Record
from llmgine.actors.bus.router.retry import Retry
from llmgine.actors.bus.router.timers import Timer

Error = tuple[str, str, int]


class Tries:
    """One message's failed attempts so far; `errors` has each one's kind, text and time."""

    __slots__ = ("attempts", "errors", "kept")

    def __init__(self, kept: int) -> None:
        self.attempts = 0
        self.errors: deque[Error] = deque(maxlen=kept)


class Hold:
    """A lane that waits for its failed message to be tried again, and what stands behind that one.

    It goes on when it is `due` and none of its messages is on its way back (`recalls`).
    """

    __slots__ = ("at", "due", "recalls", "records", "timer")

    def __init__(self) -> None:
        self.records: deque[Record] = deque()
        self.recalls = 0
        self.due = False
        self.at = 0.0
        self.timer: Timer | None = None


class Trouble:
    """Breaker, retries and what they hold back of one subscription.

    `tries` are the messages that have failed before; `holds` the lanes and `backoff` the messages
    without a lane that wait to be tried again. While the breaker is not closed `parked` says since when
    each queued message waits for it.
    """

    __slots__ = (
        "attempted",
        "backoff",
        "breaker",
        "expiry",
        "holds",
        "parked",
        "policies",
        "retry",
        "tries",
        "wake",
    )

    def __init__(self, breaker: Breaker, retry: Retry, policies: tuple[Any, Any]) -> None:
        self.breaker = breaker
        self.retry = retry
        # What both were made of.
        self.policies = policies
        # First attempts that the retry budget has been told of.
        self.attempted = 0
        self.tries: dict[Record, Tries] = {}
        self.holds: dict[str, Hold] = {}
        self.backoff: dict[Record, Timer] = {}
        self.parked: dict[Record, float] | None = None
        self.wake: Timer | None = None
        self.expiry: Timer | None = None

    @property
    def quiet(self) -> bool:
        """Whether messages may be handed out without a look at each."""
        return self.parked is None and not (self.tries or self.holds)

    def attempt(self, record: Record) -> int:
        """Which attempt the next one of this message is."""
        tries = self.tries.get(record)
        return 1 if tries is None else tries.attempts + 1

    def forget(self, record: Record) -> None:
        """It is done."""
        self.tries.pop(record, None)
        if self.parked is not None:
            self.parked.pop(record, None)

    def held(self) -> Iterator[Record]:
        """What waits to be tried again, and what stands behind it."""
        for hold in self.holds.values():
            yield from hold.records
        yield from self.backoff
