"""How far a batch has come: many requests that a provider answers within a day, for less."""

from __future__ import annotations

import enum
from typing import Any

from llmgine.providers.contracts.base import Contract


class BatchState(enum.StrEnum):
    """Where a batch stands, in the same words for every provider."""

    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETED = "completed"  # each of its requests has a result, which may be an error
    EXPIRED = "expired"  # its time was over before each was answered
    CANCELLED = "cancelled"
    FAILED = "failed"  # none of its requests was tried


class BatchStatus(Contract):
    """A batch as its provider tells of it.

    `tag` is what it was submitted under, None where the provider keeps none. `done` and `failed` count its
    requests, as far as the provider tells before the end. Times are seconds since 1970; `files` are where
    the results lie. Of one in state FAILED `error` is the `ProviderError` in its wire form, and `bad_lines`
    are which of its requests are to blame, counted from 1. `retry_after` is how long the provider asks to
    wait before the next question.
    """

    id: str
    state: BatchState
    tag: str | None = None
    total: int = 0
    done: int = 0
    failed: int = 0
    created: float | None = None
    expires: float | None = None
    files: tuple[str, ...] = ()
    error: dict[str, Any] | None = None
    bad_lines: tuple[int, ...] = ()
    retry_after: float | None = None

    @property
    def over(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.state not in (BatchState.RUNNING, BatchState.CANCELLING)
