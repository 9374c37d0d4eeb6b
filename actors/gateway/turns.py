"""A turn's events as frames of a stream."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from llmgine.actors.gateway.failures import refusal_of
from llmgine.actors.gateway.sse import frame
from llmgine.actors.sessions import TurnDone, TurnEvent, TurnFailed


def turn_frame(event: TurnEvent) -> bytes:
    """The event under the name of its type; its fields are its data."""
    return frame(event.type, _data(event))


def _data(event: TurnEvent) -> dict[str, Any]:
    match event:
        case TurnDone(reply):
            return {"reply": reply.model_dump(mode="json")}
        case TurnFailed(error, partial):
            refused = refusal_of(error)
            said = {"type": refused.type, "message": refused.message, "hint": refused.hint}
            return {"error": said, "partial": partial and partial.model_dump(mode="json")}
        case _:
            return {one.name: _plain(getattr(event, one.name)) for one in fields(event)}


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value
