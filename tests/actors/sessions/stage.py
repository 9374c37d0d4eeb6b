"""A session over links and a store, whose processes come and go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from llmgine.actors.link import Address, Endpoint, Identity, MemoryTransport, Peer
from llmgine.actors.sessions.client.asking import Link
from llmgine.actors.sessions.client.client import SessionClient
from llmgine.actors.sessions.hosting.code import SessionCode
from llmgine.actors.sessions.hosting.host import SessionHost
from llmgine.actors.sessions.hosting.opening import Opening, open_host
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.running.engines import Engine, ToolChatEngine
from llmgine.actors.store import StoreClient, StoreOptions
from llmgine.actors.store.host import StoreHost
from llmgine.actors.store.memory import MemoryEngine
from llmgine.telemetry import SpanRecorder
from tests.actors.sessions.conftest import Recorded, ScriptedModels


async def soon(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, 10)


async def texts(session: Any) -> list[str]:
    """What its messages say, oldest first."""
    return [message.text for message in await soon(session.history())]


class Process:
    """One process of the session: its host, what it listens on, and what its models are asked."""

    def __init__(self, name: str, host: SessionHost, endpoint: Endpoint, store: StoreClient) -> None:
        self.name = name
        self.host = host
        self.endpoint = endpoint
        self.store = store


class Stage:
    """A store, one session at a time in one process or another, and drivers that dial it."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.transport = MemoryTransport()
        self.engine = MemoryEngine(100, 1.0)
        self.dials = self.lookups = 0
        self.processes: list[Process] = []
        self.later = 0  # seconds that the processes' clocks are ahead
        self.awake = asyncio.Event()

    async def start(self) -> None:
        """The store begins a life over what was kept before."""
        self.keeper = StoreHost(self.engine, StoreOptions())
        self.keeper.start()
        self.store_endpoint = await self.transport.listen(Identity("store", "store"), self.keeper.handlers())

    async def stop_store(self) -> None:
        await self.store_endpoint.close()
        await self.keeper.close()

    def store(self, name: str) -> StoreClient:
        async def resolve() -> Address:
            return self.store_endpoint.address

        peer = Peer("store", resolve, self.transport, Identity(name, "session", 1), give_up=0.05)
        self._stack.callback(peer.close)
        client = StoreClient(peer, timeout=2.0)
        self._stack.push_async_callback(client.close)
        return client

    async def open(self, *script: Any, **options: Any) -> SessionClient:
        """The session begins, or goes on, in a process of its own; gives a driver of it."""
        await self.wake(*script, **options)
        return self.driver()

    async def wake(
        self,
        *script: Any,
        tools: tuple[Any, ...] = (),
        engine: Engine | None = None,
        opening: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Process:
        name = f"host-{len(self.processes) + 1}"
        self.models, self.observer = ScriptedModels(*script), Recorded()
        store = self.store(name)
        self.host = await open_host(
            Opening(session_id="s1", model="scripted/test", system="Be brief.", **(opening or {})),
            SessionCode(tools, ToolChatEngine() if engine is None else engine),
            self.models,
            SpanRecorder("test"),
            SessionOptions(**options),
            store=store,
            owner=name,
            observer=self.observer,
            wall=lambda: time.time_ns() + self.later * 10**9,
        )
        self._stack.push_async_callback(self.host.leave, "the test is over")
        self.endpoint = await self.transport.listen(Identity(name, "session", 1), self.host.handlers())
        self._stack.push_async_callback(self.endpoint.close)
        process = Process(name, self.host, self.endpoint, store)
        self.processes.append(process)
        self.awake.set()
        return process

    async def settle(self) -> None:
        """All that the session has said so far is in the store."""
        await self.host._journal.flush()

    async def kill(self) -> None:
        """The session's process is gone in this moment; what the store had not committed never was."""
        self.awake.clear()
        process = self.processes[-1]
        await process.store.close()
        await process.host.leave("killed")
        await process.endpoint.close()

    def driver(self, session_id: str = "s1", *, give_up: float = 10.0) -> SessionClient:
        async def locate() -> Peer:
            self.lookups += 1
            await self.awake.wait()
            process = self.processes[-1]

            async def resolve() -> Address:
                self.dials += 1
                return process.endpoint.address

            identity = Identity("driver", "driver", 1)
            peer = Peer(process.name, resolve, self.transport, identity, give_up=min(give_up, 0.05))
            self._stack.callback(peer.close)
            return peer

        return SessionClient(session_id, Link(locate), patience=give_up)
