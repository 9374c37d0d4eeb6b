"""Spans of what batches answer, so that their tokens and costs are counted like those of other calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from llmgine.actors.pools.client.spans import model_call
from llmgine.providers import LLMRequest, LLMResponse, ProviderError
from llmgine.telemetry import SpanRecorder, current_trace, names
from llmgine.telemetry.current import recorded

# Answers that are told before others of this process get their turn.
_AT_ONCE = 32

# How long it is waited for telemetry to take what it was told, in seconds: each time, and for one batch.
_PAUSE, _PATIENCE = 0.05, 10.0

Outcome = LLMResponse | ProviderError


class BatchSpans:
    """One span for each batch that is read, and below it one for each answer."""

    def __init__(self, recorder: SpanRecorder) -> None:
        self._recorder = recorder

    async def read(
        self,
        batch: str,
        answers: Iterable[tuple[LLMRequest, Outcome]],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """What the batch of that id has answered to these requests; each answer is to be told once."""
        waited = 0.0
        with recorded(self._recorder, names.SPAN_BATCH, {names.LLMGINE_BATCH_ID: batch}):
            for number, (request, outcome) in enumerate(answers, 1):
                self._tell(batch, request, outcome)
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                while self._recorder.pending > self._recorder.capacity // 2 and waited < _PATIENCE:
                    await sleep(_PAUSE)
                    waited += _PAUSE

    def _tell(self, batch: str, request: LLMRequest, outcome: Outcome) -> None:
        with (
            suppress(ProviderError),
            model_call(self._recorder, request, parent=current_trace(), batch=batch) as call,
        ):
            if isinstance(outcome, ProviderError):
                raise outcome
            call.answered(outcome)
