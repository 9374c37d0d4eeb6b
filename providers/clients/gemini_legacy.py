"""Gemini over the end-of-life google-generativeai package: blocking, over REST, in threads.

What it cannot say stands in `providers.codecs.gemini.limits`.
"""

from __future__ import annotations

import asyncio
import importlib
import warnings
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llmgine.providers.clients.client import Call
from llmgine.providers.clients.http import LOOPBACK
from llmgine.providers.clients.pool import Site
from llmgine.providers.clients.routes import address_of
from llmgine.providers.errors import ErrorKind, ErrorPhase, ModelNotInstalled, ProviderError
from llmgine.providers.frames import Splitter, WholeFrames

if TYPE_CHECKING:
    from llmgine.providers.clients.gemini_legacy_wire import Line


def load_sdk() -> Any:
    """The package; that it is past its end, which it warns of, is known here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("google.generativeai")
        except ModuleNotFoundError:
            raise ModelNotInstalled(
                "the transport google-generativeai needs its package: pip install "
                '"llmgine-ray[google-generativeai]", or leave `transport` out for google-genai'
            ) from None


class GeminiLegacyAnswer:
    """An answer that the package has read into objects of its own; each is one frame of JSON again."""

    def __init__(
        self, client: GeminiLegacyClient, line: Line, status: int, headers: Mapping[str, str]
    ) -> None:
        self._client = client
        self._line = line
        self.status = status
        self.headers = headers
        self.content_type = ""
        self.request_id: str | None = None
        self.body: bytes | None = None
        self.frames: Iterator[bytes] = iter(())
        self.close: Callable[[], None] = lambda: None
        self._read = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """The frames as they come in, or a body that was read before at once."""
        if self.body is not None:
            self._read = True
            yield self.body
            return
        while (frame := await self._client.run(self._line, lambda: next(self.frames, None))) is not None:
            yield frame
        self._read = True

    def splitter(self) -> Splitter:
        return WholeFrames()

    async def aclose(self) -> None:
        """Drop the connection unless the body was read to its end."""
        if not self._read:
            self._read = True
            self._line.cut()
            self._client.later(self.close)


class GeminiLegacyClient:
    """A client of the package's own, apart from its global configuration."""

    def __init__(self, sdk: Any, site: Site) -> None:
        from google.generativeai.client import _ClientManager

        from llmgine.providers.clients.gemini_legacy_wire import prepare

        self._protos: Any = sdk.protos
        self._headers = site.headers
        # A waiting call holds its thread.
        self._threads = ThreadPoolExecutor(site.max_connections, thread_name_prefix="gemini-legacy")
        base_url = address_of("gemini", site.base_url).removesuffix("/v1beta")
        manager = _ClientManager()
        manager.configure(
            api_key=site.key.get_secret_value() if site.key else "none",
            transport="rest",
            client_options={"api_endpoint": base_url},
        )
        self._sdk_client: Any = manager.make_client("generative")
        self._session = self._sdk_client.transport._session
        self._session._max_refresh_attempts = 0  # a refused key is refused, and not asked for again
        prepare(self._session, site.max_connections, local=urlsplit(base_url).hostname in LOOPBACK)

    async def send(self, call: Call) -> GeminiLegacyAnswer:
        """Make the call and return once the answer's head is there, whatever its status.

        Raises what the transport raises, as `httpx2.HTTPError` or `OSError`, never a class of the package.
        """
        from llmgine.providers.clients.gemini_legacy_wire import Line

        line = Line()
        posting = self._threads.submit(line.run, lambda: self._post(call, line))
        try:
            answer: GeminiLegacyAnswer = await asyncio.wrap_future(posting)
        except BaseException:
            line.cut()
            posting.add_done_callback(_close_unwanted)
            raise
        return answer

    async def aclose(self) -> None:
        self._threads.shutdown(wait=False)
        self._sdk_client.transport.close()

    async def run(self, line: Line, work: Callable[[], Any]) -> Any:
        """The result of a blocking piece of work of one call."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, line.run, work)

    def later(self, work: Callable[[], None]) -> None:
        """Have something done in a thread: it may wait for another that is woken just now."""
        try:
            self._threads.submit(work)
        except RuntimeError:  # the client is closed
            work()

    def _post(self, call: Call, line: Line) -> GeminiLegacyAnswer:
        from google.api_core.exceptions import GoogleAPICallError
        from requests.exceptions import TooManyRedirects

        headers = {name.lower(): value for name, value in (*self._headers, *call.headers.items())}
        options: dict[str, Any] = {
            "timeout": call.timeouts.connect,
            "retry": None,
            "metadata": list(headers.items()),
        }
        try:
            if call.purpose == "embed":
                request = self._request(call, self._protos.BatchEmbedContentsRequest)
                return self._embedded(self._sdk_client.batch_embed_contents(request, **options), line)
            request = self._request(call, self._protos.GenerateContentRequest)
            stream = self._sdk_client.stream_generate_content(request, **options)
        except (GoogleAPICallError, TooManyRedirects) as error:
            return self._refused(error, line)
        except OSError as error:
            raise _connecting(error) from None
        answer = GeminiLegacyAnswer(self, line, stream._response.status_code, stream._response.headers)
        answer.frames, answer.close = _frames(stream), stream._response.close
        return answer

    def _request(self, call: Call, kind: Any) -> Any:
        from google.protobuf.json_format import ParseError

        try:
            request = kind.from_json(call.body.decode())
        except ParseError as error:
            raise ProviderError(
                f"google-generativeai cannot send this: {error}; use the transport google-genai",
                kind=ErrorKind.UNSUPPORTED,
                phase=ErrorPhase.REQUEST,
            ) from None
        request.model = call.model if "/" in call.model else f"models/{call.model}"
        return request

    def _embedded(self, response: Any, line: Line) -> GeminiLegacyAnswer:
        answer = GeminiLegacyAnswer(self, line, 200, {"content-type": "application/json"})
        answer.content_type, answer.body = "application/json", _json(response)
        return answer

    def _refused(self, error: Any, line: Line) -> GeminiLegacyAnswer:
        response = error.response
        answer = GeminiLegacyAnswer(self, line, response.status_code, response.headers)
        answer.body = response.content
        return answer


def _close_unwanted(posting: Future[GeminiLegacyAnswer]) -> None:
    if not posting.cancelled() and posting.exception() is None:
        posting.result().close()


def _frames(stream: Any) -> Iterator[bytes]:
    """Each object of the stream as JSON; a body that ends within one just ends."""
    import httpx2

    read = stream._grab
    # An error is no answer to the package, which would read it as an empty one.
    stream._grab = lambda: _error(stream._ready_objs) or read()
    given = 0
    while True:
        try:
            message = next(stream, None)
        except ValueError as error:
            # It takes white space after the array for another answer.
            if "Unfinished stream" in str(error) or (given and not stream._level):
                return
            raise httpx2.DecodingError(f"{type(error).__name__}: {error}") from None
        except OSError as error:
            raise httpx2.ReadError(f"{type(error).__name__}: {error}") from None
        except Exception as error:  # of the package's JSON reader
            raise httpx2.DecodingError(f"{type(error).__name__}: {error}") from None
        if message is None:
            return
        given += 1
        yield message if isinstance(message, bytes) else _json(message)


def _error(waiting: deque[str]) -> bytes | None:
    """The next of the objects that wait to be read, if it is an error."""
    return waiting.popleft().encode() if waiting[0].startswith('{"error":') else None


def _json(message: Any) -> bytes:
    """A protocol buffer as the protocol's own JSON, without what has no value."""
    from google.protobuf.json_format import MessageToJson

    text: str = MessageToJson(type(message).pb(message), indent=None, ensure_ascii=False)
    return text.encode()


def _connecting(error: OSError) -> Exception:
    """What the transport raised before any answer, in the terms of httpx2."""
    import httpx2
    from requests.exceptions import ConnectionError, ConnectTimeout

    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ConnectTimeout):
        return httpx2.ConnectTimeout(text)
    if isinstance(error, ConnectionError) and "NewConnectionError" in text:
        return httpx2.ConnectError(text)
    return httpx2.ReadError(text)
