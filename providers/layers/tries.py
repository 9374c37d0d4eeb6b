"""What several tries of one call have in common: their time, and the sum of what they used."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from llmgine.providers.contracts import Attempt, LLMRequest, LLMResponse, Message, Usage
from llmgine.providers.errors import ErrorPhase
from llmgine.providers.events import Failed

_DONE = "done"
_UNSENT = frozenset({ErrorPhase.REQUEST, ErrorPhase.CONNECT})


class Tries:
    """The tries of one call. `limit` is the seconds that they have together, `clock` tells seconds."""

    def __init__(self, request: LLMRequest, limit: float, clock: Callable[[], float]) -> None:
        self._model = request.model
        self._key = request.idempotency_key
        self._clock = clock
        self._limit = min(request.deadline or limit, limit)
        self._begun = self._since = clock()
        self._attempts: list[Attempt] = []
        self._usage: Usage | None = None
        self._cost: Decimal | None = Decimal(0)

    @property
    def left(self) -> float:
        """Seconds until the deadline of them all."""
        return self._limit - (self._clock() - self._begun)

    def begin(self, request: LLMRequest) -> LLMRequest:
        """The next try, with the time that is left; the first is sent as it is.

        It has an idempotency key of its own: under the first one a provider would take it for a repetition.
        """
        self._since = self._clock()
        if not self._attempts:
            return request
        changes: dict[str, Any] = {"deadline": max(self.left, 0.001)}
        if request.idempotency_key is not None:
            changes["idempotency_key"] = f"{self._key}-{len(self._attempts) + 1}"
        return request.model_copy(update=changes)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return tuple(self._attempts)

    def answered(self, response: LLMResponse, outcome: str = _DONE, *, key: str = "") -> None:
        """A try gave an answer, which may not be the last word; it was made with the key of that name."""
        self._add(response.attempts, outcome, key)
        self._spent(response.usage, response.cost)

    def failed(self, failed: Failed, *, key: str = "") -> None:
        """A try failed. What was refused with an HTTP status, or never sent, cost nothing."""
        self._add(failed.attempts, failed.error.kind.value, key)
        if failed.error.phase not in _UNSENT and (failed.error.status or 200) < 300:
            self._spent(failed.usage or Usage(), None)

    def summed(self, response: LLMResponse) -> LLMResponse:
        """The last answer with what all tries used; as it is where there was but one."""
        if len(self._attempts) < 2:
            return response
        fields = {"usage": self._usage, "cost": self._cost, "attempts": self.attempts}
        return response.model_copy(update=fields)

    def given_up(self, failed: Failed, partial: Message | None, *, heard: bool) -> Failed:
        """The last failure with what all tries used. Where the reader had `heard` of an earlier one, it
        comes in the middle of the stream, however far the last try had come."""
        if heard and failed.error.phase is not ErrorPhase.REQUEST:
            failed.error.phase = ErrorPhase.MID_STREAM
        if len(self._attempts) < 2:
            return Failed(failed.error, partial, failed.usage, failed.attempts)
        return Failed(failed.error, partial, self._usage, self.attempts)

    def _add(self, made: tuple[Attempt, ...], outcome: str, key: str) -> None:
        """A try that told of several had the last of them itself."""
        before, last = made[:-1], made[-1:]
        seconds = self._clock() - self._since - sum(attempt.seconds for attempt in before)
        key = last[0].key if last else key
        self._attempts += before
        self._attempts.append(Attempt(key=key, model=self._model, outcome=outcome, seconds=max(seconds, 0.0)))

    def _spent(self, usage: Usage, cost: Decimal | None) -> None:
        self._usage = usage if self._usage is None else self._usage + usage
        self._cost = None if cost is None or self._cost is None else self._cost + cost
