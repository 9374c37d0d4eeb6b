"""The session actor: blank until it adopts a session, then the process of one or of many."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from llmgine.actors.bus import BusClient, BusOptions
from llmgine.actors.control import Lanes, names
from llmgine.actors.link import Stream, StreamHandler
from llmgine.actors.pools import PoolClient
from llmgine.actors.sessions.errors import SessionError
from llmgine.actors.sessions.hosting.announce import Announcer
from llmgine.actors.sessions.hosting.host import KINDS
from llmgine.actors.sessions.hosting.opening import Opening, load_code, open_host
from llmgine.actors.sessions.hosting.slots import Slot, Slots
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.store import StoreClient
from llmgine.actors.telemetry import ObservedActor
from llmgine.providers.options import ProvidersOptions

logger = logging.getLogger(__name__)

# How long the last events of a session may take on their way to the bus.
_LAST_EVENTS = 2.0


class SessionActor(ObservedActor):
    """A process that sessions live in, each from `adopt` until it is released or ended.

    They share its endpoint, its end of the bus, its links to providers and the store. It takes what its
    supervisor gives it; once it has run a session's code, that is only more of the same code.
    """

    kind = "session"

    def __init__(self, boot: Any) -> None:
        super().__init__(boot)
        self._session_options = SessionOptions.model_validate(boot.settings["sessions"])
        self._slots = Slots(boot.name)
        self._runs = ""
        self._lanes = Lanes()
        self._models: PoolClient | None = None
        self._bus: BusClient | None = None
        self._store: StoreClient | None = None
        self._announcer: Announcer | None = None

    def handlers(self) -> Mapping[str, StreamHandler]:
        return dict.fromkeys(KINDS, self._serve)

    def wants(self) -> tuple[str, ...]:
        return ("pools",)

    def report(self) -> dict[str, Any]:
        return {"runs": self._runs, "sessions": [_told(slot) for slot in self._slots]}

    async def opened(self) -> None:
        await super().opened()
        providers = ProvidersOptions.model_validate(self.settings["providers"])
        self._models = PoolClient(self.control, self.peer, providers)
        options = BusOptions.model_validate(self.settings["bus"])
        self._bus = BusClient(
            self.name,
            self.identity.epoch,
            [self.peer(router) for router in names.routers(options.shards)],
            self.control,
            options=options,
        )
        self._announcer = Announcer(self._bus.publish)
        self._store = StoreClient(self.peer(names.STORE))
        # A warm actor has its links when its first session comes.
        await self._bus.start()

    async def on_push(self, kind: str, body: Any) -> None:
        if kind == "pools" and self._models is not None:
            self._models.update(body)

    # What the supervisor asks for. Each may arrive twice.

    async def adopt(self, opening: dict[str, Any], code: Any = None, woken: bool = False) -> None:
        """Takes a session on; `code` is what `pack` wrote, or a `SessionCode` within one process.

        One that is `woken` goes on without code that cannot be loaded here.
        """
        wanted = Opening.model_validate(opening)
        async with self._lanes.of(wanted.session_id):
            await self._adopt(wanted, code)

    async def _adopt(self, wanted: Opening, code: Any) -> None:
        slot = self._slots.get(wanted.session_id)
        if slot is not None and slot.opening == wanted:
            return
        if slot is not None or (self._runs and self._runs != wanted.runs):
            raise SessionError(
                f"{self.name} cannot take session {wanted.session_id!r}: it has an earlier opening of it, or "
                f"has run other code"
            )
        if self._models is None or self._store is None:
            raise SessionError(f"{self.name} is not open; resolve its address first")
        self._runs = wanted.runs
        loaded = await asyncio.to_thread(load_code, code) if code else load_code(None)
        host = await open_host(
            wanted,
            loaded,
            self._models,
            self.recorder,
            self._session_options,
            store=self._store,
            owner=self.name,
            observer=self._announcer,
        )
        self._slots.put(Slot(wanted, host, self._now()))

    async def end(self, session_id: str, grace: float, reason: str = "it was closed") -> bool:
        """Whether the session was here; it takes no more turns, and those that it took on have ended."""
        async with self._lanes.of(session_id):
            slot = self._slots.get(session_id)
            if slot is None:
                return False
            await slot.host.end(reason, grace)
            await self._say_last()
            self._slots.remove(slot, reason)
            return True

    async def leave(self, session_id: str) -> None:
        """Lets go of the session at once, where it stands."""
        async with self._lanes.of(session_id):
            slot = self._slots.get(session_id)
            if slot is not None:
                await slot.host.end("it was taken back", 0.0)
                self._slots.remove(slot)

    async def describe(self) -> list[dict[str, Any]]:
        """Every session of this actor as it stands."""
        return [slot.host.describe() for slot in self._slots]

    # Going.

    async def drain(self, grace: float) -> None:
        await asyncio.gather(
            *(self.end(slot.opening.session_id, grace, "its actor stops") for slot in self._slots)
        )
        if self._bus is not None:
            await self._bus.close(_LAST_EVENTS)
        if self._store is not None:
            await self._store.close()

    async def abandon(self) -> None:
        if self._announcer is not None:
            self._announcer.close()
        await super().abandon()
        for slot in self._slots:
            await slot.host.leave("its actor is gone")
        if self._bus is not None:
            await self._bus.close(0.0)
        if self._store is not None:
            await self._store.close()

    async def _say_last(self) -> None:
        if self._announcer is None:
            return
        try:
            async with asyncio.timeout(_LAST_EVENTS):
                await self._announcer.flush()
        except TimeoutError:
            logger.warning("%s: its last events did not reach the bus in time", self.name)

    async def _serve(self, stream: Stream) -> None:
        await self._slots.serve(stream, self._now())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _told(slot: Slot) -> dict[str, Any]:
    told = slot.opening.model_dump(
        include={"session_id", "opening", "model", "stay", "fingerprint", "placement", "runs"}
    )
    return {**told, "closing": slot.host.describe()["closing"]}
