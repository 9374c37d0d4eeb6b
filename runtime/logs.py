"""What the actors of a runtime log, on all of its nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from llmgine.actors.control.errors import ControlError
from llmgine.actors.control.logfiles import parsed
from llmgine.runtime.driver import Driver

# Seconds between two looks at the files, and for an actor to answer.
_EVERY = 0.5
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class LogLine:
    """One thing that an actor logged; `time` is ISO 8601 in UTC, `error` a traceback.

    `session` is the one for which the logging code worked, "" where that is none.
    """

    time: str
    level: str
    actor: str
    logger: str
    text: str
    session: str = ""
    error: str = ""
    pid: int = 0

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        return cls(**{name: told[name] for name in cls.__dataclass_fields__ if name in told})


class Logs:
    """`runtime.logs`: read through one actor of each node, so that dead actors are there, too."""

    def __init__(self, driver: Driver) -> None:
        self._cluster = driver.ground.cluster
        self._nodes: dict[str, str] = {}  # the node of each actor that has been asked
        self._positions: dict[str, dict[str, int]] = {}

    async def read(self, *, tail: int = 100) -> list[LogLine]:
        """The last lines of each actor, `tail` at most, by their time; the next time, what has come since.

        Actors inside of one process log to that process alone, so there are none of theirs.
        """
        readers = await self._readers()
        told = await asyncio.gather(*(self._read(node, actor, tail) for node, actor in readers.items()))
        lines = [LogLine.of(line) for lines in told for line in parsed(lines)]
        return sorted(lines, key=lambda line: line.time)

    async def follow(self, *, tail: int = 100) -> AsyncIterator[LogLine]:
        """The last lines of each actor, then what comes, for ever."""
        while True:
            for line in await self.read(tail=tail):
                yield line
            # What a new actor has logged before it was seen is new, too.
            tail = max(tail, 1_000)
            await asyncio.sleep(_EVERY)

    async def _readers(self) -> dict[str, str]:
        """An actor that answers on each node."""
        names = await self._cluster.names()
        new = [name for name in names if name not in self._nodes]
        places = await asyncio.gather(*(self._node(name) for name in new))
        self._nodes.update({name: node for name, node in zip(new, places, strict=True) if node})
        self._nodes = {name: node for name, node in self._nodes.items() if name in names}
        return {node: name for name, node in sorted(self._nodes.items(), reverse=True)}

    async def _node(self, actor: str) -> str:
        """The node of an actor whose logs are kept; "" where it does not tell now."""
        try:
            return str(await self._cluster.call(actor, "logs_on", timeout=_PATIENCE))
        except (ControlError, TimeoutError):
            return ""

    async def _read(self, node: str, actor: str, tail: int) -> list[str]:
        try:
            lines, self._positions[node] = await self._cluster.call(
                actor, "logs", self._positions.get(node, {}), tail, timeout=_PATIENCE
            )
        except (ControlError, TimeoutError):
            self._nodes.pop(actor, None)
            return []
        told: list[str] = lines
        return told
