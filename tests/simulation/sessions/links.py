"""Links between simulated processes: each message takes its time, in order, until the link breaks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

from llmgine.actors.control import names
from llmgine.actors.link import Address, Identity, LinkError, StreamHandler
from llmgine.actors.link.auth import Limits, Party
from llmgine.actors.link.connection import LinkConnection
from llmgine.actors.link.endpoint import LinkEndpoint
from llmgine.actors.link.frames import Splitter
from llmgine.actors.link.interfaces import Sink, Wire
from llmgine.actors.link.options import LinkOptions
from tests.simulation.sessions.loop import Process, SimulatedLoop, here

NODE = "simulated"
NO_HANDLERS: Mapping[str, StreamHandler] = {}


class SimulatedWire:
    """One end of a pair, in its process."""

    def __init__(self, network: Network, us: Identity, peer: Party, process: Process) -> None:
        self.us = us
        self.peer = peer
        self.process = process
        self.other: SimulatedWire | None = None
        self._network = network
        self._splitter = Splitter(peer.limits.max_frame_bytes)
        self._sink: Sink | None = None
        self._early: list[bytes] = []
        self._lost: str | None = None
        self._arrival = 0.0  # of the latest that was written to this end

    def attach(self, sink: Sink) -> None:
        self._sink = sink
        bodies, self._early = self._early, []
        if bodies:
            sink.frames(bodies)
        if self._lost is not None:
            self._network.loop.call_soon(sink.lost, self._lost)

    def write(self, data: bytes) -> None:
        if self.other is not None and self.process.alive:
            self.other.deliver(self.other._arrived, data)

    def close(self, error: LinkError | None = None) -> None:
        other, self.other = self.other, None
        if other is not None and self.process.alive:
            other.deliver(other._broke, "the peer closed the connection")
            self.deliver(self._broke, "this side closed the connection")

    def break_off(self) -> None:
        """Each end sees the break at its own time; what is on its way until then may still arrive."""
        for wire in (self, self.other):
            if wire is not None:
                wire.deliver(wire._broke, "the connection was broken off", overtakes=True)

    def deliver(self, take: Callable[..., None], what: object, *, overtakes: bool = False) -> None:
        """Calls `take` in this end's process after a while."""
        loop = self._network.loop
        at = loop.now + self._network.delay()
        if not overtakes:
            at = self._arrival = max(at, self._arrival)
        # Two timers of one time would come in any order.
        self._arrival += 1e-9
        loop.call_at(at, take, what, context=self.process.context)

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


class _Listener:
    """Takes dials to one name."""

    def __init__(
        self, network: Network, identity: Identity, process: Process, accept: Callable[[Wire], None]
    ) -> None:
        self.identity = identity
        self.process = process
        self.address = Address(identity.name, NODE)
        self.counters: Counter[str] = Counter()
        self.accept = accept
        self._network = network

    async def close(self) -> None:
        if self._network.listeners.get(self.identity.name) is self:
            del self._network.listeners[self.identity.name]


class Network:
    """A `Transport` for all processes; `slow` stretches what every message takes."""

    def __init__(self, loop: SimulatedLoop, options: LinkOptions | None = None) -> None:
        self.loop = loop
        self.options = options or LinkOptions()
        self.slow = 1.0
        self.listeners: dict[str, _Listener] = {}
        self._wires: list[SimulatedWire] = []

    def delay(self) -> float:
        """Seconds that a message is on its way; once in a while many."""
        least = self.loop.between(0.00002, 0.0005)
        return self.slow * (least + (self.loop.between(0.0, 0.05) if self.loop.chance(0.02) else 0.0))

    async def listen(self, identity: Identity, handlers: Mapping[str, StreamHandler]) -> LinkEndpoint:
        endpoint = LinkEndpoint(handlers, self.options)
        process = here()
        assert process is not None, "only a process listens"
        listener = _Listener(self, identity, process, endpoint.accept)
        self.listeners[identity.name] = listener
        endpoint.bind(listener)
        return endpoint

    async def dial(
        self,
        address: Address,
        identity: Identity,
        handlers: Mapping[str, StreamHandler] = NO_HANDLERS,
        *,
        timeout: float = 5.0,
    ) -> LinkConnection:
        await asyncio.sleep(self.delay())
        process = here()
        listener = self.listeners.get(address.name)
        if listener is None or not listener.process.alive:
            raise LinkError(f"{address.name!r} is not listening")
        assert process is not None, "only a process dials"
        if process.disowned and address.name == names.SUPERVISOR:
            raise LinkError("who is taken for dead does not find the supervisor")
        limits = Limits.of(self.options)
        near = SimulatedWire(self, identity, Party(listener.identity, limits), process)
        far = SimulatedWire(self, listener.identity, Party(identity, limits), listener.process)
        near.other, far.other = far, near
        self._wires = [wire for wire in self._wires if wire.other is not None]
        self._wires.append(near)
        listener.process.context.copy().run(listener.accept, far)
        return LinkConnection(near, handlers, self.options, dialled=True)

    async def close(self) -> None:
        """It is everybody's, so nobody ends it."""

    def break_some(self, share: float) -> int:
        """Breaks that share of all links; how many those were."""
        hit = [wire for wire in self._wires if wire.other is not None and self.loop.chance(share)]
        for wire in hit:
            wire.break_off()
        return len(hit)

    def cut(self, process: Process) -> None:
        """Every link that the process has breaks; it may dial anew."""
        for wire in self._wires:
            if wire.other is not None and process in (wire.process, wire.other.process):
                wire.break_off()

    def died(self, process: Process) -> None:
        """The machine closes what the process had open."""
        for wire in self._wires:
            other = wire.other
            if other is not None and process in (wire.process, other.process):
                left = other if wire.process is process else wire
                left.deliver(left._broke, "the peer's process ended")
        for name in [name for name, one in self.listeners.items() if one.process is process]:
            del self.listeners[name]
