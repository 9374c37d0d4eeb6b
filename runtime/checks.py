"""What the bus and sessions are given, looked at before it is sent anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from llmgine.actors.bus import Command, Event, Message
from llmgine.providers import InvalidRequest, LlmgineError

E = TypeVar("E", bound=Event)
C = TypeVar("C", bound=Command[Any])
M = TypeVar("M", bound=Message)
R = TypeVar("R")

Handler = Callable[..., Any]
Verb = Literal["publish", "schedule", "execute"]


def checked_deadline(deadline: float | None) -> float | None:
    """The deadline, or `InvalidRequest` where no time would be left."""
    if deadline is None:
        return None
    if not isinstance(deadline, int | float) or not (0 < deadline < math.inf):
        raise InvalidRequest(f"deadline is seconds above 0, not {deadline!r}; leave it out for the default")
    return deadline


def checked(message: M, verb: Verb) -> M:
    """The message, or `InvalidRequest` that says what was given in its place."""
    kind, called = (Command, "a command") if verb == "execute" else (Event, "an event")
    if isinstance(message, kind):
        return message
    given = f"the class {message.__name__}" if isinstance(message, type) else type(message).__name__
    raise InvalidRequest(
        f"{verb} takes {called}, an instance of a subclass of {kind.__name__}, and was given {given}"
    )


def check_names(given: Mapping[str, Any], options: type[Any], taker: str, error: type[LlmgineError]) -> None:
    """Raises `error` where one was given that is no key of the TypedDict `options`; `taker` begins it."""
    known = options.__optional_keys__
    unknown = sorted(given.keys() - known)
    if unknown:
        raise error(f"{taker} {', '.join(sorted(known))}, not by {', '.join(unknown)}")
