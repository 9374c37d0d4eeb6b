"""Doubles of what the supervisor's desks act on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest


class Gate:
    """Lets those through who come, unless it is shut; tells who came."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self._open = asyncio.Event()
        self._open.set()

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def through(self, who: str) -> None:
        self.came.append(who)
        await self._open.wait()


class FakeChildren:
    """Actors as names; starting and ending pass a gate each."""

    def __init__(self) -> None:
        self.starting, self.coming, self.ending = Gate(), Gate(), Gate()
        self.settings: dict[str, Any] = {}
        self.forms: dict[str, int] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.ended: list[str] = []
        self.prepared: list[str] = []
        self.unusable: dict[str, Exception] = {}
        self.alive: set[str] = set()
        self.failures: dict[str, Exception] = {}
        self.clearing: list[str] = []

    async def start(
        self, name: str, kind: str, *, num_cpus: float, restarts: bool = True, cargo: object = None
    ) -> None:
        await self.starting.through(name)
        if name in self.failures:
            raise self.failures[name]
        self.alive.add(name)

    async def start_provider(self, name: str, room: object, settings: object, form: int) -> None:
        self.settings[name] = settings
        self.forms[name] = form
        try:
            if name in self.gates:
                await self.gates[name].wait()
            await self.start(name, "provider", num_cpus=0.1)
        except asyncio.CancelledError:
            self.ended.append(name)
            raise

    async def prepare(self, name: str) -> None:
        self.prepared.append(name)
        if name in self.unusable:
            self.alive.discard(name)
            raise self.unusable[name]

    async def up(self, name: str) -> None:
        await self.coming.through(name)

    async def clear_cache(self, name: str) -> None:
        self.clearing.append(name)
        if name in self.failures:
            raise self.failures[name]

    async def end(self, name: str, grace: float) -> None:
        await self.ending.through(name)
        self.alive.discard(name)


@pytest.fixture
def children() -> FakeChildren:
    return FakeChildren()
