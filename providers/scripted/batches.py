"""Batches of the scripted double, kept in its memory: over when they are asked about for the second time."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, NoReturn

from llmgine.providers.contracts import BatchState, BatchStatus, LLMRequest, LLMResponse
from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.events import Done, Failed, StreamEvent
from llmgine.providers.provider import BatchResult

Play = Callable[[LLMRequest], AsyncGenerator[StreamEvent, None]]

_QUESTIONS: Final = 2


@dataclass(slots=True)
class ScriptedBatch:
    """One batch: its lines, and how often it was asked about."""

    tag: str
    lines: Sequence[bytes]
    asked: int = 0
    cancelled: bool = False

    def status(self, id: str) -> BatchStatus:
        state = BatchState.RUNNING
        if self.cancelled:
            state = BatchState.CANCELLED
        elif self.asked >= _QUESTIONS:
            state = BatchState.COMPLETED
        return BatchStatus(id=id, state=state, tag=self.tag, total=len(self.lines))


class ScriptedBatches:
    """The batches of `kept`, by their ids; `play` gives the events of a request's reply."""

    key = ""
    most_requests = 10_000
    most_bytes = 10_000_000

    def __init__(self, provider: str, model: str, kept: dict[str, ScriptedBatch], play: Play) -> None:
        self._provider = provider
        self._model = model
        self._kept = kept
        self._play = play

    def line(self, custom_id: str, request: LLMRequest) -> bytes:
        return json.dumps([custom_id, request.model_dump(mode="json")]).encode()

    async def submit(self, tag: str, lines: Sequence[bytes]) -> BatchStatus:
        id = f"scripted_batch_{len(self._kept)}"
        self._kept[id] = ScriptedBatch(tag, lines)
        return self._kept[id].status(id)

    async def find(self, tag: str, since: float, total: int, excluded: Collection[str]) -> BatchStatus | None:
        for id, batch in self._kept.items():
            if batch.tag == tag and id not in excluded:
                return batch.status(id)
        return None

    async def status(self, id: str) -> BatchStatus:
        batch = self._batch(id)
        batch.asked += 1
        return batch.status(id)

    async def cancel(self, id: str) -> BatchStatus:
        batch = self._batch(id)
        batch.cancelled = batch.asked < _QUESTIONS
        return batch.status(id)

    async def results(self, id: str, like: LLMRequest) -> AsyncGenerator[BatchResult, None]:
        batch = self._batch(id)
        for line in batch.lines:
            custom_id, request = json.loads(line)
            if batch.cancelled:
                yield BatchResult(custom_id, self._error("the batch was cancelled", ErrorKind.CANCELLED))
            else:
                yield BatchResult(custom_id, await self._outcome(LLMRequest.model_validate(request)))

    async def _outcome(self, request: LLMRequest) -> LLMResponse | ProviderError:
        async with aclosing(self._play(request)) as events:
            async for event in events:
                match event:
                    case Done(response):
                        return response
                    case Failed(error):
                        return error
        return self._error("the reply has no end", ErrorKind.TRUNCATED)

    def _batch(self, id: str) -> ScriptedBatch:
        return self._kept.get(id) or self._unknown(id)

    def _unknown(self, id: str) -> NoReturn:
        raise self._error(f"this process knows no batch {id!r}", ErrorKind.NOT_FOUND)

    def _error(self, message: str, kind: ErrorKind) -> ProviderError:
        phase = ErrorPhase.PRE_TOKEN
        return ProviderError(message, kind=kind, phase=phase, provider=self._provider, model=self._model)
