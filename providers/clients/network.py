"""The connections of httpx2 without what costs more than their work.

The transport sets up a time limit for each piece that it reads or writes, also where there is none, and
that costs as much as the piece. Who calls here times whole waits by itself. And twice in each call its pool
looks at every connection that is idle, whether its server has closed it, by a long way to the socket.
"""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import suppress
from typing import Any, Final

import anyio
import httpcore2
import httpx2

# A piece of more bytes goes at once.
_HELD: Final = 64 << 10


def untimed(client: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """The client, whose connections from now on set up a time limit only where a request has one."""
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx2.AsyncHTTPTransport):
            transport._pool._network_backend = Network()
    return client


class Network(httpcore2.AnyIOBackend):
    """Connects as the transport does by itself."""

    async def connect_tcp(self, *arguments: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        return Untimed(await super().connect_tcp(*arguments, **options))

    async def connect_unix_socket(self, *arguments: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        return Untimed(await super().connect_unix_socket(*arguments, **options))


class Untimed(httpcore2.AsyncNetworkStream):
    """A connection that is read and written straight where no time limit is asked for.

    What is written leaves as one piece when an answer is read, so the head of a request does not go before
    its body.
    """

    def __init__(self, timed: Any) -> None:
        self._timed = timed
        self._bytes: anyio.abc.ByteStream = timed._stream
        self._arriving = _watch(timed.get_extra_info("socket"))
        self._unsent: list[bytes] = []

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._unsent:
            # A server that reads no more may have answered all the same.
            with suppress(httpcore2.WriteError):
                await self._send()
        if timeout is not None:
            return bytes(await self._timed.read(max_bytes, timeout))
        try:
            return await self._bytes.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore2.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._unsent.append(buffer)
        if timeout is not None or len(buffer) > _HELD:
            await self._send(timeout)

    async def _send(self, timeout: float | None = None) -> None:
        data = b"".join(self._unsent)
        self._unsent.clear()
        if timeout is not None:
            await self._timed.write(data, timeout)
            return
        try:
            if data:
                await self._bytes.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore2.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await self._timed.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        return Untimed(await self._timed.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._arriving is not None:
            return bool(self._arriving.poll(0))
        return self._timed.get_extra_info(info)


def _watch(connection: socket.socket | None) -> select.poll | None:
    """Tells whether something arrives at the connection; None where that cannot be asked of this system."""
    if connection is None or not hasattr(select, "poll"):
        return None
    watch = select.poll()
    watch.register(connection.fileno(), select.POLLIN)
    return watch
