"""Links between clients and routers: frames in order within credit, and every way in which they can fail.

A link is a pair of channels. A frame may be late, lost, doubled or overtaken; the numbering of messages
notices the last three and gives the link up, as a lost frame in the end does by silence. A break is seen by
either end at its own time, and what was on its way until then may or may not arrive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack

from llmgine.actors.bus.errors import ProtocolViolation
from llmgine.actors.bus.numbering import Numbering
from llmgine.actors.link.flow import ReceiveWindow, SendWindow
from tests.simulation.scheduler import FOREVER, Scheduler


@dataclass(frozen=True)
class FrameFaults:
    """How often a frame is hit, each from 0 to 1."""

    drop: float = 0.0
    double: float = 0.0
    reorder: float = 0.0
    late: float = 0.0


class Channel:
    """One direction of a link."""

    def __init__(self, link: Link, receive: Callable[[Any], None], window: tuple[int, int]) -> None:
        self._link = link
        self._receive = receive
        self._sending = SendWindow(*window)
        self._receiving = ReceiveWindow(*window)
        self._frames: deque[tuple[bytes, bool]] = deque()
        self._numbering = Numbering()
        self._checking = Numbering()
        self._free_at = 0.0
        self.deaf = False
        self.on_credit: Callable[[], None] = lambda: None

    @property
    def is_open(self) -> bool:
        return self._sending.is_open and not self._link.broken

    @property
    def under_way(self) -> int:
        return len(self._frames)

    def send(self, message: Any) -> None:
        """Only called while open."""
        packed = msgpack.packb(self._numbering.number(message))
        self._sending.take(len(packed))
        network, scheduler = self._link.network, self._link.network.scheduler
        faults = network.faults
        if scheduler.chance(faults.drop):
            network.count("dropped")
            scheduler.after(scheduler.between(0.01, 0.3), FOREVER, self._link.cut)
            return
        self._frames.append((packed, False))
        if scheduler.chance(faults.double):
            network.count("doubled")
            self._frames.append((packed, True))
            self._arrive_later()
        if scheduler.chance(faults.reorder) and len(self._frames) > 1:
            network.count("reordered")
            self._frames[-1], self._frames[-2] = self._frames[-2], self._frames[-1]
        self._arrive_later()

    def _arrive_later(self) -> None:
        scheduler = self._link.network.scheduler
        delay = scheduler.between(0.0001, 0.002)
        if scheduler.chance(self._link.network.faults.late):
            delay += scheduler.between(0.01, 0.2)
        self._free_at = max(self._free_at, scheduler.now + delay)
        scheduler.after(self._free_at - scheduler.now, FOREVER, self._arrive)

    def _arrive(self) -> None:
        if self.deaf or not self._frames:
            return
        packed, copy = self._frames.popleft()
        if not copy:
            self._receiving.arrived(len(packed))
            granted = self._receiving.consumed(len(packed))
            if granted is not None:
                scheduler = self._link.network.scheduler
                scheduler.after(scheduler.between(0.0001, 0.002), FOREVER, self._grant, *granted)
        try:
            message = self._checking.take(msgpack.unpackb(packed, strict_map_key=False))
        except ProtocolViolation:
            self._link.network.count("gaps")
            self._link.cut()
            return
        if message is not None:
            self._receive(message)

    def _grant(self, messages: int, size: int) -> None:
        if not self._link.broken:
            self._sending.grant(messages, size)
            self.on_credit()

    def lose(self) -> None:
        """The link broke: a part of what was on its way still arrives."""
        keep = self._link.network.scheduler.random.randint(0, len(self._frames))
        while len(self._frames) > keep:
            self._frames.pop()


class Link:
    """One stream between a client and a router; `lost` is called at each end once."""

    def __init__(
        self,
        network: Network,
        up: Callable[[Any], None],
        down: Callable[[Any], None],
        lost_above: Callable[[], None],
        lost_below: Callable[[], None],
    ) -> None:
        self.network = network
        self.broken = False
        self.up = Channel(self, up, network.window)
        self.down = Channel(self, down, network.window)
        self._lost = (lost_above, lost_below)

    def cut(self) -> None:
        """It breaks; the router's end and the client's each see it a little later."""
        if self.broken:
            return
        self.broken = True
        self.network.count("breaks")
        scheduler = self.network.scheduler
        for channel, lost in zip((self.up, self.down), self._lost, strict=True):
            channel.lose()
            scheduler.after(scheduler.between(0, 0.02), FOREVER, self._see, channel, lost)

    def _see(self, channel: Channel, lost: Callable[[], None]) -> None:
        if not channel.deaf:
            channel.deaf = True
            lost()

    def close_end(self, *, above: bool) -> None:
        """One end gives it up, or dies: it hears nothing more, the other end notices later."""
        (self.up if above else self.down).deaf = True
        self.cut()


class Network:
    """Makes links; counts what it did to them."""

    def __init__(self, scheduler: Scheduler, window: tuple[int, int], counters: dict[str, int]) -> None:
        self.scheduler = scheduler
        self.window = window
        self.faults = FrameFaults()
        self._counters = counters

    def count(self, what: str) -> None:
        self._counters[what] = self._counters.get(what, 0) + 1
