"""Clients before several real routers, or before one that does as the test says."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmgine.actors.bus import (
    BusClient,
    BusOptions,
    RouterCore,
    RouterService,
    SubscriptionRecord,
    SubscriptionTable,
    wire,
)
from llmgine.actors.bus.numbering import Numbering
from llmgine.actors.link import Address, Endpoint, Identity, MemoryTransport, Peer, Stream


class Registry:
    """The table's owner; `told` is called with each change of it."""

    def __init__(self) -> None:
        self.table = SubscriptionTable()
        self.filters: list[list[Any]] = []
        self.services: list[RouterService] = []
        self.removed: list[int] = []
        self._numbers = itertools.count(1)

    async def subscribe(self, record: dict[str, Any]) -> int:
        settled = self.table.add(SubscriptionRecord.from_wire(record)).subscription
        for service in self.services:
            service.add([settled.to_wire()])
        return settled.number

    async def unsubscribe(self, number: int, client: str, epoch: int) -> None:
        self.removed.append(number)
        if self.table.remove(number, (client, epoch)) is not None:
            for service in self.services:
                service.remove([number])

    async def add_filter(self, client: str, filter: dict[str, Any]) -> int:
        number = next(self._numbers)
        self.filters.append([number, client, filter])
        self.tell_filters()
        return number

    async def remove_filter(self, number: int) -> None:
        self.filters = [one for one in self.filters if one[0] != number]
        self.tell_filters()

    def tell_filters(self) -> None:
        for service in self.services:
            service.set_filters(self.filters)


class ScriptedRouter:
    """Answers nothing by itself: the test reads what clients said and says what it wants to."""

    def __init__(self) -> None:
        self.hellos: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.said: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.refuses = False
        self._stream: Stream | None = None
        self._numbering = Numbering()

    async def serve(self, stream: Stream) -> None:
        self._stream, self._numbering = stream, Numbering()
        self.hellos.put_nowait(stream.header)
        async for message in stream:
            said = self._numbering.take(message)
            assert said is not None
            self.said.put_nowait(said)

    def say(self, *message: Any) -> None:
        self.say_raw(self._numbering.number([*message]))

    def say_raw(self, message: list[Any]) -> None:
        assert self._stream is not None
        assert self._stream.try_send(message)

    async def welcome(self) -> dict[str, Any]:
        """Let the next client in; its hello."""
        hello = await self.hellos.get()
        self.say(wire.WELCOME, "life", 0, [])
        return hello

    async def hear(self, code: int) -> list[Any]:
        """The next message of this kind, without its code; others are passed over."""
        while True:
            said = await self.said.get()
            if said[0] == code:
                return said[1:]


class House:
    """Routers, their registry, and clients that reach them."""

    def __init__(self, options: BusOptions) -> None:
        self.options = options
        self.registry = Registry()
        self.transport = MemoryTransport()
        self.cores: list[RouterCore] = []
        self.clients: list[BusClient] = []
        self._endpoints: list[Endpoint] = []
        self._services: list[RouterService] = []
        self._peers: list[Peer] = []

    async def start(self) -> None:
        for shard in range(self.options.shards):
            core = RouterCore(f"r{shard}", self.options, shard=shard, shards=self.options.shards)
            service = RouterService(core, shard=shard, shards=self.options.shards)
            service.start()
            service.load([])
            self.cores.append(core)
            self._services.append(service)
            self.registry.services.append(service)
            await self._listen(shard, service.handlers())

    async def script(self) -> ScriptedRouter:
        router = ScriptedRouter()
        await self._listen(0, {wire.STREAM: router.serve})
        return router

    async def _listen(self, shard: int, handlers: Any) -> None:
        endpoint = await self.transport.listen(Identity(f"router-{shard}", "router", 1), handlers)
        self._endpoints.append(endpoint)

    def break_links(self, shard: int = 0) -> None:
        self.transport.break_connections(f"router-{shard}")

    def client(self, name: str = "", **given: Any) -> BusClient:
        name = name or f"client-{len(self.clients) + 1}"
        identity = Identity(name, "driver", 1)
        peers = [self._peer(shard, identity) for shard in range(self.options.shards)]
        client = BusClient(name, 1, peers, self.registry, options=self.options, **given)
        self.clients.append(client)
        return client

    def _peer(self, shard: int, identity: Identity) -> Peer:
        async def resolve() -> Address:
            if shard >= len(self._endpoints):
                raise ConnectionError("no router yet")
            return self._endpoints[shard].address

        peer = Peer(f"router-{shard}", resolve, self.transport, identity)
        self._peers.append(peer)
        return peer

    async def close(self) -> None:
        for client in self.clients:
            await client.close(timeout=0.2 if self._services else 0.0)
        for peer in self._peers:
            peer.close()
        for endpoint in self._endpoints:
            await endpoint.close()
        for service in self._services:
            await service.close()
        for core in self.cores:
            core.validate()


MakeHouse = Callable[..., House]


@pytest.fixture
async def make_house() -> AsyncIterator[MakeHouse]:
    """Makes houses without routers, with bus options of one's own."""
    houses: list[House] = []

    def make(**options: Any) -> House:
        houses.append(House(BusOptions(**options)))
        return houses[-1]

    yield make
    for house in houses:
        await house.close()


@pytest.fixture
async def house(make_house: MakeHouse) -> House:
    """Three real routers."""
    made = make_house(shards=3)
    await made.start()
    return made
