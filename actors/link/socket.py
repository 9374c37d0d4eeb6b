"""Links between processes: unix sockets on one node, TCP between nodes."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from llmgine.actors.link.address import Address, Identity
from llmgine.actors.link.auth import NONCE_BYTES, Accepting, Dialling, Limits, Party
from llmgine.actors.link.connection import LinkConnection
from llmgine.actors.link.endpoint import LinkEndpoint
from llmgine.actors.link.errors import LinkError
from llmgine.actors.link.folder import socket_file
from llmgine.actors.link.interfaces import StreamHandler, Wire
from llmgine.actors.link.options import LinkOptions
from llmgine.actors.link.tls import Tls
from llmgine.actors.link.wire import SocketWire

BACKLOG = 1024
NO_HANDLERS: Mapping[str, StreamHandler] = {}


class SocketTransport:
    """Listens on a unix socket in `folder`, on TCP too if `tcp_host` is given; dials whichever reaches.

    `secret` is the runtime's; who does not know it is dropped. `tcp_host` is the address of this node
    that other nodes dial; what passes there is encrypted if `tls` is given.
    """

    def __init__(
        self,
        secret: bytes,
        node: str,
        folder: Path,
        *,
        tcp_host: str | None = None,
        options: LinkOptions | None = None,
        tls: Tls | None = None,
    ) -> None:
        if tcp_host in ("0.0.0.0", "::", ""):
            raise LinkError(f"tcp_host {tcp_host!r} cannot be dialled; give the node's own address")
        self.options = options or LinkOptions()
        self.node = node
        self._secret = secret
        self._folder = folder
        self._tcp_host = tcp_host
        self._server_tls = tls.server() if tls else None
        self._client_tls = tls.client() if tls else None

    def __repr__(self) -> str:
        return f"<SocketTransport on {self.node} in {self._folder}>"

    async def listen(self, identity: Identity, handlers: Mapping[str, StreamHandler]) -> LinkEndpoint:
        endpoint = LinkEndpoint(handlers, self.options)
        endpoint.bind(await self.listen_wires(identity, endpoint.accept))
        return endpoint

    async def dial(
        self,
        address: Address,
        identity: Identity,
        handlers: Mapping[str, StreamHandler] = NO_HANDLERS,
        *,
        timeout: float = 5.0,
    ) -> LinkConnection:
        wire = await self.dial_wire(address, identity, timeout=timeout)
        return LinkConnection(wire, handlers, self.options, dialled=True)

    async def listen_wires(self, identity: Identity, accept: Callable[[Wire], None]) -> SocketListener:
        listener = SocketListener(
            self._secret, Party(identity, Limits.of(self.options)), self.options, accept
        )
        try:
            unix = await listener.listen_unix(self._folder)
            host, port = self._tcp_host, None
            if host is not None:
                port = await listener.listen_tcp(host, self._server_tls)
        except OSError as error:
            await listener.close()
            raise LinkError(f"{identity.name!r} cannot listen: {error}") from error
        listener.address = Address(identity.name, self.node, str(unix), host, port)
        return listener

    async def dial_wire(self, address: Address, identity: Identity, *, timeout: float = 5.0) -> SocketWire:
        loop = asyncio.get_running_loop()
        proven: asyncio.Future[None] = loop.create_future()

        def on_end(wire: SocketWire, error: LinkError | None) -> None:
            if proven.done():
                return
            if error is None:
                proven.set_result(None)
            else:
                proven.set_exception(error)

        us = Party(identity, Limits.of(self.options))
        wire = SocketWire(
            Dialling(self._secret, us, os.urandom(NONCE_BYTES), address.name), self.options, Counter(), on_end
        )
        try:
            async with asyncio.timeout(timeout):
                await self._connect(address, wire)
                await proven
        except BaseException as error:
            proven.cancel()
            wire.close(LinkError("gave up dialling"))
            if isinstance(error, TimeoutError):
                raise LinkError(f"{address.name!r} did not answer within {timeout:g} s") from error
            if isinstance(error, OSError):
                place = _place(address, self.node)
                raise LinkError(f"{address.name!r} cannot be reached at {place}: {error}") from error
            raise
        return wire

    async def _connect(self, address: Address, wire: SocketWire) -> None:
        loop = asyncio.get_running_loop()
        if address.node == self.node and address.unix is not None:
            await loop.create_unix_connection(lambda: wire, address.unix)
        elif address.host is not None and address.port is not None:
            await loop.create_connection(lambda: wire, address.host, address.port, ssl=self._client_tls)
        else:
            raise LinkError(
                f"{address.name!r} is on node {address.node!r} and does not listen on TCP, and this is node "
                f"{self.node!r}; a runtime that spans nodes gives tcp_host to its transports"
            )


class SocketListener:
    """The listening sockets of one endpoint, and the connections that are not authenticated yet."""

    def __init__(
        self, secret: bytes, us: Party, options: LinkOptions, accept: Callable[[Wire], None]
    ) -> None:
        self.address = Address(us.identity.name, "")
        self.counters: Counter[str] = Counter()
        self._secret = secret
        self._us = us
        self._options = options
        self._accept = accept
        self._servers: list[asyncio.AbstractServer] = []
        self._unproven: set[SocketWire] = set()
        self._path: Path | None = None
        self._inode = 0

    async def listen_unix(self, folder: Path) -> Path:
        path = socket_file(folder, self._us.identity.name)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(path))
            path.chmod(0o600)
            loop = asyncio.get_running_loop()
            self._servers.append(await loop.create_unix_server(self._wire, sock=listening, backlog=BACKLOG))
        except BaseException:
            listening.close()
            raise
        self._path, self._inode = path, path.stat().st_ino
        return path

    async def listen_tcp(self, host: str, tls: ssl.SSLContext | None) -> int:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._wire, host, 0, backlog=BACKLOG, ssl=tls)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for wire in list(self._unproven):
            wire.close(LinkError("the endpoint is closing"))
        if self._path is not None and _inode(self._path) == self._inode:
            self._path.unlink(missing_ok=True)

    def _wire(self) -> SocketWire:
        handshake = Accepting(self._secret, self._us, os.urandom(NONCE_BYTES))
        wire = SocketWire(handshake, self._options, self.counters, self._on_end)
        self._unproven.add(wire)
        if len(self._unproven) > self._options.max_unauthenticated:
            wire.close(LinkError("too many connections wait for their proof (link.max_unauthenticated)"))
        return wire

    def _on_end(self, wire: SocketWire, error: LinkError | None) -> None:
        self._unproven.discard(wire)
        if error is None:
            self.counters["accepted"] += 1
            self._accept(wire)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return -1


def _place(address: Address, node: str) -> str:
    if address.node == node and address.unix is not None:
        return address.unix
    return f"{address.host}:{address.port}"
