"""Links for a loop that is not ours: sockets in a thread of their own, streams on the caller's loop.

Only the wire lives in the thread: sockets, authentication, cutting into frames, signs of life. Connections,
streams and credit are the caller's, so credit is given back only when the caller's side has consumed, and the
peer is answered while the caller's loop is held up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeVar

from llmgine.actors.link.address import Address, Identity
from llmgine.actors.link.auth import Party
from llmgine.actors.link.connection import LinkConnection
from llmgine.actors.link.endpoint import LinkEndpoint
from llmgine.actors.link.errors import LinkBroken, LinkError
from llmgine.actors.link.interfaces import Sink, StreamHandler, Wire, WireEndpoint, WireTransport
from llmgine.actors.link.options import LinkOptions
from llmgine.actors.link.thread import Crossing, LinkThread

Value = TypeVar("Value")

ORPHAN_CHECK = 1.0  # seconds between looks at whether the caller's loop is still there
NO_HANDLERS: Mapping[str, StreamHandler] = {}


class InnerTransport(WireTransport, Protocol):
    """What can be bridged."""

    @property
    def options(self) -> LinkOptions: ...


class BridgedTransport:
    """A `Transport` whose sockets live in a thread of their own; it belongs to the loop that first uses it.

    `inner` makes the real transport. If the caller's loop is closed without `close()`, the connections end
    within about a second, so that peers see that nobody is here.
    """

    def __init__(self, inner: Callable[[], InnerTransport]) -> None:
        self._make_inner = inner
        self._inner: InnerTransport | None = None
        self._thread: LinkThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wires: set[BridgeWire] = set()
        self._listeners: list[WireEndpoint] = []
        self._connections: set[LinkConnection] = set()
        self._endpoints: set[LinkEndpoint] = set()
        self._closed = False

    async def listen(self, identity: Identity, handlers: Mapping[str, StreamHandler]) -> LinkEndpoint:
        inner, thread = await self._started()
        loop = asyncio.get_running_loop()
        endpoint = LinkEndpoint(handlers, inner.options)

        def accept(wire: Wire) -> None:
            bridged = BridgeWire(wire, thread, loop, self._wires)
            bridged.to_caller.give(endpoint.accept, bridged)

        listener = await _across(thread, self._listen(inner, identity, accept))
        endpoint.bind(BridgedListener(listener, thread))
        self._endpoints.add(endpoint)
        return endpoint

    async def dial(
        self,
        address: Address,
        identity: Identity,
        handlers: Mapping[str, StreamHandler] = NO_HANDLERS,
        *,
        timeout: float = 5.0,
    ) -> LinkConnection:
        inner, thread = await self._started()
        loop = asyncio.get_running_loop()

        async def dial() -> BridgeWire:
            wire = await inner.dial_wire(address, identity, timeout=timeout)
            return BridgeWire(wire, thread, loop, self._wires)

        wire = await _across(thread, dial(), BridgeWire.end)
        connection = LinkConnection(
            wire, handlers, inner.options, dialled=True, on_lost=self._connections.discard
        )
        if not connection.is_closed:
            self._connections.add(connection)
        return connection

    async def close(self) -> None:
        """End all connections and endpoints; the thread has ended when this returns."""
        self._closed = True
        thread = self._thread
        if thread is None:
            return
        for connection in list(self._connections):
            connection.close()
        for endpoint in self._endpoints:
            await endpoint.close()
        if thread.is_alive:
            await _across(thread, _end_all(self._wires))
            thread.stop()
        await asyncio.to_thread(thread.join)

    async def _started(self) -> tuple[InnerTransport, LinkThread]:
        if self._closed:
            raise LinkBroken("this transport is closed")
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._loop = loop
            self._inner = self._make_inner()
            self._thread = LinkThread()
            self._thread.submit(self._watch(self._thread, loop))
        if self._loop is not loop:
            raise LinkError("a bridged transport serves one loop; make one for each")
        assert self._inner is not None
        return self._inner, self._thread

    async def _listen(
        self, inner: InnerTransport, identity: Identity, accept: Callable[[Wire], None]
    ) -> WireEndpoint:
        listener = await inner.listen_wires(identity, accept)
        self._listeners.append(listener)
        return listener

    async def _watch(self, thread: LinkThread, caller: asyncio.AbstractEventLoop) -> None:
        while not caller.is_closed():  # noqa: ASYNC110 -- no loop announces its own end
            await asyncio.sleep(ORPHAN_CHECK)
        for listener in self._listeners:
            await listener.close()
        await _end_all(self._wires)
        thread.stop()


class BridgeWire:
    """A `Wire` of the thread's loop, usable from the caller's; it is made in the thread."""

    def __init__(
        self, wire: Wire, thread: LinkThread, loop: asyncio.AbstractEventLoop, registry: set[BridgeWire]
    ) -> None:
        self.peer: Party = wire.peer
        self.gone: asyncio.Future[None] = thread.loop.create_future()
        self.to_caller = Crossing(loop, wire.close)
        self._to_thread = Crossing(thread.loop, self._on_thread_ended)
        self._wire = wire
        self._registry = registry
        self._sink: Sink | None = None
        self._early: list[Callable[[Sink], None]] = []
        registry.add(self)
        wire.attach(ThreadSide(self))

    # --- in the caller's loop

    def attach(self, sink: Sink) -> None:
        self._sink = sink
        early, self._early = self._early, []
        for report in early:
            report(sink)

    def write(self, data: bytes) -> None:
        self._to_thread.give(self._wire.write, data)

    def close(self, error: LinkError | None = None) -> None:
        self._to_thread.give(self._wire.close, error)

    def report(self, report: Callable[[Sink], None]) -> None:
        if self._sink is None:
            self._early.append(report)
        else:
            report(self._sink)

    def on_frames(self, bodies: list[bytes]) -> None:
        if self._sink is None:
            self._early.append(lambda sink: sink.frames(bodies))
        else:
            self._sink.frames(bodies)

    def _on_thread_ended(self) -> None:
        self.report(lambda sink: sink.lost("the link thread has ended"))

    # --- in the thread

    def end(self) -> None:
        self._wire.close()

    def on_gone(self) -> None:
        self._registry.discard(self)
        if not self.gone.done():
            self.gone.set_result(None)


class ThreadSide:
    """The sink of the real wire: hands everything to the caller's loop."""

    def __init__(self, bridged: BridgeWire) -> None:
        self._bridged = bridged

    def frames(self, bodies: list[bytes]) -> None:
        self._bridged.to_caller.give(self._bridged.on_frames, bodies)

    def paused(self, paused: bool) -> None:
        self._bridged.to_caller.give(self._bridged.report, lambda sink: sink.paused(paused))

    def lost(self, reason: str) -> None:
        self._bridged.on_gone()
        self._bridged.to_caller.give(self._bridged.report, lambda sink: sink.lost(reason))


class BridgedListener:
    """A `WireEndpoint` of the thread's loop, usable from the caller's."""

    def __init__(self, listener: WireEndpoint, thread: LinkThread) -> None:
        self._listener = listener
        self._thread = thread

    @property
    def address(self) -> Address:
        return self._listener.address

    @property
    def counters(self) -> Mapping[str, int]:
        return self._listener.counters

    async def close(self) -> None:
        if self._thread.is_alive:
            await _across(self._thread, self._listener.close())


async def _end_all(wires: set[BridgeWire]) -> None:
    while wires:
        for wire in list(wires):
            wire.end()
        await asyncio.wait([wire.gone for wire in wires])


async def _across(
    thread: LinkThread, coroutine: Coroutine[Any, Any, Value], undo: Callable[[Value], None] | None = None
) -> Value:
    """Await the coroutine in the thread; what it still makes for a cancelled caller is undone there."""
    made: list[Value] = []

    async def make() -> Value:
        made.append(await coroutine)
        return made[0]

    try:
        return await asyncio.wrap_future(thread.submit(make()))
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            raise LinkBroken("the transport was closed meanwhile") from None
        if undo is not None:
            thread.call(lambda: [undo(value) for value in made])
        raise
