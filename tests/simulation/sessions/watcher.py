"""A driver that listens to what the runtime tells of its sessions, and answers what they ask."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from llmgine.providers import LlmgineError
from llmgine.runtime import Event, Runtime, SessionEnded, SessionStarted, TurnCompleted
from tests.simulation.sessions.load import answer_some, joined
from tests.simulation.sessions.loop import Process

if TYPE_CHECKING:
    from tests.simulation.sessions.world import World


class Watcher:
    """Hears of each opening's start and end, and of each turn's end, at most once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._heard: Counter[tuple[str, str, object]] = Counter()
        self.process = Process("watcher")

    def begin(self) -> None:
        """Also in a runtime that was launched anew; what was heard before counts on."""
        self.process = Process("watcher")
        self._world.loop.start(self.process, self._listen(), "watcher")

    async def _listen(self) -> None:
        while True:
            try:
                async with Runtime(lambda: joined(self._world)) as runtime:
                    for kind in (SessionStarted, SessionEnded, TurnCompleted):
                        await runtime.bus.register_event_handler(
                            kind, self._hear, name=f"watch {kind.__name__}"
                        )
                    while True:
                        await answer_some(self._world, runtime)
                        await asyncio.sleep(0.3)
            except LlmgineError as error:
                self._world.account.tell(f"the watcher is turned away: {error}")
                await asyncio.sleep(0.5)

    async def _hear(self, event: Event) -> None:
        what = type(event).__name__
        mark = event.turn_id if isinstance(event, TurnCompleted) else getattr(event, "opening", None)
        key = (what, event.session_id, mark)
        self._heard[key] += 1
        self._world.account.counters[what] += 1
        self._world.account.tell(f"heard: {what} {event.session_id} {mark}")
        self._world.account.must(self._heard[key] == 1, 2, f"{what} of {event.session_id} {mark} came again")
