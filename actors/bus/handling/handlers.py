"""What a handler is: how it may be called, and by which name it is known."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmgine.actors.bus.errors import InvalidHandler
from llmgine.actors.bus.messages import Command, Event, Message, module_name

Handler = Callable[..., Any]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a message came to this handler.

    `id` is the same for every attempt, so a handler can use it to be idempotent; `attempt` counts
    from 1; `redelivered` says that an earlier delivery of the same attempt may have been seen by
    another process; `missed` is how many events this handler has lost to its full mailbox since the
    delivery before.
    """

    id: str
    handler: str
    session_id: str
    attempt: int
    redelivered: bool
    producer: str
    depth: int
    trace: bytes | None
    missed: int = 0


def check_class(message_class: Any, kind: str) -> None:
    """Raises InvalidHandler where the class is not what a handler of this kind can be registered for."""
    root: type[Message] = Event if kind == "event" else Command
    if isinstance(message_class, Message):
        raise InvalidHandler(
            f"a handler is registered for a class, not for an instance of {type(message_class).__name__}"
        )
    if not (isinstance(message_class, type) and issubclass(message_class, root)):
        other = "register_command_handler" if kind == "event" else "register_event_handler"
        raise InvalidHandler(
            f"{message_class!r} is no subclass of {root.__name__}; {other} takes the other kind of message"
        )


def takes_delivery(handler: Handler) -> bool:
    """Whether it is called with `(message, delivery)`; raises InvalidHandler where it can take neither."""
    if not callable(handler):
        raise InvalidHandler(f"{handler!r} is not callable")
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = [one for one in parameters if one.kind in _POSITIONAL]
    variadic = any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters)
    required = [one for one in positional if one.default is one.empty]
    keywords = [
        one.name
        for one in parameters
        if one.kind is inspect.Parameter.KEYWORD_ONLY and one.default is one.empty
    ]
    if keywords or len(required) > 2 or not (positional or variadic):
        raise InvalidHandler(
            f"{_qualified(handler)} must take (message) or (message, delivery),"
            f" not {inspect.signature(handler)}"
        )
    return len(required) == 2 or (len(positional) > 1 and positional[1].name == "delivery")


def _qualified(handler: Handler) -> str:
    name = getattr(handler, "__qualname__", None)
    if name is None:
        return type(handler).__qualname__
    return f"{module_name(getattr(handler, '__module__', None) or '?')}.{name}"


def default_name(handler: Handler) -> str | None:
    """module.qualname for a plain function of a module; None for what such a name cannot tell apart."""
    if inspect.ismethod(handler) or isinstance(handler, functools.partial):
        return None
    name = getattr(handler, "__qualname__", None)
    if name is None or "<" in name:
        return None
    return _qualified(handler)


def anonymous_name(handler: Handler, owner: str, count: int) -> str:
    """A name of its own for a lambda, closure, method or callable object."""
    inner = handler.func if isinstance(handler, functools.partial) else handler
    return f"{_qualified(inner)}@{owner}#{count}"
