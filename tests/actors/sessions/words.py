"""What the tests of the runner share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmgine.actors.sessions.turns.events import TurnFailed
from llmgine.providers.errors import ErrorKind, ProviderError

MakeBench = Callable[..., Any]


async def shout(text: str) -> str:
    """Say it louder."""
    return text.upper()


def failure(event: Any, kind: type[Exception]) -> Any:
    assert isinstance(event, TurnFailed)
    assert isinstance(event.error, kind)
    return event.error


PROVIDER_FAILED = ProviderError("busy", kind=ErrorKind.OVERLOADED)
