"""One reader of a shared call: what it hears, at its own pace, until its own deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from llmgine.actors.link import LinkError, Stream
from llmgine.actors.pools import wire
from llmgine.actors.pools.caching.answers import Saved, partial
from llmgine.actors.pools.caching.flight import Reader
from llmgine.actors.pools.serving.tee import Tee
from llmgine.providers import (
    EmbeddingRequest,
    ErrorKind,
    ErrorPhase,
    Failed,
    LLMRequest,
    ProviderError,
)
from llmgine.providers.events import to_wire


@dataclass(slots=True)
class Figures:
    """What came of the requests that may be answered with another's answer."""

    hits: int = 0  # answered from memory
    store_hits: int = 0
    misses: int = 0  # calls made
    joins: int = 0  # answered by a call under way
    cut: int = 0  # readers that fell behind
    saved_input_tokens: int = 0
    saved_output_tokens: int = 0
    saved_cost: float = 0.0

    def save(self, saved: Saved) -> None:
        self.saved_input_tokens += saved.input_tokens
        self.saved_output_tokens += saved.output_tokens
        self.saved_cost += saved.cost


@dataclass(slots=True)
class SharedCall:
    """A call under way. It is made without a deadline: each reader waits as long as its own says."""

    tee: Tee
    request: LLMRequest | EmbeddingRequest
    key: bytes
    generation: int
    priority: str
    found: Saved | None = None  # what it saves where it was not made, but found in the store

    def suits(self, priority: str) -> bool:
        """Whether one of this priority may join: none waits in a queue behind those it goes before."""
        answering = self.tee.heard > 1
        return answering or priority == self.priority or priority == "batch"


class Reading:
    """Passes shared calls on to those who read them."""

    def __init__(self, pool: str, max_bytes: int, load: Callable[[], int], figures: Figures) -> None:
        self._pool = pool
        self._max_bytes = max_bytes
        self._load = load
        self._figures = figures

    async def read(self, call: SharedCall, reader: Reader, stream: Stream, deadline: float | None) -> None:
        """Passes on what is said until its end, the reader's deadline, or until the reader leaves."""
        tee = call.tee
        gone = asyncio.create_task(stream.wait_closed())
        gone.add_done_callback(lambda _: tee.move())
        try:
            try:
                async with asyncio.timeout(deadline):
                    await self._pass_on(call, reader, stream)
            except TimeoutError:
                late = f"the call took longer than its deadline of {deadline:g} s"
                await self._fail(call, reader, stream, ErrorKind.TIMEOUT, late)
        except LinkError:
            pass  # The caller is gone or gave up.
        finally:
            gone.cancel()
            tee.leave(reader)
            await asyncio.gather(gone, return_exceptions=True)

    async def _pass_on(self, call: SharedCall, reader: Reader, stream: Stream) -> None:
        tee = call.tee
        while not stream.is_closed:
            message = tee.take(reader)
            if message is not None:
                if message[0] == wire.ACCEPTED and not reader.leads:
                    message = [wire.ACCEPTED, self._load(), True]
                if not stream.try_send(message):
                    await stream.send(message)
            elif reader.cut:
                self._figures.cut += 1
                behind = (
                    f"it was read so slowly that it fell {self._max_bytes} bytes behind "
                    "others that share the call (pools.default.cache.max_answer_bytes)"
                )
                await self._fail(call, reader, stream, ErrorKind.CONNECTION, behind)
                return
            elif tee.ended:
                if call.found or not reader.pays:
                    self._figures.save(call.found or tee.saved)
                stream.finish()
                return
            else:
                await tee.moved()

    async def _fail(
        self, call: SharedCall, reader: Reader, stream: Stream, kind: ErrorKind, why: str
    ) -> None:
        """Ends one reader's call; the others go on."""
        error = ProviderError(
            why,
            kind=kind,
            phase=ErrorPhase.MID_STREAM if reader.place > 1 else ErrorPhase.PRE_TOKEN,
            provider=self._pool,
            model=call.request.model.partition("/")[2],
        )
        if reader.place and stream.kind == wire.LLM_STREAM:
            heard = (call.tee.messages or [])[1 : reader.place]
            await stream.send(to_wire(Failed(error, partial(heard))))
        else:
            await stream.send(wire.failure_to_wire(error))
        stream.finish()
