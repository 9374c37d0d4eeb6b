"""One request sent and its answer read, under time limits; what goes wrong comes out as one kind of error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from llmgine.providers.calls.timer import WaitTimer
from llmgine.providers.clients import Answer, Call, Client
from llmgine.providers.clients.routes import Purpose
from llmgine.providers.codecs.codec import Encoded, Target
from llmgine.providers.contracts import Adjustment
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, InvalidRequest, ProviderError
from llmgine.providers.frames import MalformedStream
from llmgine.providers.options import HEADER_RULE, Timeouts, is_header
from llmgine.providers.recording import Tap

_LARGEST_BODY = 64 * 1024 * 1024
_LONGEST_CODE = 200


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request ready to be sent."""

    target: Target
    body: bytes
    headers: Mapping[str, str]
    timeouts: Timeouts
    adjustments: tuple[Adjustment, ...]
    purpose: Purpose = "generate"
    item: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    file: str = ""


def prepared(
    encode: Callable[[], Encoded], target: Target, timeouts: Timeouts, purpose: Purpose = "generate"
) -> Prepared:
    """The request that `encode` makes, as bytes; `ProviderError` where it cannot be sent."""
    try:
        encoded = encode()
        body = json.dumps(encoded.body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        for name, text in encoded.headers.items():
            if not is_header(name, text):
                raise InvalidRequest(f"header {name!r}: {HEADER_RULE}")
    except ProviderError as error:
        error.provider, error.model = target.provider, target.model
        raise
    except (InvalidRequest, ValueError, TypeError, RecursionError) as error:
        raise ProviderError(
            f"the request cannot be sent: {error}",
            kind=ErrorKind.INVALID_REQUEST,
            phase=ErrorPhase.REQUEST,
            scope=ErrorScope.REQUEST,
            provider=target.provider,
            model=target.model,
        ) from None
    return Prepared(target, body, encoded.headers, timeouts, encoded.adjustments, purpose)


class ReadsErrors(Protocol):
    """What knows the error answers of a protocol; every codec does."""

    def decode_error(
        self, target: Target, status: int, headers: Mapping[str, str], body: bytes, phase: ErrorPhase
    ) -> ProviderError: ...


class Transfer:
    """Sends a request and reads its answer, piece by piece. It must be closed."""

    _bounded = True

    def __init__(
        self,
        client: Client,
        errors: ReadsErrors,
        prepared: Prepared,
        *,
        scrub: Callable[[str], str] = lambda text: text,
        tap: Tap | None = None,
    ) -> None:
        self._client = client
        self._errors = errors
        self._prepared = prepared
        self._scrub = scrub
        self._tap = tap
        self._answer: Answer | None = None
        self._chunks: AsyncIterator[bytes]
        loop = asyncio.get_running_loop()
        self._received = 0
        self._timer = WaitTimer(loop)
        self._time = loop.time
        begun = self._time()
        self._deadline = begun + prepared.timeouts.total
        self._first_byte = begun + prepared.timeouts.first_byte
        self._idle = prepared.timeouts.idle
        self._begins = True
        self._said = False
        self._stopped = False

    def stop(self) -> None:
        """End it from outside: whoever waits for it gets an error of kind cancelled."""
        self._stopped = True
        self._deadline = self._time()
        self._timer.expire()
        self._untap(self._late())

    async def _send(self) -> Answer:
        """The answer's head; `ProviderError` where the server refused."""
        sent = self._prepared
        call = Call(
            sent.target.model,
            sent.body,
            sent.headers,
            sent.timeouts,
            sent.purpose,
            sent.item,
            sent.query,
            sent.file,
        )
        with self._timer.until(self._limit()):
            answer = self._answer = await self._client.send(call)
        self._chunks = answer.chunks()
        if self._tap is not None:
            self._tap.answered(answer.status, answer.headers)
        if answer.status >= 300:
            raise await self._refused(answer)
        return answer

    async def _close(self) -> None:
        self._timer.close()
        if self._tap is not None:
            self._untap(self._error("the reader left", ErrorKind.CANCELLED))
        answer, self._answer = self._answer, None
        if answer is not None:
            await answer.aclose()

    async def _chunk(self) -> bytes | None:
        """The next piece of the body, None at its end."""
        with self._timer.until(self._limit()):
            chunk = await anext(self._chunks, None)
        self._begins = False
        if chunk is None:
            return None
        if self._tap is not None:
            self._tap.chunk(chunk)
        self._received += len(chunk)
        if self._bounded and self._received > _LARGEST_BODY:
            raise self._error("the answer is larger than 64 MiB", ErrorKind.MALFORMED)
        return chunk

    def _limit(self) -> float:
        limit = self._first_byte if self._begins else self._time() + self._idle
        return limit if limit < self._deadline else self._deadline

    async def _refused(self, answer: Answer) -> ProviderError:
        body = await self._body()
        return self._errors.decode_error(
            self._prepared.target, answer.status, answer.headers, body, ErrorPhase.PRE_TOKEN
        )

    async def _body(self) -> bytes:
        pieces: list[bytes] = []
        while (chunk := await self._chunk()) is not None:
            pieces.append(chunk)
        return b"".join(pieces)

    def _untap(self, error: ProviderError | None) -> None:
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.ended(error)

    def _sign_error(self, error: ProviderError) -> ProviderError:
        """Adds who failed, and takes out what nobody may see."""
        error.provider, error.model = self._prepared.target.provider, self._prepared.target.model
        error.request_id = error.request_id or (self._answer.request_id if self._answer else None)
        error.message = self._scrub(error.message)
        error.code = error.code and self._scrub(error.code)[:_LONGEST_CODE]
        error.args = (error.message,)
        return error

    def _broken(self, error: Exception) -> ProviderError:
        """What an exception that came out of reading means."""
        if isinstance(error, ProviderError):
            return error
        # The SDKs let exceptions of their own, of the transport and of the JSON parser through.
        return self._late() if isinstance(error, TimeoutError) else self._translate(error)

    def _error(self, message: str, kind: ErrorKind, phase: ErrorPhase | None = None) -> ProviderError:
        reached = ErrorPhase.MID_STREAM if self._said else ErrorPhase.PRE_TOKEN
        return ProviderError(message, kind=kind, phase=phase or reached, scope=ErrorScope.ENDPOINT)

    def _late(self) -> ProviderError:
        timeouts = self._prepared.timeouts
        if self._stopped:
            return self._error("the provider was closed during the call", ErrorKind.CANCELLED)
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
            case MalformedStream():
                return self._error(str(error), ErrorKind.MALFORMED)
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
