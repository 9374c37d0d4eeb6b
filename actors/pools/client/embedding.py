"""Embeddings: a call whose whole answer comes at its end, so that each try may follow on any other."""

from __future__ import annotations

from llmgine.actors.link import EndOfStream, LinkError
from llmgine.actors.pools import wire
from llmgine.actors.pools.client.call import Call
from llmgine.actors.pools.client.door import Try
from llmgine.actors.pools.client.failures import lost, unreadable
from llmgine.providers import (
    EmbeddingRequest,
    EmbeddingResponse,
    ErrorPhase,
    Failed,
    ProviderError,
)


async def embedded(call: Call[EmbeddingRequest]) -> EmbeddingResponse:
    """The answer of the first try that has one; raises the last one's failure."""
    while True:
        tried = await call.admitted()
        try:
            return call.answered(tried, await _read(tried))
        except LinkError as raised:
            error, by_actor = lost(tried.actor, tried.model, ErrorPhase.PRE_TOKEN, raised), True
        except ValueError as raised:
            error, by_actor = unreadable(tried.actor, tried.model, ErrorPhase.PRE_TOKEN, raised), True
        except ProviderError as raised:
            error, by_actor = raised, False
        except BaseException:
            tried.end()
            raise
        call.failed(tried, Failed(error), by_actor=by_actor)
        if not await call.after(tried, error, by_actor=by_actor):
            raise error


async def _read(tried: Try) -> EmbeddingResponse:
    reader = wire.EmbeddingReader()
    async for message in tried.stream:
        if (response := reader.read(message)) is not None:
            return response
    raise EndOfStream("it ended the stream without an answer")
