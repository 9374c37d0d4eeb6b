"""The session actor: blank until it adopts a session, then that session's process to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from llmgine.actors.bus import BusClient, BusOptions
from llmgine.actors.control import names
from llmgine.actors.link import Stream, StreamHandler
from llmgine.actors.pools import PoolClient
from llmgine.actors.sessions.client.asking import REFUSED
from llmgine.actors.sessions.errors import SessionClosed, SessionError, SessionLost, error_to_wire
from llmgine.actors.sessions.hosting.announce import Announcer
from llmgine.actors.sessions.hosting.host import KINDS, SessionHost
from llmgine.actors.sessions.hosting.opening import Opening, load_code, open_host
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.telemetry import ObservedActor
from llmgine.providers.options import ProvidersOptions

logger = logging.getLogger(__name__)

# How long the last events of a session may take on their way to the bus.
_LAST_EVENTS = 2.0


class SessionActor(ObservedActor):
    """Dedicated placement: one session, one actor, from `adopt` to `end`.

    The conversation lives in this process only. It never serves a second session, because it has run
    the first one's code.
    """

    kind = "session"

    def __init__(self, boot: Any) -> None:
        super().__init__(boot)
        self._session_options = SessionOptions.model_validate(boot.settings["sessions"])
        self._opening: Opening | None = None
        self._host: SessionHost | None = None
        self._models: PoolClient | None = None
        self._bus: BusClient | None = None
        self._announcer: Announcer | None = None
        self._adopting = asyncio.Lock()

    def handlers(self) -> Mapping[str, StreamHandler]:
        return dict.fromkeys(KINDS, self._serve)

    def wants(self) -> tuple[str, ...]:
        return ("pools",)

    def report(self) -> dict[str, Any]:
        if self._opening is None:
            return {}
        told = self._opening.model_dump(include={"session_id", "opening", "model", "stay", "fingerprint"})
        return {**told, "closing": self._host is not None and self._host.describe()["closing"]}

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

    async def on_push(self, kind: str, body: Any) -> None:
        if kind == "pools" and self._models is not None:
            self._models.update(body)

    async def adopt(self, opening: dict[str, Any], code: Any = None) -> None:
        """Takes a session on; `code` is what `pack` wrote, or a `SessionCode` within one process."""
        async with self._adopting:
            await self._adopt(Opening.model_validate(opening), code)

    async def _adopt(self, wanted: Opening, code: Any) -> None:
        if self._opening is not None:
            if self._opening == wanted:
                return
            raise SessionError(f"{self.name} serves session {self._opening.session_id!r} and no second one")
        if self._models is None or self._bus is None:
            raise SessionError(f"{self.name} is not open; resolve its address first")
        loaded = await asyncio.to_thread(load_code, code)
        self._host = open_host(
            wanted, loaded, self._models, self.recorder, self._session_options, observer=self._announcer
        )
        self._opening = wanted
        await self._bus.start()

    async def end(self, grace: float, reason: str = "it was closed") -> int:
        """Takes no more turns and lets those that were taken on end; returns how many had to be cancelled."""
        if self._host is None:
            return 0
        cancelled = await self._host.end(reason, grace)
        await self._say_last()
        return cancelled

    async def drain(self, grace: float) -> None:
        await self.end(grace, "its actor stops")
        if self._bus is not None:
            await self._bus.close(_LAST_EVENTS)

    async def abandon(self) -> None:
        if self._announcer is not None:
            self._announcer.close()
        await super().abandon()
        if self._host is not None:
            await self._host.end("its actor is gone", 0.0)
        if self._bus is not None:
            await self._bus.close(0.0)

    async def describe(self) -> dict[str, Any]:
        """The session as it stands; empty before it is adopted."""
        return {} if self._host is None else self._host.describe()

    async def _say_last(self) -> None:
        if self._announcer is None:
            return
        try:
            async with asyncio.timeout(_LAST_EVENTS):
                await self._announcer.flush()
        except TimeoutError:
            logger.warning("%s: its last events did not reach the bus in time", self.name)

    async def _serve(self, stream: Stream) -> None:
        if self._host is not None:
            await self._host.serve(stream)
            return
        error = SessionClosed if self.stopped else SessionLost
        await stream.send([REFUSED, error_to_wire(error(f"{self.name} has no session"))])
