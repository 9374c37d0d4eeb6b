"""Pools of provider actors in this process, before a model server that goes wrong on demand, and a caller."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, ClassVar, cast

from llmgine.actors.control import Boot, Ground, LocalWorld, SpawnOptions, names
from llmgine.actors.link import Identity
from llmgine.actors.pools import PoolClient, PoolsOptions
from llmgine.actors.pools.actor import ProviderActor
from llmgine.actors.pools.quota.messages import QUOTA
from llmgine.actors.supervisor.quotadesk import QuotaDesk
from llmgine.providers import Done, Failed, LLMRequest, LLMResponse, Message, StreamEvent
from llmgine.providers.options import ProvidersOptions

# A port that nobody listens on.
_CLOSED = "http://127.0.0.1:9/v1"


_HERE = ("one", "two", "late", "stalling")


class _Served(ProviderActor):
    """Asks the quotas' owner without a supervisor between."""

    desk: ClassVar[QuotaDesk]

    def tell(self, kind: str, body: Any) -> None:
        if kind == QUOTA:
            self.desk.asked(cast("Any", self), body)

    def push(self, kind: str, body: Any) -> None:
        asyncio.get_running_loop().call_soon(self._leasing.granted, body)


class Stage:
    """Pools at the server, of which two wait for it only briefly, and `down` at none; each starts with its
    first call."""

    def __init__(self, url: str, *, actors: int = 2, **pools: Any) -> None:
        times = {"late": {"first_byte": 0.1}, "stalling": {"idle": 0.1}}
        here = {name: {"base_url": f"{url}/v1", "timeouts": times.get(name, {})} for name in _HERE}
        self.providers: dict[str, Any] = {"endpoints": {**here, "down": {"base_url": _CLOSED}}}
        failover = {"base": 0.001, **pools.pop("failover", {})}
        self.pools = {
            "failover": failover,
            "default": {"size": actors, "quota": {"trial": 1_000}},
            **pools,
        }
        self.settings: dict[str, Any] = {
            "control": {},
            "telemetry": {"enabled": False},
            "providers": self.providers,
            "pools": self.pools,
        }
        self.world = LocalWorld()
        self.cluster = self.world.cluster()
        transport = self.world.transport(self.cluster, tcp=False)
        self.ground = Ground("r", Identity("caller", "session", 1), self.cluster, transport)
        self.models = PoolClient(
            self,
            self.ground.peer,
            ProvidersOptions.model_validate(self.providers),
            PoolsOptions.model_validate(self.pools).failover,
            chance=random.Random(1),
        )
        desk = QuotaDesk(cast("Any", None), self.settings, time.monotonic)
        desk.begin()
        self._served = type("Served", (_Served,), {"desk": desk})
        self._started: dict[str, list[str]] = {}

    async def ensure_pool(self, provider: str) -> list[list[str]]:
        if provider not in self._started:
            count = self.pools["default"]["size"]
            self._started[provider] = [names.provider(provider, number) for number in range(count)]
            for name in self._started[provider]:
                await self.spawn(name)
        return [[name, "local"] for name in self._started[provider]]

    async def spawn(self, name: str) -> None:
        boot = Boot("r", name, "provider", self.world, self.settings)
        await self.cluster.spawn(boot, self._served, SpawnOptions())

    def request(self, model: Any, **fields: Any) -> LLMRequest:
        return LLMRequest(model=model, messages=(Message.user("hi"),), **fields)

    def call(self, model: Any, **fields: Any) -> AsyncGenerator[StreamEvent, None]:
        return self.models.stream(self.request(model, **fields), session="s")

    async def events(self, model: Any, **fields: Any) -> list[StreamEvent]:
        async with aclosing(self.call(model, **fields)) as events:
            return [event async for event in events]

    async def close(self) -> None:
        for name in await self.cluster.names():
            await self.cluster.kill(name)
        self.ground.close()


def failed(events: list[StreamEvent]) -> Failed:
    assert isinstance(events[-1], Failed), events[-1]
    return events[-1]


def answer(events: list[StreamEvent]) -> LLMResponse:
    assert isinstance(events[-1], Done), events[-1]
    return events[-1].response


def outcomes(last: Failed | LLMResponse) -> list[tuple[str, str]]:
    """Which models were tried, and what came of each try."""
    return [(one.model, one.outcome) for one in last.attempts]
