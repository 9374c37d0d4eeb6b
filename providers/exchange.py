"""One HTTP exchange with a model server, read as batches of events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from llmgine.providers.clients import Answer, Client
from llmgine.providers.codecs.codec import Codec, Decoder
from llmgine.providers.contracts import (
    LLMResponse,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from llmgine.providers.errors import ErrorKind, ProviderError
from llmgine.providers.events import (
    Done,
    Failed,
    PartDone,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)
from llmgine.providers.frames import JsonArraySplitter, MalformedStream, Splitter
from llmgine.providers.prices import Pricer, unpriced
from llmgine.providers.ratelimits import rate_limits
from llmgine.providers.recording import Tap
from llmgine.providers.transfer import Prepared, Transfer

log = logging.getLogger(__name__)

_STREAM_TYPES = frozenset({"text/event-stream", "text/plain", "application/octet-stream", ""})
_REST_SECONDS = 1.0
_REST_BYTES = 64 * 1024


class Exchange(Transfer):
    """Reads an answer as events. `next` gives batches; the last batch ends with the end."""

    def __init__(
        self,
        client: Client,
        codec: Codec,
        prepared: Prepared,
        *,
        scrub: Callable[[str], str] = lambda text: text,
        price: Pricer = unpriced,
        tap: Tap | None = None,
    ) -> None:
        super().__init__(client, codec, prepared, scrub=scrub, tap=tap)
        self._codec = codec
        self._price = price
        self._splitter: Splitter | None = None
        self._decoder: Decoder = codec.decoder(prepared.target, prepared.adjustments)
        self._chunks: AsyncIterator[bytes] | None = None
        self._over = False
        self.reusable = False

    async def next(self) -> list[StreamEvent]:
        """The next events, in order; none once the end has been given. Fails by a `Failed` only."""
        if self._over:
            return []
        try:
            events = await self._step()
        except Exception as error:
            events = self._broke(self._broken(error))
        if isinstance(events[-1], Done | Failed):
            self._over = True
            self._sign(events[-1])
            self._untap(events[-1].error if isinstance(events[-1], Failed) else None)
            self.reusable = isinstance(events[-1], Done) and self._chunks is not None
            if not self.reusable:
                await self.aclose()
        self._said = True
        return events

    async def use_up(self) -> None:
        """Read what little is left after the end, so that the connection can serve again; then close."""
        assert self._chunks is not None
        left = _REST_BYTES
        try:
            async with asyncio.timeout(_REST_SECONDS):
                async for chunk in self._chunks:
                    left -= len(chunk)
                    if left < 0:
                        break
        except Exception as error:
            # The answer is whole already; only the connection is not worth keeping.
            log.debug("the connection is dropped after its answer: %s", type(error).__name__)
        finally:
            await self._close()

    async def aclose(self) -> None:
        """Break off: the server sees the connection close. An exchange being used up closes itself."""
        if not self.reusable:
            await self._close()

    async def _step(self) -> list[StreamEvent]:
        if self._answer is None:
            answer = await self._send()
            self._splitter = answer.splitter()
            if answer.content_type == "application/json":
                if not isinstance(self._splitter, JsonArraySplitter):
                    return await self._whole(answer)
            elif answer.content_type not in _STREAM_TYPES:
                raise self._error(
                    f"the server answered with {answer.content_type}, not a model's answer",
                    ErrorKind.MALFORMED,
                )
            self._chunks = answer.chunks()
        return await self._read()

    async def _read(self) -> list[StreamEvent]:
        assert self._chunks is not None
        assert self._splitter is not None
        feed, decode = self._splitter.feed, self._decoder.feed
        events: list[StreamEvent] = []
        while not events:
            chunk = await self._chunk(self._chunks)
            if chunk is None:
                return self._decoder.end() or self._broke(
                    self._error("the answer is empty", ErrorKind.TRUNCATED)
                )
            try:
                for name, data in feed(chunk):
                    events += decode(name, data)
            except MalformedStream as error:
                self._said = self._said or bool(events)
                events += self._broke(self._error(str(error), ErrorKind.MALFORMED))
        return events

    async def _whole(self, answer: Answer) -> list[StreamEvent]:
        response = self._codec.decode_body(self._prepared.target, await self._body(answer))
        if self._prepared.adjustments:
            made = (*self._prepared.adjustments, *response.adjustments)
            response = response.model_copy(update={"adjustments": made})
        return as_events(response)

    def _broke(self, error: ProviderError) -> list[StreamEvent]:
        return self._decoder.fail(error) or [Failed(error)]

    def _sign(self, event: StreamEvent) -> None:
        """Adds to the last event what the codec cannot know."""
        if isinstance(event, Done):
            response, answer = event.response, self._answer
            known: dict[str, Any] = {"cost": self._price(self._prepared.target.model, response)}
            if answer is not None:
                known["request_id"] = response.request_id or answer.request_id
                known["rate_limits"] = rate_limits(answer.headers)
            event.response = response.model_copy(update=known)
        elif isinstance(event, Failed):
            self._sign_error(event.error)


def as_events(response: LLMResponse) -> list[StreamEvent]:
    """A whole response as the stream it would have been."""
    events: list[StreamEvent] = []
    for index, part in enumerate(response.message.parts):
        match part:
            case TextPart(text=text) | RefusalPart(text=text) if text:
                events.append(TextDelta(index, text))
            case ThinkingPart(text=text) if text:
                events.append(ThinkingDelta(index, text))
            case ToolCallPart():
                events.append(ToolCallStart(index, part.id, part.name))
                if part.raw_arguments:
                    events.append(ToolCallDelta(index, part.raw_arguments))
        events.append(PartDone(index, part))
    events.append(Done(response))
    return events
