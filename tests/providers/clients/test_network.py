"""Connections of the transport that set up no time limit where none is asked for."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpcore2
import httpx2
import pytest

from llmgine.providers.clients.http import http_client
from llmgine.providers.clients.network import Network, Untimed

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n"


@asynccontextmanager
async def client_of(serve: Serve) -> AsyncIterator[tuple[httpx2.AsyncClient, str]]:
    """A client, and the address of a server in this process that answers so."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1")
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, http_client(url, 4) as client:
        yield client, url


async def test_pieces_are_read_and_written_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport's own reading and writing, each piece with a limit, is not used for a whole exchange."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            assert (await reader.readuntil(b"0123456789")).endswith(b"0123456789")
            writer.write(HEAD + b"abcdef")

    def unused(*arguments: Any) -> None:
        raise AssertionError("a time limit was set up that nobody asked for")

    async with client_of(serve) as (client, url):
        await client.post(url, content=b"0123456789")
        monkeypatch.setattr("anyio.fail_after", unused)
        assert (await client.post(url, content=b"0123456789")).text == "abcdef"


async def test_a_limit_that_a_request_has_holds() -> None:
    """Who asks for a time limit gets it."""
    silent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()

    async with client_of(serve) as (client, url):
        with pytest.raises(httpx2.ReadTimeout):
            await client.get(url, timeout=httpx2.Timeout(None, read=0.01))
        silent.set()


async def test_a_connection_that_its_server_has_closed_meanwhile_is_not_used_again() -> None:
    """The next request goes over another, and does not fail first."""
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"abcdef")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with client_of(serve) as (client, url):
        for _ in range(2):
            assert (await client.get(url)).text == "abcdef"
            await closed.wait()
            closed.clear()


@pytest.mark.parametrize("sent", [b"", HEAD + b"abc"])
async def test_a_connection_that_ends_too_early_is_the_transports_error(sent: bytes) -> None:
    """Before the answer and in the midst of it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)

    async with client_of(serve) as (client, url):
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(url)


async def test_a_connection_that_breaks_is_the_transports_error() -> None:
    """A reset is no end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"abc")
        await writer.drain()
        writer.transport.abort()

    async with client_of(serve) as (client, url):
        with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
            await client.get(url)


class Closed:
    """A connection of anyio that has been closed under whoever uses it."""

    async def receive(self, most: int) -> bytes:
        import anyio

        raise anyio.ClosedResourceError

    async def send(self, data: bytes) -> None:
        import anyio

        raise anyio.BrokenResourceError


class Answering:
    """A connection of anyio whose other end answers."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def receive(self, most: int) -> bytes:
        return b"an answer"

    async def send(self, data: bytes) -> None:
        self.sent.append(data)


class Timed:
    """The transport's own connection."""

    def __init__(self, stream: Closed | Answering | None = None) -> None:
        self._stream = stream or Closed()

    async def start_tls(self, *arguments: Any) -> Timed:
        return self

    def get_extra_info(self, info: str) -> Any:
        return None


async def test_what_fails_below_is_told_as_the_transport_tells_it() -> None:
    """Reading and writing have an error each."""
    connection = Untimed(Timed())
    with pytest.raises(httpcore2.ReadError):
        await connection.read(1)
    with pytest.raises(httpcore2.WriteError):
        await connection.write(bytes(100_000))


async def test_what_is_written_leaves_in_one_piece() -> None:
    """A request's head goes with its body, once the answer is read; a large body goes at once."""
    below = Answering()
    connection = Untimed(Timed(below))
    for piece in (b"head ", b"body"):
        await connection.write(piece)
    assert below.sent == []
    assert await connection.read(100) == b"an answer"
    assert below.sent == [b"head body"]
    await connection.write(b"head ")
    await connection.write(bytes(100_000))
    assert below.sent[1:] == [b"head " + bytes(100_000)]


async def test_an_answer_is_read_though_the_request_could_not_be_sent() -> None:
    """A server may refuse a request before it has read all of it."""
    below = Answering()
    connection = Untimed(Timed(below))
    await connection.write(b"head")
    below.send = Closed().send  # type: ignore[method-assign]
    assert await connection.read(100) == b"an answer"


async def test_a_connection_stays_so_when_it_becomes_secure() -> None:
    """What TLS is put upon is read and written alike."""
    assert isinstance(await Untimed(Timed()).start_tls(ssl.create_default_context()), Untimed)


async def test_connections_through_proxies_are_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever way a request takes."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    async with http_client("https://api.example.com", 4) as client:
        ways: list[Any] = [one for one in (client._transport, *client._mounts.values()) if one is not None]
        assert len(ways) > 1
        assert all(isinstance(way._pool._network_backend, Network) for way in ways)
