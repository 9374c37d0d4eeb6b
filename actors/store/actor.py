"""The store's actor: the one place of a runtime where something outlives every process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llmgine.actors.control import Boot, RuntimeActor
from llmgine.actors.link import StreamHandler
from llmgine.actors.store.engine import NS, Engine
from llmgine.actors.store.host import StoreHost
from llmgine.actors.store.memory import MemoryEngine
from llmgine.actors.store.options import MEMORY, StoreOptions
from llmgine.actors.store.retention import Retention


class StoreActor(RuntimeActor):
    """A `StoreHost` with an endpoint. What was acknowledged is there in its next life."""

    kind: ClassVar[str] = "store"

    def __init__(self, boot: Boot) -> None:
        super().__init__(boot)
        options = StoreOptions.model_validate(self.settings.get("store", {}))
        engine = open_engine(options, self.settings["bus"], life=self.identity.epoch)
        self.host = StoreHost(engine, options)

    def handlers(self) -> Mapping[str, StreamHandler]:
        return self.host.handlers()

    async def opened(self) -> None:
        await super().opened()
        self.host.start()

    async def drain(self, grace: float) -> None:
        """Commit what has arrived."""
        await self.host.drain(grace)

    async def abandon(self) -> None:
        await super().abandon()
        await self.host.close()

    async def statistics(self) -> dict[str, Any]:
        """What is kept and what was done."""
        return await self.host.status()


def open_engine(options: StoreOptions, bus: Mapping[str, Any], *, life: int) -> Engine:
    """The engine of the store's URL; `bus` says how many dead letters are kept, and how long."""
    letters, age = bus["dead_letters"], bus["dead_letter_age"]
    retention = Retention(
        options.kept_turns,
        _ns(options.turn_age),
        _ns(options.session_age),
        options.kept_responses,
        options.kept_response_bytes,
    )
    if options.url in (None, MEMORY):
        return MemoryEngine(letters, age, retention)
    from llmgine.actors.store.sql import SqlEngine, database_of

    return SqlEngine(database_of(options), letters, age, retention, life=life)


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * NS)
