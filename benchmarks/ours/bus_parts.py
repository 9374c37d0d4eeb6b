"""Router, store and handler of the bus case as processes of their own, linked over unix sockets."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.child import Control
from benchmarks.disk import fsync_us
from benchmarks.load import Ledger
from benchmarks.ours.events import Fanned, Kept, Numbered
from llmgine.actors.bus import (
    BusClient,
    BusOptions,
    RouterCore,
    RouterService,
    SubscriptionRecord,
    SubscriptionTable,
)
from llmgine.actors.link import Address, Identity, Peer, SocketTransport, Stream, request
from llmgine.actors.store import StoreClient, StoreOptions
from llmgine.actors.store.actor import open_engine
from llmgine.actors.store.host import StoreHost

FAN: Final = 10
_PATIENCE: Final = 60.0

_REGISTRY: Final = "registry"
_NODE: Final = "benchmark"
_SECRET: Final = b"benchmark" * 4


async def store(control: Control, folder: str) -> None:
    """The store, in a file on the disk that temporary files are on."""
    options = BusOptions()
    with tempfile.TemporaryDirectory(prefix="llmgine-bench-") as place:
        settings = StoreOptions(url=f"sqlite:///{place}/store.db")
        kept = {"dead_letters": options.dead_letters, "dead_letter_age": options.dead_letter_age}
        host = StoreHost(open_engine(settings, kept, life=1), settings)
        host.start()
        endpoint = await _transport(folder).listen(Identity("store", "store", 1), host.handlers())
        control.answer(address=endpoint.address.to_wire(), fsync_us=fsync_us(Path(place)))
        while await control.read() is not None:
            pass
        await host.close()
        await endpoint.close()


async def router(control: Control, folder: str, store: list[Any]) -> None:
    """A router with the table of subscriptions, which the supervisor keeps in a runtime."""
    client = StoreClient(_peer(folder, store, "store", Identity("router", "router", 1)))
    service = RouterService(RouterCore("router.1", BusOptions()), client)
    table = SubscriptionTable()

    async def registry(stream: Stream) -> None:
        verb, body = stream.header
        if verb == "subscribe":
            settled = table.add(SubscriptionRecord.from_wire(body)).subscription
            service.add([settled.to_wire()])
            await stream.send(settled.number)
        else:
            table.remove(body)
            service.remove([body])
            await stream.send(body)
        stream.finish()

    service.start()
    service.load([])
    endpoint = await _transport(folder).listen(
        Identity("router", "router", 1), {**service.handlers(), _REGISTRY: registry}
    )
    gc.freeze()  # as every actor does that has a process to itself
    control.answer(address=endpoint.address.to_wire())
    while await control.read() is not None:
        pass
    await service.close()
    await client.close()
    await endpoint.close()


async def handler(control: Control, folder: str, address: list[Any]) -> None:
    """Handles `Numbered` once and `Fanned` ten times; asked, it reports what came since it was last asked."""
    client, peer = connected(folder, address, "handler")
    books = Books()
    await books.register(client.register_event_handler)
    gc.freeze()
    control.answer(ready=True)
    while (message := await control.read()) is not None:
        control.answer(**await books.report(message["handlers"], message["count"]))
    await client.close()
    peer.close()


def connected(folder: str, address: list[Any], name: str) -> tuple[BusClient, Peer]:
    """A bus client on a link of its own to the router."""
    identity = Identity(name, "driver", time.time_ns())
    peer = _peer(folder, address, "router", identity)
    return BusClient(name, identity.epoch, [peer], _Registry(peer)), peer


def _peer(folder: str, address: list[Any], name: str, identity: Identity) -> Peer:
    async def resolve() -> Address:
        return Address.from_wire(address)

    return Peer(name, resolve, _transport(folder), identity)


class Books:
    """The handlers, each with a ledger: the first for `Numbered` and `Kept`, ten more for `Fanned`."""

    def __init__(self) -> None:
        self._ledgers = [Ledger() for _ in range(1 + FAN)]
        self._last = 0

    async def register(self, register_event_handler: Callable[..., Awaitable[Any]]) -> None:
        await register_event_handler(Numbered, self._handler(0), name="numbered")
        await register_event_handler(Kept, self._handler(0), name="kept", durable=True)
        for place in range(1, 1 + FAN):
            await register_event_handler(Fanned, self._handler(place), name=f"fanned-{place}")

    async def report(self, handlers: int, count: int) -> dict[str, Any]:
        """What the first handler has, or the ten have between them, and when the last event came.

        It waits for so many: a durable event is done with for its publisher once it is on the disk.
        """
        held = self._ledgers[1:] if handlers > 1 else self._ledgers[:1]
        give_up = time.monotonic() + _PATIENCE
        # Asked now and then, for an event to wait on would cost every handled one.
        while sum(ledger.count for ledger in held) < count and time.monotonic() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        reports = [ledger.report() for ledger in held]
        self._ledgers = [Ledger() for _ in range(1 + FAN)]
        return {
            "count": sum(one["count"] for one in reports),
            "wrong": [text for one in reports for text in one["wrong"]],
            "latencies": [latency for one in reports for latency in one["latencies"]],
            "finished": self._last,
        }

    def _handler(self, place: int) -> Callable[[Any], Awaitable[None]]:
        async def handle(event: Numbered | Kept | Fanned) -> None:
            self._ledgers[place].take(event.session_id, event.number, event.sent)
            self._last = time.monotonic_ns()

        return handle


class _Registry:
    """The table of subscriptions, asked over the same link."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def subscribe(self, record: dict[str, Any]) -> int:
        return int(await self._ask("subscribe", record))

    async def unsubscribe(self, number: int, client: str, epoch: int) -> None:
        await self._ask("unsubscribe", number)

    async def add_filter(self, client: str, filter: dict[str, Any]) -> int:
        raise NotImplementedError("no case filters the whole bus")

    async def remove_filter(self, number: int) -> None:
        raise NotImplementedError("no case filters the whole bus")

    async def _ask(self, verb: str, body: Any) -> Any:
        async with asyncio.timeout(10.0):
            connection = await self._peer.connection()
        return await request(connection, _REGISTRY, [verb, body], timeout=10.0)


def _transport(folder: str) -> SocketTransport:
    return SocketTransport(_SECRET, _NODE, Path(folder))
