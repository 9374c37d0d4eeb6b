"""Serves a router core on links: reads, lets the core decide, writes; it needs no runtime around it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.errors import ProtocolViolation, StaleRegistration
from llmgine.actors.bus.router.core import RouterCore
from llmgine.actors.bus.router.keeping import Keeping
from llmgine.actors.bus.router.records import ClientState
from llmgine.actors.bus.talk import Talk
from llmgine.actors.bus.tracing import Tracing
from llmgine.actors.link import Stream, StreamHandler, StreamReset
from llmgine.actors.store import StoreClient

logger = logging.getLogger(__name__)

# Between ticks, in seconds: the wall clock may jump at any time, and a core that is always late must
# leave the loop to others.
_LONGEST = 0.1
_SHORTEST = 0.001


class RouterService:
    """One router on the running loop; `start` its clock, give `handlers()` to an endpoint.

    Without a store it works for all that needs none, and refuses what is to be durable.
    """

    def __init__(
        self,
        core: RouterCore,
        store: StoreClient | None = None,
        *,
        shard: int = 0,
        shards: int = 1,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = time.time_ns,
        wake_session: Callable[[str], None] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.core = core
        self._tracing = tracing
        self._wake_session = wake_session
        self._clock = clock
        self._wall = wall
        self._keeping = Keeping(core, store, shard, shards, clock, wall, self._wake)
        self._talks: dict[ClientState, Talk] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._idle = asyncio.Event()

    def handlers(self) -> Mapping[str, StreamHandler]:
        return {wire.STREAM: self.serve}

    def start(self) -> None:
        if self._timer is None:
            # At once: the core learns the time of day from its first tick.
            self._tick()
            self._keeping.start()

    async def settle(self, grace: float) -> int:
        """Wait until every handler of what was taken is done; returns how many messages are left.

        What the journal has, and what is scheduled for later, needs nobody to wait for it.
        """
        try:
            async with asyncio.timeout(grace):
                while self.core.unsettled:
                    self._idle.clear()
                    await self._idle.wait()
                await self._keeping.flush()
        except TimeoutError:
            logger.warning("%d messages are not settled after %g s", self.core.unsettled, grace)
        return self.core.unsettled

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._keeping.close()

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
        talk = self._talks[client] = Talk(stream, partial(self._take, client))
        self._wake()
        try:
            await stream.each(partial(self._receive, client, talk), self._wake)
        except ProtocolViolation as error:
            logger.warning("%s", error)
            raise StreamReset("protocol", str(error)) from error
        finally:
            talk.close()
            if self._talks.get(client) is talk:
                del self._talks[client]
                core.detach(client, self._clock())
                self._wake()

    def _receive(self, client: ClientState, talk: Talk, message: Any) -> None:
        if self._talks.get(client) is not talk:
            raise StreamReset("replaced", "another stream of this client has taken over")
        said = talk.received(message)
        if said is None:
            return
        tracing = self._tracing
        spans = tracing.routing(said[1]) if tracing is not None and said[0] == wire.PUBLISH else ()
        self.core.receive(client, said, self._clock())
        for span in spans:
            span.end()

    def load(self, snapshot: Iterable[Mapping[str, Any]], *, restored: bool = True) -> None:
        """The whole table of subscriptions; `restored`: with the durable ones that the store holds."""
        self.core.load(snapshot, self._clock())
        if restored:
            self.restored()
        self._wake()

    def restored(self) -> None:
        """Every durable subscription is in the table: what the journal holds can be handed out."""
        self._keeping.loaded.set()

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        self.core.add(records, self._clock())
        self._wake()

    def remove(self, numbers: Iterable[int]) -> None:
        self.core.remove(numbers, self._clock())
        self._wake()

    def set_filters(self, filters: Sequence[Sequence[Any]]) -> None:
        """The bus's own filters, all of them."""
        self.core.set_filters(filters, self._clock())
        self._wake()

    def _take(self, client: ClientState) -> Any | None:
        message = self.core.take(client)
        if message is None:
            # Durable commands are marked in the journal when they are about to be handed out.
            self._keeping.write()
        return message

    def _wake(self) -> None:
        """After anything that the core was told: say, write and come back for what there is."""
        core = self.core
        if not core.unsettled:
            self._idle.set()
        for client in core.dirty:
            talk = self._talks.get(client)
            if talk is not None:
                talk.wake()
        self._keeping.write()
        for session in core.take_sleepers():
            if self._wake_session is not None:
                self._wake_session(session)
        due = core.next_time()
        if due is not None and due < self._due and self._timer is not None:
            self._timer.cancel()
            self._set(due)

    def _set(self, due: float) -> None:
        self._due = due
        delay = max(_SHORTEST, due - self._clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        try:
            self.core.tick(self._clock(), self._wall())
        except Exception:
            logger.exception("the router's clock stumbled; it goes on")
        self._set(self._clock() + _LONGEST)
        self._wake()
