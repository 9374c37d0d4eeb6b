"""The transports under one roof, so that one suite can hold all of them to the same promises."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from llmgine.actors.link import (
    BridgedTransport,
    Connection,
    Endpoint,
    Identity,
    LinkOptions,
    MemoryTransport,
    SocketTransport,
    StreamHandler,
    Transport,
)

SECRET = b"s" * 32
OPTIONS = LinkOptions(window_messages=8, window_bytes=4096, max_frame_bytes=64 * 1024, max_streams=16)
NO_HANDLERS: Mapping[str, StreamHandler] = {}


Until = Callable[[Callable[[], object]], Awaitable[None]]


async def _until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 -- what is waited for has no event of its own
        await asyncio.sleep(0)


@pytest.fixture
def until() -> Until:
    """Lets the loop turn until the condition holds; the test's own timeout bounds it."""
    return _until


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test here runs on both loops: Ray's actors have uvloop's, drivers mostly the other."""
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


class Net:
    """A listening side and a dialling side of one kind of transport."""

    def __init__(self, listening: Transport, dialling: Transport) -> None:
        self.listening = listening
        self.dialling = dialling
        self.endpoints: list[Endpoint] = []
        self.connections: list[Connection] = []

    async def listen(self, handlers: Mapping[str, StreamHandler], name: str = "server") -> Endpoint:
        endpoint = await self.listening.listen(Identity(name, "actor", 7), handlers)
        self.endpoints.append(endpoint)
        return endpoint

    async def dial(
        self, endpoint: Endpoint, handlers: Mapping[str, StreamHandler] = NO_HANDLERS
    ) -> Connection:
        connection = await self.dialling.dial(endpoint.address, Identity("client", "driver", 3), handlers)
        self.connections.append(connection)
        return connection

    async def pair(
        self,
        handlers: Mapping[str, StreamHandler],
        ours: Mapping[str, StreamHandler] = NO_HANDLERS,
    ) -> Connection:
        return await self.dial(await self.listen(handlers), ours)

    async def close(self) -> None:
        async with asyncio.timeout(10):
            for connection in self.connections:
                connection.close()
            for endpoint in self.endpoints:
                await endpoint.close()
            for transport in (self.listening, self.dialling):
                if isinstance(transport, BridgedTransport):
                    await transport.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="link-"))
    yield path / "s"
    shutil.rmtree(path)


@pytest.fixture(params=["memory", "unix", "tcp", "bridged", "bridged_both"])
async def net(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Net]:
    def socket(node: str = "here", tcp_host: str | None = None) -> SocketTransport:
        return SocketTransport(SECRET, node, folder, tcp_host=tcp_host, options=OPTIONS)

    match request.param:
        case "memory":
            memory = MemoryTransport(OPTIONS)
            made = Net(memory, memory)
        case "unix":
            made = Net(socket(), socket())
        case "tcp":
            made = Net(socket(tcp_host="127.0.0.1"), socket("elsewhere"))
        case "bridged":
            made = Net(socket(), BridgedTransport(socket))
        case _:
            bridged = BridgedTransport(socket)
            made = Net(bridged, bridged)
    async with asyncio.timeout(30):
        yield made
        await made.close()
