"""What the bus and sessions are given, looked at before it is sent anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from llmgine.actors.bus import Command, Event, Message
from llmgine.providers import InvalidRequest

E = TypeVar("E", bound=Event)
C = TypeVar("C", bound=Command[Any])
M = TypeVar("M", bound=Message)
R = TypeVar("R")

Handler = Callable[..., Any]


def checked_deadline(deadline: float | None) -> float | None:
    """The deadline, or `InvalidRequest` where no time would be left."""
    if deadline is None:
        return None
    if not isinstance(deadline, int | float) or not (0 < deadline < math.inf):
        raise InvalidRequest(f"deadline is seconds above 0, not {deadline!r}; leave it out for the default")
    return deadline


def checked(message: M, kind: type[Message]) -> M:
    """The message, or `InvalidRequest` that says what was given in its place."""
    if isinstance(message, kind):
        return message
    verb = "publish takes an event" if kind is Event else "execute takes a command"
    given = f"the class {message.__name__}" if isinstance(message, type) else type(message).__name__
    raise InvalidRequest(f"{verb}, an instance of a subclass of {kind.__name__}, and was given {given}")
