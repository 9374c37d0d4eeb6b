"""Serves a router core on links: reads, lets the core decide, writes; it needs no runtime around it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.errors import ProtocolViolation, StaleRegistration
from llmgine.actors.bus.router.core import RouterCore
from llmgine.actors.bus.router.records import ClientState
from llmgine.actors.bus.talk import Talk
from llmgine.actors.link import Stream, StreamHandler, StreamReset

logger = logging.getLogger(__name__)

_TICK = 0.1


class RouterService:
    """One router on the running loop; `start` its clock, give `handlers()` to an endpoint."""

    def __init__(self, core: RouterCore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.core = core
        self._clock = clock
        self._talks: dict[ClientState, Talk] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()

    def handlers(self) -> Mapping[str, StreamHandler]:
        return {wire.STREAM: self.serve}

    def start(self) -> None:
        if self._ticking is None:
            self._ticking = asyncio.get_running_loop().create_task(self._tick(), name="router clock")

    async def settle(self, grace: float) -> int:
        """Wait until every handler of what was taken is done; returns how many messages are left."""
        if self.core.unsettled:
            self._settled.clear()
            try:
                async with asyncio.timeout(grace):
                    await self._settled.wait()
            except TimeoutError:
                logger.warning("%d messages are not settled after %g s", self.core.unsettled, grace)
        return self.core.unsettled

    async def close(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)

    async def serve(self, stream: Stream) -> None:
        """One client, as long as its stream lives."""
        core = self.core
        try:
            client = core.attach(stream.header, self._clock())
        except (ProtocolViolation, StaleRegistration) as error:
            raise StreamReset("refused", str(error)) from error
        former = self._talks.pop(client, None)
        if former is not None:
            former.close()
        talk = self._talks[client] = Talk(stream, lambda: core.take(client))
        self._wake()
        try:
            async for message in stream:
                if self._talks.get(client) is not talk:
                    raise StreamReset("replaced", "another stream of this client has taken over")
                said = talk.received(message)
                if said is not None:
                    core.receive(client, said, self._clock())
                    self._wake()
        except ProtocolViolation as error:
            logger.warning("%s", error)
            raise StreamReset("protocol", str(error)) from error
        finally:
            talk.close()
            if self._talks.get(client) is talk:
                del self._talks[client]
                core.detach(client, self._clock())
                self._wake()

    def load(self, snapshot: Iterable[Mapping[str, Any]]) -> None:
        """The whole table of subscriptions."""
        self.core.load(snapshot, self._clock())
        self._wake()

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        self.core.add(records, self._clock())
        self._wake()

    def remove(self, numbers: Iterable[int]) -> None:
        self.core.remove(numbers, self._clock())
        self._wake()

    def _wake(self) -> None:
        if not self.core.unsettled:
            self._settled.set()
        for client in self.core.dirty:
            talk = self._talks.get(client)
            if talk is not None:
                talk.wake()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            try:
                self.core.tick(self._clock())
            except Exception:
                logger.exception("the router's clock stumbled; it goes on")
            self._wake()
