"""One HTTP exchange with a model server, read as batches of events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from llmgine.providers.calls.transfer import Prepared, Transfer
from llmgine.providers.catalogue.prices import Pricer, unpriced
from llmgine.providers.clients import Client
from llmgine.providers.codecs.codec import Codec, Decoder
from llmgine.providers.codecs.ratelimits import rate_limits
from llmgine.providers.contracts import (
    LLMResponse,
    RateLimit,
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
from llmgine.providers.frames import JsonArraySplitter, Splitter
from llmgine.providers.provider import LimitsTold
from llmgine.providers.recording import Tap

log = logging.getLogger(__name__)

_STREAM_TYPES = frozenset({"text/event-stream", "text/plain", "application/octet-stream", ""})
_ENDS = (Done, Failed)
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
        told: LimitsTold | None = None,
    ) -> None:
        super().__init__(client, codec, prepared, scrub=scrub, tap=tap)
        self._codec = codec
        self._told = told
        self._limits: tuple[RateLimit, ...] = ()
        self._price = price
        self._splitter: Splitter | None = None
        self._decoder: Decoder = codec.decoder(prepared.target, prepared.adjustments)
        self._over = False
        self.reusable = False

    async def next(self) -> list[StreamEvent]:
        """The next events, in order; none once the end has been given. Fails by a `Failed` only."""
        if self._over:
            return []
        try:
            events = [] if self._splitter is not None else await self._begin()
            while not events:
                events = self._decoded(await self._chunk())
        except Exception as error:
            events = self._broke(self._broken(error))
        self._said = True
        last = events[-1]
        if isinstance(last, _ENDS):
            await self._end(last)
        return events

    async def use_up(self) -> None:
        """Read what little is left after the end, so that the connection can serve again; then close."""
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

    async def _begin(self) -> list[StreamEvent]:
        """Send the request: the events of an answer that came in one piece, none where it is streamed."""
        answer = await self._send()
        self._limits = rate_limits(answer.headers)
        if self._limits and self._told is not None:
            self._told(self._prepared.target.model, self._limits)
        splitter = answer.splitter()
        if answer.content_type == "application/json":
            if not isinstance(splitter, JsonArraySplitter):
                return await self._whole()
        elif answer.content_type not in _STREAM_TYPES:
            raise self._error(
                f"the server answered with {answer.content_type}, not a model's answer",
                ErrorKind.MALFORMED,
            )
        self._splitter = splitter
        return []

    def _decoded(self, chunk: bytes | None) -> list[StreamEvent]:
        """The events that a piece of the body, or its end, brings.

        Whether the answer is whole is told by the protocol's end marker alone: a frame that was cut off
        before it makes the answer truncated, one that was cut off behind it takes nothing from it.
        """
        splitter = self._splitter
        assert splitter is not None
        if chunk is None:
            splitter.end()
            return self._decoder.end()
        events: list[StreamEvent] = []
        decode = self._decoder.feed
        for name, data in splitter.feed(chunk):
            events += decode(name, data)
        return events

    async def _end(self, last: Done | Failed) -> None:
        self._over = True
        self._sign(last)
        self._untap(last.error if isinstance(last, Failed) else None)
        self.reusable = isinstance(last, Done) and self._splitter is not None
        if not self.reusable:
            await self.aclose()

    async def _whole(self) -> list[StreamEvent]:
        response = self._codec.decode_body(self._prepared.target, await self._body())
        if self._prepared.adjustments:
            made = (*self._prepared.adjustments, *response.adjustments)
            response = response.model_copy(update={"adjustments": made})
        return as_events(response)

    def _broke(self, error: ProviderError) -> list[StreamEvent]:
        return self._decoder.fail(error) or [Failed(error)]

    def _sign(self, event: Done | Failed) -> None:
        """Adds to the last event what the codec cannot know."""
        if isinstance(event, Done):
            response, answer = event.response, self._answer
            known: dict[str, Any] = {"cost": self._price(self._prepared.target.model, response)}
            if answer is not None:
                known["request_id"] = response.request_id or answer.request_id
                known["rate_limits"] = self._limits
            event.response = response.model_copy(update=known)
        else:
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
