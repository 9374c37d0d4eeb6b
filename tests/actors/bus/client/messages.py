"""What the clients under test publish and execute."""

from __future__ import annotations

from llmgine.actors.bus import Command, Event


class Noted(Event):
    text: str = ""
    number: int = 0


class Double(Command[int]):
    number: int
