"""The caller's end of batches: each verb is one stream to a provider actor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager
from itertools import islice
from typing import Any

from llmgine.actors.link import EndOfStream, NotSendable, Stream
from llmgine.actors.pools.batches import wire
from llmgine.providers import InvalidRequest, LLMRequest, ProviderError
from llmgine.providers.contracts import BatchStatus
from llmgine.providers.provider import BatchResult

# Requests that are sent before others of this process get their turn.
_AT_ONCE = 32

# A stream of a kind, with a header, that an actor of the model's pool has accepted. What breaks it within
# comes out as `ProviderError`.
Opened = Callable[[str, list[Any]], AbstractAsyncContextManager[Stream]]
# Is told the name of the key, how many of the requests the batch has seen, the first of them, and which it
# refused, before it is submitted.
Decided = Callable[[str, int, dict[str, ProviderError]], Awaitable[None]]


class BatchCalls:
    """The batches of one model. All raise what calls of the model raise, and `ProviderError`."""

    def __init__(self, model: str, opened: Opened) -> None:
        self._model = model
        self._opened = opened

    async def submit(
        self, tag: str, requests: Iterable[tuple[str, LLMRequest]], decided: Decided
    ) -> BatchStatus | None:
        """A new batch of as many of the requests as one holds, once `decided` has returned.

        None where it refused each that it has seen. Under which key it is, is the actor's choice.
        """
        async with self._opened(wire.SUBMIT, [self._model, "", tag]) as stream:
            _, most, key = await _expected(stream, wire.TAKES)
            for number, (custom_id, request) in enumerate(islice(requests, most)):
                try:
                    await stream.send([wire.REQUEST, custom_id, request.model_dump_json().encode()])
                except NotSendable as error:
                    raise InvalidRequest(f"a request cannot be sent to the pool: {error}") from None
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)
            await stream.send([wire.ALL])
            refused: dict[str, ProviderError] = {}
            while (message := await _expected(stream, wire.ERROR, wire.SEEN))[0] == wire.ERROR:
                refused[message[1]] = ProviderError.from_wire(message[2])
            seen = int(message[1])
            await decided(key, seen, refused)
            if seen == len(refused):
                return None
            await stream.send([wire.GO])
            return wire.status_from_wire(await stream.receive())

    async def find(
        self, tag: str, since: float, total: int, excluded: Collection[str], *, key: str = ""
    ) -> BatchStatus | None:
        """The batch that was submitted under `tag`, or that may be it; as `Batches.find`."""
        return await self._ask("find", key, [tag, float(since), total, list(excluded)])

    async def status(self, id: str, *, key: str = "") -> BatchStatus:
        return _there(await self._ask("status", key, [id]))

    async def cancel(self, id: str, *, key: str = "") -> BatchStatus:
        return _there(await self._ask("cancel", key, [id]))

    async def results(self, id: str, like: LLMRequest, *, key: str = "") -> AsyncGenerator[BatchResult, None]:
        """The results of a batch that is over, in any order; `like` is one of its requests."""
        header = [self._model, key, id, like.model_dump_json().encode()]
        async with self._opened(wire.RESULTS, header) as stream:
            while (result := wire.result_from_wire(await stream.receive())) is not None:
                yield result

    async def _ask(self, verb: str, key: str, arguments: list[Any]) -> BatchStatus | None:
        async with self._opened(wire.ASK, [self._model, key, verb, arguments]) as stream:
            return wire.status_from_wire(await stream.receive())


async def _expected(stream: Stream, *kinds: str) -> list[Any]:
    message: list[Any] = await stream.receive()
    if message[0] not in kinds:
        wire.status_from_wire(message)
        raise EndOfStream("it answered something else than what was asked")
    return message


def _there(status: BatchStatus | None) -> BatchStatus:
    if status is None:
        raise EndOfStream("it told of no batch")
    return status
