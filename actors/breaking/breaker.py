"""The circuit breaker of whatever may fail: closed, open, half-open. Pure.

Every change of state begins a new generation. A result names the generation in which its attempt was
handed out; one of an older generation changes nothing, so a late failure cannot open what has recovered
meanwhile. An open breaker becomes half-open by being asked for permits at its time or later.

While half-open, `permits` attempts may run at a time. The first failure opens the breaker again, for
longer; `successes` successes close it, unless so many of them were slow that they open it again.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Literal

from llmgine.actors.breaking.policy import BreakerPolicy

State = Literal["closed", "open", "half_open"]

UNLIMITED = sys.maxsize


class Breaker:
    """Counts the results of what it stands before; `random` draws from 0 to 1.

    Whatever reports a result says whether the state changed by it.
    """

    __slots__ = (
        "_failures",
        "_latest",
        "_next_open_for",
        "_policy",
        "_random",
        "_slow_trials",
        "_successes",
        "generation",
        "half_open_at",
        "state",
        "taken",
    )

    def __init__(self, policy: BreakerPolicy, random: Callable[[], float]) -> None:
        self._policy = policy
        self._random = random
        self.state: State = "closed"
        self.generation = 0
        self.half_open_at: float | None = None
        self._next_open_for = policy.open_for
        # Permits that are out; only a half-open breaker counts them.
        self.taken = 0
        self._successes = 0
        self._slow_trials = 0
        self._failures: deque[float] = deque(maxlen=policy.failures)
        shares = policy.enabled and (policy.kind == "rate" or policy.slow_after is not None)
        self._latest = Latest(policy.calls) if shares else None

    def permits(self, now: float) -> int:
        """How many more attempts may be handed out now; `UNLIMITED` while closed."""
        if self.state == "closed":
            return UNLIMITED
        if self.half_open_at is not None and now >= self.half_open_at:
            self._enter("half_open")
        return self._policy.permits - self.taken if self.state == "half_open" else 0

    def take(self, count: int) -> None:
        """So many attempts are handed out, no more than `permits` said."""
        if self.state == "closed":
            return
        if self.taken + count > (self._policy.permits if self.state == "half_open" else 0):
            raise ValueError(f"{count} attempts were handed out against a breaker that is {self.state}")
        self.taken += count

    def released(self, generation: int, count: int = 1) -> None:
        """So many attempts ended without a result that counts; their permits are free again."""
        if generation == self.generation and self.state == "half_open":
            self.taken -= count

    def succeeded(self, generation: int, now: float, count: int = 1, slow: bool = False) -> bool:
        """So many attempts succeeded; costs the same for any number."""
        if generation != self.generation or self.state == "open":
            return False
        if self.state == "half_open":
            return self._trial_succeeded(now, count, slow)
        latest = self._latest
        if latest is None:
            return False
        # The share of failures only falls with each success, so it has to be looked at where it first counts.
        first = min(count, max(1, self._policy.minimum_calls - latest.total))
        latest.add(first, failed=False, slow=slow)
        if not self._exceeded(latest) and count > first:
            latest.add(count - first, failed=False, slow=slow)
        return self._open_if(self._exceeded(latest), now)

    def failed(self, generation: int, now: float, slow: bool = False) -> bool:
        """One attempt failed."""
        if generation != self.generation or self.state == "open" or not self._policy.enabled:
            return False
        if self.state == "half_open":
            return self._open_if(True, now)
        latest = self._latest
        if latest is not None:
            latest.add(1, failed=True, slow=slow)
        return self._open_if(
            self._too_many(now) or (latest is not None and self._exceeded(latest)),
            now,
        )

    def _too_many(self, now: float) -> bool:
        policy, failures = self._policy, self._failures
        if policy.kind != "window":
            return False
        failures.append(now)
        return len(failures) == policy.failures and now - failures[0] <= policy.window

    def _exceeded(self, latest: Latest) -> bool:
        """Whether a share of the latest attempts is too large."""
        policy = self._policy
        if latest.total < policy.minimum_calls:
            return False
        if policy.kind == "rate" and latest.failed / latest.total >= policy.failure_rate:
            return True
        return policy.slow_after is not None and latest.slow / latest.total >= policy.slow_rate

    def _trial_succeeded(self, now: float, count: int, slow: bool) -> bool:
        policy = self._policy
        self.taken -= count
        counted = min(count, policy.successes - self._successes)
        self._successes += counted
        if slow and policy.slow_after is not None:
            self._slow_trials += counted
        if self._successes < policy.successes:
            return False
        if self._slow_trials / self._successes >= policy.slow_rate:
            return self._open_if(True, now)
        self._next_open_for = policy.open_for
        self._enter("closed")
        return True

    def _open_if(self, exceeded: bool, now: float) -> bool:
        if not exceeded:
            return False
        policy = self._policy
        longest = min(policy.open_cap, self._next_open_for)
        self._next_open_for = min(policy.open_cap, longest * policy.growth)
        self._enter("open")
        self.half_open_at = now + longest * (1.0 - policy.jitter * self._random())
        return True

    def _enter(self, state: State) -> None:
        """Begin a generation, with all counters cleared."""
        self.state = state
        self.generation += 1
        self.half_open_at = None
        self.taken = self._successes = self._slow_trials = 0
        self._failures.clear()
        if self._latest is not None:
            self._latest.clear()


class Latest:
    """How many of the latest attempts failed, and how many were slow, in rows of equal results."""

    __slots__ = ("_rows", "_size", "failed", "slow", "total")

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: deque[tuple[bool, bool, int]] = deque()
        self.total = self.failed = self.slow = 0

    def clear(self) -> None:
        self._rows.clear()
        self.total = self.failed = self.slow = 0

    def add(self, count: int, *, failed: bool, slow: bool) -> None:
        count = min(count, self._size)
        rows = self._rows
        self._count(count, failed, slow)
        if rows and rows[-1][:2] == (failed, slow):
            count += rows.pop()[2]
        rows.append((failed, slow, count))
        while self.total > self._size:
            failed, slow, count = rows.popleft()
            kept = max(0, count - (self.total - self._size))
            self._count(kept - count, failed, slow)
            if kept:
                rows.appendleft((failed, slow, kept))

    def _count(self, count: int, failed: bool, slow: bool) -> None:
        self.total += count
        if failed:
            self.failed += count
        if slow:
            self.slow += count
