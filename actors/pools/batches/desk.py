"""What one provider actor does with batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from typing import Any, cast

from pydantic import ValidationError

from llmgine.actors.link import LinkError, Stream, StreamHandler
from llmgine.actors.pools import wire as verdicts
from llmgine.actors.pools.batches import wire
from llmgine.actors.pools.batches.draft import Draft
from llmgine.providers import InvalidRequest, LlmgineError, LLMRequest, ProviderError
from llmgine.providers.contracts import BatchStatus
from llmgine.providers.provider import Batches, BatchResult

# Requests that are encoded, or results that are decoded, before others of this process get their turn.
_AT_ONCE = 32

# A model's batches under the key of a name, "" for any, within the block; `LlmgineError` where there is none.
Opened = Callable[[str, str], AbstractAsyncContextManager[Batches]]
_Answer = Callable[[Stream, Batches], Coroutine[Any, Any, None]]


class BatchDesk:
    """Serves the three kinds of streams. A caller that gives up breaks off what is being done for it.

    `load` is how many calls the actor carries, which it tells whoever it answers. Closed, it takes no more
    and goes on with what it has.
    """

    def __init__(self, opened: Opened, load: Callable[[], int]) -> None:
        self._opened = opened
        self._load = load
        self._closed = False
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def handlers(self) -> Mapping[str, StreamHandler]:
        return {
            wire.SUBMIT: partial(self._serve, _submit),
            wire.ASK: partial(self._serve, _ask),
            wire.RESULTS: partial(self._serve, _results),
        }

    def close(self) -> None:
        """Others are to be asked from now on."""
        self._closed = True

    async def ended(self) -> None:
        """Waits until nothing is left."""
        await self._idle.wait()

    async def _serve(self, answer: _Answer, stream: Stream) -> None:
        self._running += 1
        self._idle.clear()
        try:
            if self._closed:
                await stream.send([verdicts.REFUSED, self._load(), None, verdicts.DRAINING])
            else:
                await self._answer(answer, stream)
            stream.finish()
        except LinkError:
            pass  # The caller is gone or gave up.
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def _answer(self, answer: _Answer, stream: Stream) -> None:
        model, key = stream.header[:2]
        try:
            async with self._opened(model, key) as batches:
                await stream.send([verdicts.ACCEPTED, self._load()])
                await _while_wanted(stream, answer(stream, batches))
        except LlmgineError as error:
            await stream.send(verdicts.failure_to_wire(error))


async def _while_wanted(stream: Stream, answering: Coroutine[Any, Any, None]) -> None:
    working = asyncio.create_task(answering)
    given_up = asyncio.create_task(stream.wait_closed())
    try:
        await asyncio.wait({working, given_up}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
        given_up.cancel()
        outcome, _ = await asyncio.gather(working, given_up, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome


async def _submit(stream: Stream, batches: Batches) -> None:
    _, _, tag = stream.header
    await stream.send([wire.TAKES, batches.most_requests, batches.key])
    draft, came = Draft(batches), 0
    while (message := await stream.receive())[0] == wire.REQUEST:
        _, custom_id, body = message
        try:
            draft.add(custom_id, _parsed(body))
        except ProviderError as error:
            await stream.send([wire.ERROR, custom_id, error.to_wire()])
        came += 1
        if came % _AT_ONCE == 0:
            await asyncio.sleep(0)
    await stream.send([wire.SEEN, draft.seen])
    if not draft.lines:
        return  # No batch comes of it, so that nobody says more.
    await stream.receive()
    status = await batches.submit(tag, draft.lines)
    await stream.send(wire.status_to_wire(status))


async def _ask(stream: Stream, batches: Batches) -> None:
    _, _, verb, arguments = stream.header
    status: BatchStatus | None
    match verb, arguments:
        case "status", [str(id)]:
            status = await batches.status(id)
        case "cancel", [str(id)]:
            status = await batches.cancel(id)
        case "find", [str(tag), float(since), int(total), list(excluded)]:
            status = await batches.find(tag, since, total, excluded)
        case _:
            raise InvalidRequest(f"batches are not asked {verb!r}; is one version of llmgine on every node?")
    await stream.send(wire.status_to_wire(status))


async def _results(stream: Stream, batches: Batches) -> None:
    _, _, id, like = stream.header
    results = cast("AsyncGenerator[BatchResult, None]", batches.results(id, _parsed(like)))
    async with aclosing(results):
        sent = 0
        async for result in results:
            message = wire.result_to_wire(result)
            if not stream.try_send(message):
                await stream.send(message)
            sent += 1
            if sent % _AT_ONCE == 0:
                await asyncio.sleep(0)
    await stream.send([wire.ALL])


def _parsed(body: bytes) -> LLMRequest:
    try:
        return LLMRequest.model_validate_json(body)
    except ValidationError:
        raise InvalidRequest(
            "the provider actor cannot read this request; is one version of llmgine installed on every node?"
        ) from None
