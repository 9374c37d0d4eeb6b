"""Sessions at work on a real runtime while their processes, and all that they stand on, are killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmgine.actors.sessions.context.store import ContextStore
from llmgine.actors.sessions.tools.context import ToolContext
from llmgine.runtime import LlmgineError, Runtime, Session, Tool
from tests.scripts import SCRIPTS

SETTINGS: dict[str, Any] = {"providers": {"scripts": SCRIPTS}}
MODEL = "scripted/torture"
VICTIMS = ("session", "host", "provider", "router", "store")

# Seconds that a turn may take, whatever is killed meanwhile.
_PATIENCE = 120.0


class Effects:
    """What tools did, as lines in a file that outlives them: turn, call, process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def tools(self) -> list[Tool[..., Any]]:
        path = str(self._path)

        async def act(context: ToolContext) -> str:
            """Changes the world; must not be done twice."""
            return _done(path, "act", context)

        async def look(context: ToolContext) -> str:
            """Looks at the world."""
            return _done(path, "look", context)

        return [Tool(act), Tool(look, idempotent=True)]

    def repeated(self) -> dict[str, int]:
        """How often each thing was done that must not be done twice and was."""
        lines = [line.split("\t") for line in self._path.read_text().splitlines()]
        times = Counter(f"{turn} {call}" for what, turn, call, _ in lines if what == "act")
        return {key: count for key, count in times.items() if count > 1}

    @property
    def count(self) -> int:
        return len(self._path.read_text().splitlines())


def _done(path: str, what: str, context: ToolContext) -> str:
    line = f"{what}\t{context.turn_id}\t{context.call_id}\t{os.getpid()}\n"
    # One write with O_APPEND is never torn between processes.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
    return f"{what} done"


@dataclass
class Tally:
    """What one session's driver was told."""

    answered: list[str] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0


async def sessions_tortured(
    runtime: Runtime, folder: Path, *, sessions: int, turns: int, kills: int, seed: int = 0
) -> str:
    """Every acknowledged turn is there, once, in order; nothing that must not be done twice was."""
    effects = Effects(folder / "effects.tsv")
    tallies = {f"torture-{number}": Tally() for number in range(sessions)}
    begun = time.monotonic()
    killing = asyncio.create_task(_kill_at_random(runtime, random.Random(seed), kills))
    opened = await asyncio.gather(
        *(_work(runtime, name, effects, tally, turns) for name, tally in tallies.items())
    )
    killed = await killing
    seconds = time.monotonic() - begun
    for session in opened:
        await _check(session, tallies[session.id])
        await session.close()
    assert not effects.repeated(), effects.repeated()
    failed = sum((tally.failed for tally in tallies.values()), Counter[str]())
    answered = sum(len(tally.answered) for tally in tallies.values())
    assert answered > sessions * turns // 2, (answered, failed)
    return (
        f"{sessions} sessions, {answered} turns answered and {sum(failed.values())} failed {dict(failed)}, "
        f"{effects.count} effects, in {seconds:.0f} s; killed {dict(killed)}; the longest turn took "
        f"{max(tally.longest for tally in tallies.values()):.1f} s"
    )


async def _work(runtime: Runtime, name: str, effects: Effects, tally: Tally, turns: int) -> Session:
    session = await _opened(runtime, name, effects)
    for number in range(turns):
        prompt, began = f"turn {number} of {name}", time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE):
                await session.ask(prompt)
        except LlmgineError as error:
            tally.failed[type(error).__name__] += 1
        else:
            tally.answered.append(prompt)
        tally.longest = max(tally.longest, time.monotonic() - began)
    return session


async def _opened(runtime: Runtime, name: str, effects: Effects) -> Session:
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                return await runtime.session(name, model=MODEL, tools=effects.tools(), stay=True).open()
            except LlmgineError:
                await asyncio.sleep(0.2)


async def _kill_at_random(runtime: Runtime, chance: random.Random, kills: int) -> Counter[str]:
    killed: Counter[str] = Counter()
    while killed.total() < kills:
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        hit = [actor for actor in await _actors(runtime) if actor["kind"] in VICTIMS]
        if not hit:
            continue
        kind = chance.choice(sorted({actor["kind"] for actor in hit}))
        victim = chance.choice([actor for actor in hit if actor["kind"] == kind])
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim["pid"], signal.SIGKILL)
            killed[kind] += 1
    return killed


async def _actors(runtime: Runtime) -> list[dict[str, Any]]:
    """Those that are up; none where somebody who knows is just coming back."""
    try:
        return list((await runtime.status())["actors"])
    except LlmgineError:
        return []


async def _check(session: Session, tally: Tally) -> None:
    history = await session.history()
    ContextStore(history)  # raises where calls and results do not pair
    said = [message.text for message in history if message.role == "user"]
    twice = [prompt for prompt, count in Counter(said).items() if count > 1]
    assert not twice, f"{session.id} has turns twice: {twice}"
    there = [prompt for prompt in said if prompt in set(tally.answered)]
    assert there == tally.answered, f"{session.id} has {there} of {tally.answered}"
