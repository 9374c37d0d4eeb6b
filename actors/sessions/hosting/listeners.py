"""Whether anybody hears the events that are too many to be published for nobody. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmgine.actors.bus import Event
from llmgine.actors.bus.messages import BUS
from llmgine.actors.sessions.messages import StreamDelta, ToolProgressed

# The supervisor pushes, of these classes, the scopes in which there is a handler of that very class: one
# of `Event` hears them where they are published, and does not have them published.
LISTENED = (StreamDelta, ToolProgressed)
TABLE = "listeners"


class Listeners:
    """What the supervisor has pushed: by wire name, the scopes with a handler."""

    def __init__(self) -> None:
        self._scopes: dict[str, frozenset[str]] = {}

    def update(self, body: Mapping[str, Sequence[str]]) -> None:
        self._scopes = {name: frozenset(scopes) for name, scopes in body.items()}

    def hear(self, event_class: type[Event], session_id: str) -> bool:
        """Whether there is a handler for such events of this session."""
        scopes = self._scopes.get(event_class.__wire_name__)
        return scopes is not None and (BUS in scopes or session_id in scopes)
