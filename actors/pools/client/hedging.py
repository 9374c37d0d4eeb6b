"""A call that is slow to begin is made at a second actor too; who begins first is heard, the other ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any

from llmgine.actors.link import LinkError
from llmgine.actors.pools.client.call import Call
from llmgine.actors.pools.client.door import Try
from llmgine.actors.pools.client.failures import lost
from llmgine.actors.pools.client.shared import Shared
from llmgine.providers import ErrorPhase, Failed, LLMRequest
from llmgine.providers.events import from_wire

_FAILED = 7  # the code of a `Failed` on the wire


class _Runner:
    """A try whose first message is waited for."""

    def __init__(self, tried: Try) -> None:
        self.tried = tried
        self.first: asyncio.Task[Any] = asyncio.create_task(tried.stream.receive())
        self.first.add_done_callback(_seen)

    @property
    def has_failed(self) -> bool:
        return self.first.exception() is not None or self.first.result()[0] == _FAILED

    async def messages(self) -> AsyncGenerator[Any, None]:
        yield await self.first
        async for message in self.tried.stream:
            yield message


def _seen(first: asyncio.Task[Any]) -> None:
    """Why it has failed is told where that matters."""
    if not first.cancelled():
        first.exception()


async def hedged(shared: Shared, call: Call[LLMRequest], tried: Try) -> tuple[Try, AsyncIterable[Any]]:
    """The try that is heard, and its messages."""
    hedge = shared.options.hedge
    after = hedge.after or shared.first_tokens(tried.model).slow()
    shared.hedges.called()
    if after is None:
        return tried, tried.stream
    runners = [_Runner(tried)]
    try:
        await asyncio.wait({runners[0].first}, timeout=after)
        if not runners[0].first.done() and shared.hedges.take(call.now):
            second = await _second(call, runners[0])
            if second is not None:
                runners.append(_Runner(second))
        winner = await _first(runners)
    except BaseException:
        for runner in runners:
            runner.first.cancel()
            runner.tried.end()
        raise
    for runner in runners:
        if runner is not winner:
            _leave(call, runner)
    return winner.tried, winner.messages()


async def _second(call: Call[LLMRequest], first: _Runner) -> Try | None:
    """The same try at another actor; None where nobody takes it before the first begins."""
    asking = asyncio.create_task(call.hedge(first.tried))
    try:
        await asyncio.wait({asking, first.first}, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done() and first.has_failed:
            await asyncio.wait({asking})
        return asking.result() if asking.done() else None
    except asyncio.CancelledError:
        if asking.done() and not asking.exception() and (second := asking.result()) is not None:
            second.end()
        raise
    finally:
        asking.cancel()


async def _first(runners: list[_Runner]) -> _Runner:
    """Who begins first; who has failed only where all have."""
    waiting = {runner.first: runner for runner in runners}
    while True:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        ended = sorted((waiting.pop(first) for first in done), key=lambda runner: runner.has_failed)
        if not waiting or not ended[0].has_failed:
            return ended[0]


def _leave(call: Call[LLMRequest], runner: _Runner) -> None:
    tried, first = runner.tried, runner.first
    if not first.done() or not runner.has_failed:
        first.cancel()
        call.cancelled(tried)
        return
    error = first.exception()
    if isinstance(error, LinkError):
        failed = Failed(lost(tried.actor, tried.model, ErrorPhase.PRE_TOKEN, error))
        call.failed(tried, failed, by_actor=True)
    elif error is None and isinstance(event := from_wire(first.result()), Failed):
        call.failed(tried, event)
