"""The official SDK clients, pooled: one per SDK, endpoint and key in each process and loop.

A client does authentication, URLs, transport and the reuse of connections. Bodies go in and come
out as bytes: the SDKs' own event models cost many times what our decoders do.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from llmgine.providers.options import Api, Timeouts

if TYPE_CHECKING:
    import httpx2

Sdk = Literal["openai", "anthropic"]

_PATHS: dict[Api, tuple[Sdk, str]] = {
    "openai-chat": ("openai", "/chat/completions"),
    "anthropic-messages": ("anthropic", "/v1/messages"),
}
_VENDORS: dict[Sdk, str] = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
_KEEPALIVE = 30.0  # seconds; below the minute after which common proxies drop an idle connection
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Site:
    """Where a client goes and as whom; equal sites share one client. No `base_url` is the vendor's own."""

    api: Api
    base_url: str | None
    key: SecretStr | None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    max_connections: int = 1000


class Answer:
    """A server's answer whose body has not been read yet. It must be closed."""

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

    async def aclose(self) -> None:
        """Drop the connection unless the body was read to its end."""
        await self._response.aclose()


class Client:
    """One SDK client. Use `lease` to get one and `release` to give it back."""

    def __init__(self, site: Site) -> None:
        self._sdk_name, self._path = _PATHS[site.api]
        self._sdk = load(site.api)
        self._sdk_client: Any = _make(self._sdk_name, self._sdk, site)
        self._headers = _request_headers(self._sdk, site)

    async def send(self, body: bytes, headers: Mapping[str, str], timeouts: Timeouts) -> Answer:
        """Post the body and return once the answer's head is there, whatever its status.

        Raises what the transport raises (`httpx2.HTTPError`, `OSError`), never an SDK's class.
        """
        import httpx2

        # Reading and writing are timed by the caller, who knows what the call has come to.
        limits = httpx2.Timeout(connect=timeouts.connect, pool=timeouts.connect, read=None, write=None)
        options = {"headers": {**self._headers, **headers}, "timeout": limits}
        try:
            response = await self._sdk_client.post(
                self._path,
                cast_to=httpx2.Response,
                content=body,
                options=options,
                stream=True,
                stream_cls=self._sdk.AsyncStream,
            )
        except self._sdk.APIStatusError as error:
            return Answer(error.response)
        except self._sdk.APIConnectionError as error:
            raise (error.__cause__ or httpx2.TransportError("the connection failed")) from None
        return Answer(response)

    async def aclose(self) -> None:
        await self._sdk_client.close()


@dataclass
class _Shared:
    client: Client
    users: int = 0


_clients: dict[tuple[Site, asyncio.AbstractEventLoop], _Shared] = {}


def lease(site: Site) -> Client:
    """The client of this site for the running loop, made when there is none yet."""
    key = (site, asyncio.get_running_loop())
    shared = _clients.get(key)
    if shared is None:
        _forget_closed_loops()
        shared = _clients[key] = _Shared(Client(site))
    shared.users += 1
    return shared.client


async def release(site: Site) -> None:
    """Give one lease back; the last one closes the client and its connections."""
    key = (site, asyncio.get_running_loop())
    shared = _clients.get(key)
    if shared is None:
        return
    shared.users -= 1
    if shared.users == 0:
        del _clients[key]
        await shared.client.aclose()


def load(api: Api) -> Any:
    """The one SDK that speaks `api`, imported now if it was not."""
    return importlib.import_module(_PATHS[api][0])


def _forget_closed_loops() -> None:
    for key in [key for key in _clients if key[1].is_closed()]:
        del _clients[key]


def _make(name: Sdk, sdk: Any, site: Site) -> Any:
    import httpx2

    limits = httpx2.Limits(
        max_connections=site.max_connections, max_keepalive_connections=100, keepalive_expiry=_KEEPALIVE
    )
    local = site.base_url is not None and urlsplit(site.base_url).hostname in _LOOPBACK
    # Proxies of the environment are for the world outside, not for a server in this machine. A redirect
    # to another host would take the key and the prompt along.
    http = httpx2.AsyncClient(
        limits=limits, timeout=httpx2.Timeout(None), follow_redirects=False, trust_env=not local
    )
    key = site.key.get_secret_value() if site.key else "none"
    common = {
        "api_key": key,
        "base_url": site.base_url or _VENDORS[name],  # with None the SDK asks the environment
        "max_retries": 0,
        "http_client": http,
        "default_headers": dict(site.headers),
    }
    client = (
        sdk.AsyncAnthropic(**common, open_telemetry=False)
        if name == "anthropic"
        else sdk.AsyncOpenAI(**common)
    )
    # The SDKs add the headers of OPENAI_CUSTOM_HEADERS and ANTHROPIC_CUSTOM_HEADERS for every server,
    # in place of its key where they name one; what the settings say holds.
    client._custom_headers = dict(site.headers)
    return client


def _request_headers(sdk: Any, site: Site) -> dict[str, Any]:
    headers: dict[str, Any] = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    if site.key is None:
        headers["Authorization"] = sdk.Omit()
    if site.base_url is not None:
        # The SDK reads these from the environment, and they are nobody's business but OpenAI's.
        given = {name.lower() for name, _ in site.headers}
        private = ("OpenAI-Organization", "OpenAI-Project")
        headers |= {name: sdk.Omit() for name in private if name.lower() not in given}
    return headers
