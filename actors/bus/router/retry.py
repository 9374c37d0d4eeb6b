"""When a failed attempt of one handler is made again. Pure.

Besides the policy's number of retries there is a budget for all messages of the handler together, so
that a handler that is down is not also buried under retries. It has two purses. The one is earned by
first attempts, `budget_ratio` each, and holds what the latest thousand of them earned; the other is
filled by time up to `budget_reserve`. A retry is paid from the first that has enough.
"""

from __future__ import annotations

from collections.abc import Callable

from llmgine.actors.bus.pacing import TokenBucket, full_jitter
from llmgine.actors.bus.policies import RetryPolicy

RESERVE_PER_SECOND = 10.0
REMEMBERED = 1_000


class Retry:
    """The retries of one handler; `random` draws from 0 to 1."""

    __slots__ = ("_earned", "_most_earned", "_policy", "_random", "_reserve")

    def __init__(self, policy: RetryPolicy, random: Callable[[], float]) -> None:
        self._policy = policy
        self._random = random
        self._earned = 0.0
        self._most_earned = policy.budget_ratio * REMEMBERED
        self._reserve = TokenBucket(RESERVE_PER_SECOND, policy.budget_reserve)

    def first(self, count: int = 1) -> None:
        """So many messages were attempted for the first time."""
        self._earned = min(self._most_earned, self._earned + self._policy.budget_ratio * count)

    def delay(self, attempt: int, now: float) -> float | None:
        """Seconds until the attempt after `attempt`, which failed; None where there is none any more.

        Attempts count from 1. A delay is a promise to try again: it has taken from the budget.
        """
        policy = self._policy
        if attempt > policy.retries or not self._pay(now):
            return None
        return full_jitter(policy.base, policy.cap, attempt, self._random)

    def _pay(self, now: float) -> bool:
        if self._earned >= 1.0:
            self._earned -= 1.0
            return True
        return self._reserve.take(now)
