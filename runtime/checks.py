"""What the bus and sessions are given, looked at before it is sent anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, get_args

from pydantic_core import PydanticSerializationError

from llmgine.actors.bus import Command, Event
from llmgine.actors.bus import Message as BusMessage
from llmgine.providers import InvalidRequest, LlmgineError, Message

E = TypeVar("E", bound=Event)
C = TypeVar("C", bound=Command[Any])
M = TypeVar("M", bound=BusMessage)
R = TypeVar("R")
T = TypeVar("T")

Handler = Callable[..., Any]
Verb = Literal["publish", "schedule", "execute"]

_LONGEST_ID = 200


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


def checked_prompt(prompt: str | Message) -> str | Message:
    """The prompt, or `InvalidRequest` where it is none or cannot be sent."""
    if not isinstance(prompt, str | Message):
        raise InvalidRequest(f"a prompt is a str or a Message, not {type(prompt).__name__}")
    try:
        if isinstance(prompt, str):
            prompt.encode()
        else:
            prompt.model_dump_json()
    except (UnicodeEncodeError, PydanticSerializationError) as error:
        why = f"it cannot be sent as JSON: {error}"
        if "surrogates" in str(error):
            why = "it holds lone surrogates, which are no text; read it with errors='replace'"
        raise InvalidRequest(f"the prompt is refused: {why}") from None
    return prompt


def checked_id(session_id: str) -> str:
    """The id, or `InvalidRequest` that says what one may be."""
    if not isinstance(session_id, str):
        raise InvalidRequest(f"a session's id is a text, not {session_id!r}")
    if not session_id.strip() or len(session_id) > _LONGEST_ID or not session_id.isprintable():
        raise InvalidRequest(
            f"a session's id is 1 to {_LONGEST_ID} printable characters, not {session_id[:50]!r}"
        )
    if session_id == "BUS":
        raise InvalidRequest('"BUS" names the scope of the whole bus and can be no session\'s id')
    return session_id


def checked_kind(option: str, given: T, kind: type[Any] | UnionType, example: str) -> T:
    """What was given, None included, or `InvalidRequest` that shows what is taken."""
    if given is None or isinstance(given, kind):
        return given
    raise InvalidRequest(f"{option}= is {example}, not {given!r}")


def checked_one_of(option: str, given: T, known: Any) -> T:
    """What was given, None included, or `InvalidRequest` that lists the values of the Literal `known`."""
    if given is None or given in get_args(known):
        return given
    raise InvalidRequest(f"{option} is one of {', '.join(get_args(known))}, not {given!r}")


def checked_number(option: str, given: int, least: int) -> int:
    """The whole number, or `InvalidRequest` where it is none, or below `least`."""
    if isinstance(given, int) and not isinstance(given, bool) and given >= least:
        return given
    raise InvalidRequest(f"{option}= is a whole number from {least}, not {given!r}")


def checked_several(option: str, given: Iterable[Any]) -> tuple[Any, ...]:
    """All that were given, or `InvalidRequest` where that is one thing and no list of them."""
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping):
        return tuple(given)
    raise InvalidRequest(f"{option}= is a list, as {option}=[…], not {given!r}")
