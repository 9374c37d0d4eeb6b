"""Engines, a store host on a memory link, and clients that write to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from llmgine.actors.link import Address, Endpoint, Identity, MemoryTransport, Peer
from llmgine.actors.store import StoreClient, StoreOptions
from llmgine.actors.store.engine import Engine
from llmgine.actors.store.host import StoreHost
from llmgine.actors.store.memory import MemoryEngine
from llmgine.actors.store.retention import KEEP_ALL, Retention
from llmgine.actors.store.sql import SqlEngine, database_of
from tests.actors.store.server import Server, started

MakeEngine = Callable[..., SqlEngine]


@contextmanager
def engines(url_of: Callable[[str], str]) -> Iterator[MakeEngine]:
    """Makes engines, each the next life of its file's place; all are closed in the end."""
    made: list[SqlEngine] = []

    def make(
        *,
        file: str = "store.db",
        letters: int = 100,
        age: float = 1e-6,
        retention: Retention = KEEP_ALL,
        **options: Any,
    ) -> SqlEngine:
        database = database_of(StoreOptions(url=url_of(file), **options))
        made.append(SqlEngine(database, letters, age, retention, life=len(made) + 1))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def sql(tmp_path: Path) -> Iterator[MakeEngine]:
    """Makes engines over files."""
    with engines(lambda file: f"sqlite:///{tmp_path / 'data' / file}") as make:
        yield make


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One PostgreSQL server for all tests; its data goes with it."""
    with TemporaryDirectory(prefix="llmgine-postgres-") as folder:
        server = started(Path(folder) / "data")
        yield server
        server.stop(at_once=True)


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> Iterator[MakeEngine]:
    """Makes engines over places of the server, one for each name of a file."""
    server: Server = request.getfixturevalue("server")
    place = lru_cache(None)(lambda file: server.place())
    with engines(place) as make:
        yield make


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make(request: pytest.FixtureRequest) -> Callable[..., Engine]:
    """Makes engines of each kind; those of one file go on with what is in it."""

    def in_memory(
        *, file: str = "", letters: int = 100, age: float = 1e-6, retention: Retention = KEEP_ALL
    ) -> Engine:
        return MemoryEngine(letters, age, retention)

    if request.param == "memory":
        return in_memory
    made: Callable[..., Engine] = request.getfixturevalue("sql" if request.param == "sqlite" else "postgres")
    return made


@pytest.fixture(params=["sqlite", "postgres"])
def lasting(request: pytest.FixtureRequest) -> MakeEngine:
    """Makes engines that have a next life."""
    made: MakeEngine = request.getfixturevalue("sql" if request.param == "sqlite" else "postgres")
    return made


class Net:
    """One store at a time, over an engine that outlives it, and any number of clients."""

    def __init__(self) -> None:
        self.transport = MemoryTransport()
        self.endpoint: Endpoint | None = None
        self.host: StoreHost | None = None
        self.engine: Engine = MemoryEngine(100, 1.0)
        self.peers: list[Peer] = []
        self.clients: list[StoreClient] = []

    async def open(self, engine: Engine | None = None, **options: Any) -> StoreHost:
        """The store begins a life."""
        self.engine = engine or self.engine
        self.host = StoreHost(self.engine, StoreOptions(**options), sleep=self.sleep)
        self.host.start()
        self.endpoint = await self.transport.listen(Identity("store", "store"), self.host.handlers())
        return self.host

    async def kill(self) -> None:
        """The store is gone."""
        assert self.endpoint is not None
        assert self.host is not None
        await self.endpoint.close()
        await self.host.close()
        self.endpoint = self.host = None

    def client(self, name: str = "router-0", epoch: int = 1, timeout: float = 5.0) -> StoreClient:
        client = StoreClient(self.peer(name, epoch), timeout=timeout, sleep=self.sleep)
        self.clients.append(client)
        return client

    def peer(self, name: str, epoch: int = 1) -> Peer:
        async def resolve() -> Address:
            if self.endpoint is None:
                raise ConnectionError("the store is not there")
            return self.endpoint.address

        identity = Identity(name, "router", epoch)
        peer = Peer("store", resolve, self.transport, identity, give_up=0.02, sleep=self.sleep)
        self.peers.append(peer)
        return peer

    async def sleep(self, seconds: float) -> None:
        """Pauses last a turn of the loop; those of housekeeping do not end."""
        if seconds > 10:
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    async def close(self) -> None:
        for client in self.clients:
            await client.close()
        for peer in self.peers:
            peer.close()
        if self.endpoint is not None:
            await self.kill()


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    net = Net()
    yield net
    await net.close()
