"""A process that writes to a store file until it is killed; it prints each batch that was acknowledged."""

from __future__ import annotations

import asyncio
import sys

from llmgine.actors.link import Address, Identity, MemoryTransport, Peer
from llmgine.actors.store import StoreClient, StoreOptions
from llmgine.actors.store.host import StoreHost
from llmgine.actors.store.operations import HandlerDone, PutJournal
from llmgine.actors.store.session_operations import Activate, AppendEntries
from llmgine.actors.store.sql import SqlEngine, database_of
from tests.actors.store import rows


async def write(path: str, first: int) -> None:
    engine = SqlEngine(database_of(StoreOptions(url=f"sqlite:///{path}")), 100, 60.0, life=first)
    host = StoreHost(engine)
    host.start()
    transport = MemoryTransport()
    endpoint = await transport.listen(Identity("store", "store"), host.handlers())

    async def resolve() -> Address:
        return endpoint.address

    client = StoreClient(Peer("store", resolve, transport, Identity("router-0", "router", first)))

    async def writer(number: int) -> None:
        session = f"{first}-{number}"
        await client.write([Activate(session, 0, 1, "router-0", 1)])
        for place, batch in enumerate(range(first + number, sys.maxsize, 8), 1):
            kept = [rows.message(4 * batch + part) for part in range(4)]
            entry = AppendEntries(session, 1, place, (b"%d" % batch,))
            await client.write([*map(PutJournal, kept), entry])
            await client.write([HandlerDone(kept[0].id, kept[0].pending[0])])
            print(batch, flush=True)

    await asyncio.gather(*(writer(number) for number in range(8)))


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], int(sys.argv[2])))
