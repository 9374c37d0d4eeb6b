"""What the router reads of a body: its metadata, and these only when somebody asks. Pure."""

from __future__ import annotations

from typing import Any

from llmgine.actors.bus.errors import UndecodableMessage
from llmgine.actors.bus.payload import read_head


def metadata_of(body: bytes) -> dict[str, Any]:
    """What a body says beside its fields; nothing where it is none, for that its handler shall find."""
    try:
        return read_head(body)[2]
    except UndecodableMessage:
        return {}
