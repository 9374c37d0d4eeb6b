"""A listening mailbox: turns accepted wires into connections and owns them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from llmgine.actors.link.address import Address
from llmgine.actors.link.connection import LinkConnection
from llmgine.actors.link.interfaces import StreamHandler, Wire, WireEndpoint
from llmgine.actors.link.options import LinkOptions


class LinkEndpoint:
    """An `Endpoint` over any wires."""

    def __init__(self, handlers: Mapping[str, StreamHandler], options: LinkOptions) -> None:
        self._handlers = handlers
        self._options = options
        self._connections: set[LinkConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()  # handlers, also those that outlive their connection
        self._listener: WireEndpoint | None = None
        self._closed = False

    def bind(self, listener: WireEndpoint) -> None:
        self._listener = listener

    def accept(self, wire: Wire) -> None:
        if self._closed:
            wire.close()
            return
        connection = LinkConnection(
            wire,
            self._handlers,
            self._options,
            dialled=False,
            on_lost=self._connections.discard,
            tasks=self._tasks,
        )
        if not connection.is_closed:
            self._connections.add(connection)

    @property
    def address(self) -> Address:
        return self._bound.address

    @property
    def connections(self) -> Collection[LinkConnection]:
        return frozenset(self._connections)

    @property
    def counters(self) -> Mapping[str, int]:
        return self._bound.counters

    async def close(self) -> None:
        self._closed = True
        await self._bound.close()
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        running = asyncio.current_task()
        while tasks := [task for task in self._tasks if task is not running]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        await asyncio.gather(*(connection.wait_closed() for connection in connections))

    @property
    def _bound(self) -> WireEndpoint:
        if self._listener is None:
            raise RuntimeError("the endpoint is not bound yet")
        return self._listener
