"""Many more sessions than are at work: each is used once, sleeps, and wakes with its history."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.memory import open_files, resident_mb
from llmgine.runtime import Runtime, Session

SCRIPTS: dict[str, Any] = {"yes": {"replies": [{"text": "Yes."}]}}
SETTINGS: dict[str, Any] = {
    "providers": {"scripts": SCRIPTS},
    "sessions": {"idle": 1.0, "placement": "pooled", "open_sessions": 200_000},
}
MODEL = "scripted/yes"

_AT_ONCE = 32
_PATIENCE = 120.0
# What a session that sleeps may keep in all processes together, and once more after it has been woken, in MB;
# beside that a few actors are started in their time, whatever they hold.
_EACH = 0.06
_AGAIN = 0.01
_ACTORS = 200.0
# Files and sockets that may be open beyond those of an idle runtime: one more link, or host, here and there.
_FILES = 60


@dataclass(frozen=True)
class Held:
    """What the driver and all actors hold: MB of memory that they share with nobody, and open files."""

    memory: float
    files: int

    def __str__(self) -> str:
        return f"{self.memory:,.0f} MB and {self.files} files"


async def sessions_crowded(runtime: Runtime, count: int) -> str:
    """So many sessions on one machine: memory and files stay flat, each wakes knowing what it was told."""
    await _each([runtime.session(f"warm-up-{number}", model=MODEL) for number in range(_AT_ONCE)], _used_up)
    crowd = [runtime.session(f"crowd-{number}", model=MODEL) for number in range(count)]
    before = await _held(runtime)
    opened = await _each(crowd, _introduced)
    await _asleep(runtime)
    sleeping = await _held(runtime)
    woken = await _each(crowd, _remembers)
    await _asleep(runtime)
    again = await _held(runtime)
    gone = await _each(crowd, lambda session: _deleted(runtime, session))
    after = await _held(runtime)
    assert not (await runtime.status())["sessions"]
    assert not [found.id async for found in runtime.sessions.list(prefix="crowd-")]
    assert sleeping.memory - before.memory < _ACTORS + count * _EACH, (before, sleeping)
    assert again.memory - sleeping.memory < _ACTORS + count * _AGAIN, (sleeping, again)
    assert max(sleeping.files, again.files, after.files) < before.files + _FILES, (before, sleeping, again)
    return (
        f"{count} sessions opened at {count / opened:.0f}/s, woken at {count / woken:.0f}/s, deleted at "
        f"{count / gone:.0f}/s; before {before}; asleep {sleeping}; after all were woken {again}; after all "
        f"were deleted {after}"
    )


async def _each(sessions: Sequence[Session], work: Callable[[Session], Awaitable[None]]) -> float:
    """Does it for all of them, some at once; the seconds that it took."""
    waiting = iter(sessions)

    async def worker() -> None:
        for session in waiting:
            await work(session)

    begun = time.monotonic()
    await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))
    return time.monotonic() - begun


async def _used_up(session: Session) -> None:
    async with session:
        await session.ask("Hello.")


async def _introduced(session: Session) -> None:
    await session.open()
    await session.ask(f"I am {session.id}.")


async def _remembers(session: Session) -> None:
    await session.ask("Who am I?")
    said = [message.text for message in await session.history()]
    assert said == [f"I am {session.id}.", "Yes.", "Who am I?", "Yes."], (session.id, said)


async def _deleted(runtime: Runtime, session: Session) -> None:
    await session.close()
    await runtime.sessions.delete(session.id)


async def _asleep(runtime: Runtime) -> None:
    """Returns once no session lives in an actor."""
    give_up = time.monotonic() + _PATIENCE
    while (hosts := (await runtime.status())["hosts"])["sessions"]:
        assert time.monotonic() < give_up, hosts
        await asyncio.sleep(0.5)


async def _held(runtime: Runtime) -> Held:
    actors = (await runtime.status())["actors"]
    processes = [os.getpid(), *(int(actor["pid"]) for actor in actors)]
    return Held(sum(resident_mb(processes).values()), open_files(processes))
