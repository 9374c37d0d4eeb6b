"""What the bus case publishes: one class for a single handler, one for a durable one, one for ten."""

from __future__ import annotations

from llmgine.actors.bus import Event


class Numbered(Event):
    number: int
    sent: int
    text: str


class Kept(Event):
    number: int
    sent: int
    text: str


class Fanned(Event):
    number: int
    sent: int
    text: str
