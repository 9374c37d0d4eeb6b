"""What goes by in a turn's stream is told to whoever watches the session."""

from __future__ import annotations

from typing import Any

from llmgine.actors.sessions.running.observer import Piece, TurnObserver
from llmgine.actors.sessions.running.telling import Telling
from llmgine.actors.sessions.turns.events import StepStarted, ToolCalled, ToolProgress, TurnEvent
from llmgine.providers.contracts import ToolCallPart
from llmgine.providers.events import Reset, TextDelta, ThinkingDelta

CALL = ToolCallPart(id="c1", name="weather", arguments={})


class Watcher(TurnObserver):
    """All that it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def said(self, session_id: str, turn_id: str, piece: Piece) -> None:
        self.told.append(piece)

    def tool_started(self, session_id: str, turn_id: str, call: ToolCallPart) -> None:
        self.told.append((turn_id, call.name))

    def tool_progressed(self, session_id: str, turn_id: str, call: ToolCallPart, data: Any) -> None:
        self.told.append((call.name, data))


def test_readers_and_watchers_hear_the_same_in_one_order() -> None:
    """Each piece with its step, and the first one after a restart says so."""
    events: list[TurnEvent] = []
    watcher = Watcher()
    tell = Telling(events.append, watcher, "s", "s:1")
    stream: list[TurnEvent] = [
        StepStarted(1, "m"),
        ThinkingDelta(0, "hm"),
        TextDelta(1, "a"),
        Reset("again"),
        TextDelta(0, "b"),
        TextDelta(0, "c"),
        ToolCalled(CALL),
        ToolProgress("c1", 0.5),
        ToolProgress("c2", "nobody's"),
        StepStarted(2, "m"),
        TextDelta(0, "d"),
    ]
    for event in stream:
        tell(event)
    assert events == stream
    assert watcher.told == [
        Piece(1, "thinking", 0, "hm"),
        Piece(1, "text", 1, "a"),
        Piece(1, "text", 0, "b", restarted=True),
        Piece(1, "text", 0, "c"),
        ("s:1", "weather"),
        ("weather", 0.5),
        Piece(2, "text", 0, "d"),
    ]
