"""What the clients over httpx2 share: the transport, and an answer that is read as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from llmgine.providers.frames import Splitter, SseSplitter
from llmgine.providers.options import Timeouts

if TYPE_CHECKING:
    import httpx2

_KEEPALIVE = 30.0  # seconds; below the minute after which common proxies drop an idle connection
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class HttpAnswer:
    """An answer of httpx2 whose body has not been read yet. It must be closed."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers

    @property
    def content_type(self) -> str:
        """The media type alone, in lower case; "" where the server names none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def request_id(self) -> str | None:
        return self.headers.get("x-request-id") or self.headers.get("request-id")

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes in. For a failed answer, which was read before, all at once."""
        response = self._response
        if response.is_stream_consumed or "content-encoding" in response.headers:
            return response.aiter_bytes()
        # The layers above the bare stream only decode and count, at some microseconds a chunk.
        stream: AsyncIterator[bytes] = aiter(response.stream)  # type: ignore[arg-type]
        return stream

    def splitter(self) -> Splitter:
        return SseSplitter()

    async def aclose(self) -> None:
        """Drop the connection unless the body was read to its end."""
        await self._response.aclose()


def http_client(base_url: str | None, max_connections: int) -> httpx2.AsyncClient:
    """The transport of one SDK client: no time limits of its own, no redirects, its own connections."""
    import httpx2

    from llmgine.providers.clients.network import untimed

    limits = httpx2.Limits(
        max_connections=max_connections, max_keepalive_connections=100, keepalive_expiry=_KEEPALIVE
    )
    address = urlsplit(base_url or "")
    local = address.hostname in LOOPBACK
    # Certificates take 25 ms to load, and a plain connection within this machine has no use for them.
    secure = not (local and address.scheme == "http")
    # Proxies of the environment are for the world outside, not for a server in this machine. A redirect
    # to another host would take the key and the prompt along.
    return untimed(
        httpx2.AsyncClient(
            limits=limits,
            timeout=httpx2.Timeout(None),
            follow_redirects=False,
            trust_env=not local,
            verify=secure,
        )
    )


def connect_limits(timeouts: Timeouts) -> httpx2.Timeout:
    """Connecting is timed here; reading and writing by the caller, who knows what the call has come to."""
    import httpx2

    return httpx2.Timeout(connect=timeouts.connect, pool=timeouts.connect, read=None, write=None)
