"""Links without a socket: the same connections, streams and credits inside one loop.

Messages still pass through msgpack, so that the two sides share no mutable object and what could not
travel between processes cannot travel here either.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

from llmgine.actors.link.address import Address, Identity
from llmgine.actors.link.auth import Limits, Party
from llmgine.actors.link.connection import LinkConnection
from llmgine.actors.link.endpoint import LinkEndpoint
from llmgine.actors.link.errors import LinkError
from llmgine.actors.link.frames import Splitter
from llmgine.actors.link.interfaces import Sink, StreamHandler, Wire
from llmgine.actors.link.options import LinkOptions

NODE = "memory"
NO_HANDLERS: Mapping[str, StreamHandler] = {}


class MemoryWire:
    """One end of a pair; what is written arrives at the other end in the loop's next turn."""

    def __init__(self, us: Identity, peer: Party, loop: asyncio.AbstractEventLoop) -> None:
        self.us = us
        self.peer = peer
        self.other: MemoryWire | None = None
        self._loop = loop
        self._splitter = Splitter(peer.limits.max_frame_bytes)
        self._sink: Sink | None = None
        self._early: list[bytes] = []
        self._lost: str | None = None

    def attach(self, sink: Sink) -> None:
        self._sink = sink
        if self._early:
            bodies, self._early = self._early, []
            sink.frames(bodies)
        if self._lost is not None:
            self._loop.call_soon(sink.lost, self._lost)

    def write(self, data: bytes) -> None:
        if self.other is not None:
            self._loop.call_soon(self.other._arrived, data)

    def close(self, error: LinkError | None = None) -> None:
        other, self.other = self.other, None
        if other is not None:
            self._loop.call_soon(other._broke, "the peer closed the connection")
            self._loop.call_soon(self._broke, "this side closed the connection")

    def break_off(self) -> None:
        """Fault injection: both ends lose the connection at once."""
        for wire in (self, self.other):
            if wire is not None:
                wire._broke("the connection was broken off")

    def _arrived(self, data: bytes) -> None:
        if self._lost is not None:
            return
        bodies = self._splitter.feed(data)
        if self._sink is None:
            self._early += bodies
        else:
            self._sink.frames(bodies)

    def _broke(self, reason: str) -> None:
        self.other = None
        if self._lost is None:
            self._lost = reason
            if self._sink is not None:
                self._sink.lost(reason)


class MemoryListener:
    """Takes dials to one name."""

    def __init__(
        self, transport: MemoryTransport, identity: Identity, accept: Callable[[Wire], None]
    ) -> None:
        self.identity = identity
        self.address = Address(identity.name, NODE)
        self.counters: Counter[str] = Counter()
        self.accept = accept
        self._transport = transport

    async def close(self) -> None:
        self._transport._unlisten(self)


class MemoryTransport:
    """All that dial and listen here reach each other by name; the last listener of a name has it."""

    def __init__(self, options: LinkOptions | None = None) -> None:
        self.options = options or LinkOptions()
        self._listeners: dict[str, MemoryListener] = {}
        self._wires: list[MemoryWire] = []

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

    def break_connections(self, name: str) -> int:
        """Fault injection: break all connections that `name` takes part in; how many there were."""
        self._forget_dead()
        hit = [wire for wire in self._wires if name in (wire.us.name, wire.peer.identity.name)]
        for wire in hit:
            wire.break_off()
        return len(hit)

    async def listen_wires(self, identity: Identity, accept: Callable[[Wire], None]) -> MemoryListener:
        listener = MemoryListener(self, identity, accept)
        self._listeners[identity.name] = listener
        return listener

    async def dial_wire(self, address: Address, identity: Identity, *, timeout: float = 5.0) -> MemoryWire:
        await asyncio.sleep(0)
        listener = self._listeners.get(address.name)
        if listener is None:
            raise LinkError(f"{address.name!r} is not listening on this memory transport")
        loop, limits = asyncio.get_running_loop(), Limits.of(self.options)
        near = MemoryWire(identity, Party(listener.identity, limits), loop)
        far = MemoryWire(listener.identity, Party(identity, limits), loop)
        near.other, far.other = far, near
        self._forget_dead()
        self._wires.append(near)
        listener.accept(far)
        return near

    def _unlisten(self, listener: MemoryListener) -> None:
        if self._listeners.get(listener.identity.name) is listener:
            del self._listeners[listener.identity.name]

    def _forget_dead(self) -> None:
        self._wires = [wire for wire in self._wires if wire.other is not None]
