"""A bus in one loop: a real router, real clients and real links without sockets."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from llmgine.actors.bus import (
    BusClient,
    BusOptions,
    RouterCore,
    RouterService,
    SubscriptionRecord,
    SubscriptionTable,
)
from llmgine.actors.link import Address, Endpoint, Identity, MemoryTransport, Peer
from llmgine.actors.store import StoreClient

ROUTER = "router-0"


class World:
    """One router, the table's owner, and any number of clients."""

    def __init__(self, **options: Any) -> None:
        self.options = BusOptions(**options)
        self.transport = MemoryTransport()
        self.table = SubscriptionTable()
        self.lives = 0
        self.filters: list[list[Any]] = []
        self.numbers = itertools.count(1)
        self.core: RouterCore
        self.service: RouterService | None = None
        self.endpoint: Endpoint | None = None
        self.clients: list[BusClient] = []
        self.peers: list[Peer] = []
        self.cores: list[RouterCore] = []
        self.store: StoreClient | None = None

    # The table's owner

    async def subscribe(self, record: dict[str, Any]) -> int:
        settled = self.table.add(SubscriptionRecord.from_wire(record)).subscription
        if self.service is not None:
            self.service.add([settled.to_wire()])
        return settled.number

    async def unsubscribe(self, number: int, client: str, epoch: int) -> None:
        self.forget([self.table.remove(number, (client, epoch))])

    async def add_filter(self, client: str, filter: dict[str, Any]) -> int:
        number = next(self.numbers)
        self.filters.append([number, client, filter])
        self.tell_filters()
        return number

    async def remove_filter(self, number: int) -> None:
        self.filters = [one for one in self.filters if one[0] != number]
        self.tell_filters()

    def tell_filters(self) -> None:
        if self.service is not None:
            self.service.set_filters(self.filters)

    def end_session(self, session: str) -> None:
        self.forget(self.table.remove_scope(session))

    def lose_client(self, client: BusClient) -> None:
        self.forget(self.table.remove_client(client.identity))

    def forget(self, removed: Sequence[SubscriptionRecord | None]) -> None:
        if self.service is not None:
            self.service.remove([one.number for one in removed if one is not None])

    # The router

    async def start_router(self, *, load: bool = True) -> None:
        self.lives += 1
        self.core = RouterCore(f"r{self.lives}", self.options)
        self.cores.append(self.core)
        self.service = RouterService(self.core, self.store)
        self.service.start()
        self.endpoint = await self.transport.listen(
            Identity(ROUTER, "router", self.lives), self.service.handlers()
        )
        if load:
            self.service.load(self.table.snapshot())

    async def stop_router(self) -> None:
        """As a crash: nothing is drained."""
        service, self.service = self.service, None
        if service is not None and self.endpoint is not None:
            await self.endpoint.close()
            await service.close()

    async def restart_router(self) -> None:
        await self.stop_router()
        await self.start_router()

    def break_links(self) -> None:
        self.transport.break_connections(ROUTER)

    # Clients

    def client(self, name: str = "", epoch: int = 1, *, wakes: bool = False, **overrides: Any) -> BusClient:
        name = name or f"client-{len(self.clients) + 1}"
        identity = Identity(name, "driver", epoch)

        async def resolve() -> Address:
            if self.endpoint is None:
                raise ConnectionError("no router yet")
            return self.endpoint.address

        peer = Peer(ROUTER, resolve, self.transport, identity)
        options = self.options.model_copy(update=overrides)
        client = BusClient(name, epoch, [peer], self, options=options, wakes=wakes)
        self.clients.append(client)
        self.peers.append(peer)
        return client

    async def kill(self, client: BusClient) -> None:
        """The client's process dies: no goodbye, no answers."""
        index = self.clients.index(client)
        self.peers[index].close()
        client._producer.closed = True
        for shard in client._shards:
            await shard.close()
        await client._handlers.close()

    async def close(self) -> None:
        for client in self.clients:
            await client.close(timeout=0.5)
        for peer in self.peers:
            peer.close()
        await self.stop_router()


MakeWorld = Callable[..., Any]


@pytest.fixture
async def make_world() -> AsyncIterator[MakeWorld]:
    """Makes worlds with bus options of one's own; each is checked for lost messages at the end."""
    worlds: list[World] = []

    async def make(*, router: bool = True, **options: Any) -> World:
        world = World(**options)
        worlds.append(world)
        if router:
            await world.start_router()
        return world

    yield make
    for world in worlds:
        await world.close()
        for core in world.cores:
            core.validate()


@pytest.fixture
async def world(make_world: MakeWorld) -> World:
    made: World = await make_world()
    return made
