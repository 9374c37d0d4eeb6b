"""One HTTP exchange with a model server, read as batches of events."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llmgine.providers.clients import Answer, Call, Client
from llmgine.providers.codecs.codec import Codec, Decoder, Target
from llmgine.providers.contracts import (
    Adjustment,
    LLMResponse,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError
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
from llmgine.providers.frames import MalformedStream, Splitter
from llmgine.providers.options import Timeouts
from llmgine.providers.ratelimits import rate_limits
from llmgine.providers.recording import Tap
from llmgine.providers.timer import WaitTimer

log = logging.getLogger(__name__)

_STREAM_TYPES = frozenset({"text/event-stream", "text/plain", "application/octet-stream", ""})
_LARGEST_BODY = 64 * 1024 * 1024
_LONGEST_CODE = 200
_REST_SECONDS = 1.0
_REST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request ready to be sent."""

    target: Target
    body: bytes
    headers: Mapping[str, str]
    timeouts: Timeouts
    adjustments: tuple[Adjustment, ...]


class Exchange:
    """Sends a request and reads its answer. `next` gives batches; the last batch ends with the end."""

    def __init__(
        self,
        client: Client,
        codec: Codec,
        prepared: Prepared,
        *,
        scrub: Callable[[str], str] = lambda text: text,
        price: Callable[[LLMResponse], Decimal | None] = lambda response: None,
        tap: Tap | None = None,
    ) -> None:
        self._client = client
        self._codec = codec
        self._prepared = prepared
        self._scrub = scrub
        self._price = price
        self._tap = tap
        self._splitter: Splitter | None = None
        self._decoder: Decoder = codec.decoder(prepared.target, prepared.adjustments)
        self._answer: Answer | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        loop = asyncio.get_running_loop()
        self._received = 0
        self._timer = WaitTimer(loop)
        self._time = loop.time
        self._begun = self._time()
        self._deadline = self._begun + prepared.timeouts.total
        self._begins = True
        self._said = False
        self._over = False
        self.reusable = False

    async def next(self) -> list[StreamEvent]:
        """The next events, in order; none once the end has been given. Fails by a `Failed` only."""
        if self._over:
            return []
        try:
            events = await self._step()
        except TimeoutError:
            events = self._broke(self._late())
        except ProviderError as error:
            events = self._broke(error)
        except Exception as error:
            # The SDKs let exceptions of their own, of the transport and of the JSON parser through.
            events = self._broke(self._translate(error))
        if isinstance(events[-1], Done | Failed):
            self._over = True
            self._sign(events[-1])
            self._untap(events[-1].error.kind.value if isinstance(events[-1], Failed) else None)
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

    async def _close(self) -> None:
        self._timer.close()
        self._untap("cancelled")
        answer, self._answer = self._answer, None
        if answer is not None:
            await answer.aclose()

    async def _step(self) -> list[StreamEvent]:
        if self._answer is None:
            prepared = self._prepared
            call = Call(prepared.target.model, prepared.body, prepared.headers, prepared.timeouts)
            self._answer = await self._timer.wait(self._client.send(call), self._limit())
            if self._tap is not None:
                self._tap.answered(self._answer.status, self._answer.headers)
            if self._answer.status >= 300:
                return [Failed(await self._refused(self._answer))]
            if self._answer.content_type == "application/json":
                return await self._whole(self._answer)
            if self._answer.content_type not in _STREAM_TYPES:
                raise self._error(
                    f"the server answered with {self._answer.content_type}, not a model's answer",
                    ErrorKind.MALFORMED,
                )
            self._chunks = self._answer.chunks()
            self._splitter = self._answer.splitter()
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

    async def _chunk(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        chunk = await self._timer.wait(anext(chunks, None), self._limit())
        self._begins = False
        if chunk is None:
            return None
        if self._tap is not None:
            self._tap.chunk(chunk)
        self._received += len(chunk)
        if self._received > _LARGEST_BODY:
            raise self._error("the answer is larger than 64 MiB", ErrorKind.MALFORMED)
        return chunk

    def _limit(self) -> float:
        timeouts = self._prepared.timeouts
        wait = self._begun + timeouts.first_byte if self._begins else self._time() + timeouts.idle
        return min(self._deadline, wait)

    async def _refused(self, answer: Answer) -> ProviderError:
        body = await self._body(answer)
        return self._codec.decode_error(
            self._prepared.target, answer.status, answer.headers, body, ErrorPhase.PRE_TOKEN
        )

    async def _whole(self, answer: Answer) -> list[StreamEvent]:
        response = self._codec.decode_body(self._prepared.target, await self._body(answer))
        if self._prepared.adjustments:
            made = (*self._prepared.adjustments, *response.adjustments)
            response = response.model_copy(update={"adjustments": made})
        return as_events(response)

    async def _body(self, answer: Answer) -> bytes:
        pieces: list[bytes] = []
        chunks = answer.chunks()
        while (chunk := await self._chunk(chunks)) is not None:
            pieces.append(chunk)
        return b"".join(pieces)

    def _untap(self, error: str | None) -> None:
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.ended(error)

    def _broke(self, error: ProviderError) -> list[StreamEvent]:
        return self._decoder.fail(error) or [Failed(error)]

    def _sign(self, event: StreamEvent) -> None:
        """Adds to the last event what the codec cannot know."""
        request_id = self._answer.request_id if self._answer else None
        if isinstance(event, Done):
            response = event.response
            known: dict[str, Any] = {"request_id": response.request_id or request_id}
            known["cost"] = self._price(response)
            if self._answer is not None:
                known["rate_limits"] = rate_limits(self._answer.headers)
            event.response = response.model_copy(update=known)
        elif isinstance(event, Failed):
            error = event.error
            error.provider, error.model = self._prepared.target.provider, self._prepared.target.model
            error.request_id = error.request_id or request_id
            error.message = self._scrub(error.message)
            error.code = error.code and self._scrub(error.code)[:_LONGEST_CODE]
            error.args = (error.message,)

    def _error(self, message: str, kind: ErrorKind, phase: ErrorPhase | None = None) -> ProviderError:
        reached = ErrorPhase.MID_STREAM if self._said else ErrorPhase.PRE_TOKEN
        return ProviderError(message, kind=kind, phase=phase or reached, scope=ErrorScope.ENDPOINT)

    def _late(self) -> ProviderError:
        timeouts = self._prepared.timeouts
        if self._time() >= self._deadline:
            return self._error(
                f"the call took longer than its deadline of {timeouts.total:g} s", ErrorKind.TIMEOUT
            )
        if self._begins:
            return self._error(f"no answer began within {timeouts.first_byte:g} s", ErrorKind.TIMEOUT)
        return self._error(f"nothing came for {timeouts.idle:g} s", ErrorKind.TIMEOUT)

    def _translate(self, error: Exception) -> ProviderError:
        import httpx2

        connect = self._prepared.timeouts.connect
        text = f"{type(error).__name__}: {error}".removesuffix(": ")
        match error:
            case httpx2.ConnectTimeout():
                return self._error(
                    f"no connection within {connect:g} s", ErrorKind.TIMEOUT, ErrorPhase.CONNECT
                )
            case httpx2.PoolTimeout():
                return self._error(
                    f"no free connection within {connect:g} s: raise the endpoint's max_connections",
                    ErrorKind.TIMEOUT,
                    ErrorPhase.CONNECT,
                )
            case httpx2.TimeoutException():
                return self._error(text, ErrorKind.TIMEOUT)
            case httpx2.ConnectError() | httpx2.UnsupportedProtocol() | httpx2.ProxyError():
                return self._error(f"no connection: {text}", ErrorKind.CONNECTION, ErrorPhase.CONNECT)
            case httpx2.DecodingError() | json.JSONDecodeError():
                return self._error(f"the answer cannot be read: {text}", ErrorKind.MALFORMED)
            case httpx2.LocalProtocolError():  # its text quotes the header, which may be a secret
                return self._error(
                    "a header cannot be sent: look at the endpoint's headers and at extra_headers",
                    ErrorKind.INVALID_REQUEST,
                    ErrorPhase.REQUEST,
                )
            case httpx2.HTTPError() | httpx2.StreamError() | OSError():
                return self._error(f"the connection broke: {text}", ErrorKind.CONNECTION)
            case _:
                return self._error(f"unexpected failure of the call: {text}", ErrorKind.INTERNAL)


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
