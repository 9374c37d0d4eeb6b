"""Equal requests that come to one actor: answered from what is kept, or by one call for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, cast

from llmgine.actors.link import LinkError, Stream, StreamHandler
from llmgine.actors.pools import wire
from llmgine.actors.pools.caching.answers import Answer, sealed
from llmgine.actors.pools.caching.flight import Reader
from llmgine.actors.pools.caching.hashing import RequestHash
from llmgine.actors.pools.caching.options import CacheOptions
from llmgine.actors.pools.pieces import written_head
from llmgine.actors.pools.serving.kept import KeptAnswers
from llmgine.actors.pools.serving.reading import Figures, Reading, SharedCall
from llmgine.actors.pools.serving.tee import Tee
from llmgine.providers import EmbeddingRequest, InvalidRequest, LLMRequest
from llmgine.telemetry import OpenSpan
from llmgine.telemetry import names as spans

_Request = LLMRequest | EmbeddingRequest
_Read = Callable[[Any], _Request]
_Terms = tuple[Any, ...]


class Sharing:
    """Stands before what makes calls. Who is not asked to share a request's answer has no part in it."""

    def __init__(
        self,
        pool: str,
        hashes: RequestHash,
        options: CacheOptions,
        kept: KeptAnswers,
        load: Callable[[], int],
        span: Callable[[str, bytes | None], OpenSpan],
    ) -> None:
        self._hashes = hashes
        self._options = options
        self._kept = kept
        self._load = load
        self._span = span
        self._calls: dict[_Terms, SharedCall] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._figures = Figures()
        self._reading = Reading(pool, options.max_answer_bytes, load, self._figures)
        self._readers = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def around(self, read: _Read, make: StreamHandler) -> StreamHandler:
        """`make` for requests that are not answered otherwise."""
        return functools.partial(self._serve, read, make)

    def close(self) -> None:
        """Nothing more is shared or answered from here."""
        self._closed = True

    async def ended(self) -> None:
        """Waits until all that are being answered have their answers, and the store what is to be kept."""
        await self._idle.wait()
        await self._kept.written()

    async def clear(self) -> None:
        """No request that comes now is answered with what was said to an earlier one, but from the store."""
        self._calls.clear()
        await self._kept.clear()

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._kept.aclose()

    def statistics(self) -> dict[str, Any]:
        """What came of the requests that may be answered with another's answer, and what is going on."""
        now = {"calls": len(self._tasks), "answering": self._readers}
        return {**asdict(self._figures), **self._kept.statistics(), **now}

    async def _serve(self, read: _Read, make: StreamHandler, stream: Stream) -> None:
        body, _, _, asked = stream.header
        key = wire.answer_key(asked)
        if key is None or self._closed:
            await make(stream)
            return
        answer = self._kept.here(key)
        if answer is not None:
            self._figures.hits += 1
            with self._answering(), self._spanned(stream.header, "kept"), contextlib.suppress(LinkError):
                await _tell(stream, self._load(), answer)
                self._figures.save(answer.saved)
                stream.finish()
            return
        request = self._request(read, body, key)
        if request is None:
            await make(stream)
            return
        await self._share(stream, make, request, wire.Ask.from_wire(asked))

    def _request(self, read: _Read, body: Any, key: bytes) -> _Request | None:
        """The request, where it is what the caller says: an answer is kept for no other than its own."""
        try:
            request = read(body)
        except InvalidRequest:
            return None
        return request if self._hashes.of(request, body) == key else None

    async def _share(self, stream: Stream, make: StreamHandler, request: _Request, ask: wire.Ask) -> None:
        terms = _terms(stream.kind, request, ask)
        call = self._calls.get(terms)
        reader = call.tee.join() if call is not None and call.suits(ask.priority) else None
        if call is not None and reader is not None:
            self._figures.joins += 1
            with self._answering(), self._spanned(stream.header, "shared"):
                await self._reading.read(call, reader, stream, request.deadline)
            return
        call, reader = self._begin(stream, make, request, ask, terms)
        with self._answering():
            await self._reading.read(call, reader, stream, request.deadline)

    def _begin(
        self, stream: Stream, make: StreamHandler, request: _Request, ask: wire.Ask, terms: _Terms
    ) -> tuple[SharedCall, Reader]:
        body, session, trace, _ = stream.header
        waits = [wait for wait in (ask.wait, request.deadline) if wait is not None]
        asked = wire.Ask(ask.priority, min(waits, default=None), queue=ask.queue)
        assert ask.cache is not None
        tee = Tee(
            stream,
            [_patient(request, body), session, trace, asked.to_wire()],
            self._options.max_answer_bytes,
            lambda: self._over(terms, call),
        )
        call = SharedCall(tee, request, ask.cache, self._kept.generation, ask.priority)
        reader = tee.join()
        assert reader is not None
        if self._options.share:
            self._calls[terms] = call
        task = asyncio.create_task(self._make(call, make), name=f"shared {stream.kind}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return call, reader

    async def _make(self, call: SharedCall, make: StreamHandler) -> None:
        """Makes the call, unless the store has its answer."""
        tee = call.tee
        try:
            answer = await self._kept.find(call.key)
            if answer is not None:
                self._figures.store_hits += 1
                call.found = answer.saved
                with self._spanned(tee.header, "stored"):
                    await _tell(tee, self._load(), answer)
            elif not tee.is_closed:
                self._figures.misses += 1
                await make(cast("Stream", tee))
        except LinkError:
            pass  # All who would read it have left.
        finally:
            tee.finish()

    def _over(self, terms: _Terms, call: SharedCall) -> None:
        """All of it was said, or nothing more comes."""
        if self._calls.get(terms) is call:
            del self._calls[terms]
        messages = call.tee.messages
        if call.found is None and messages and len(messages) > 1:
            body = sealed(call.request, messages[1:])
            if body is not None:
                self._kept.keep(call.key, body, call.generation)

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """One more is being answered."""
        self._readers += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                self._idle.set()

    def _spanned(self, header: Any, how: str) -> OpenSpan:
        _, session, trace, _ = header
        span = self._span(session, trace)
        span.set({spans.LLMGINE_CACHED: True, spans.LLMGINE_CACHE_PLACE: how})
        return span


def _terms(kind: str, request: _Request, ask: wire.Ask) -> _Terms:
    """What those who share a call agree in: the question, and how the answer may come."""
    if isinstance(request, LLMRequest):
        return kind, ask.cache, request.mid_stream, request.idle_timeout
    return kind, ask.cache


def _patient(request: _Request, body: Any) -> Any:
    """The request with this wire form as one without a deadline."""
    request = request.model_copy(update={"deadline": None})
    if isinstance(request, LLMRequest):
        return [written_head(request), *body[1:]]
    return request.model_dump_json().encode()


async def _tell(stream: Stream | Tee, load: int, answer: Answer) -> None:
    for message in ([wire.ACCEPTED, load, True], *answer.messages):
        if not stream.try_send(message):
            await stream.send(message)
