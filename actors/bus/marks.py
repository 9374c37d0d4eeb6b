"""Which messages a function or a method handles: `@on(Event)` and `@answers(Command)`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llmgine.actors.bus.client.records import CommandOptions, EventOptions
from llmgine.actors.bus.errors import InvalidHandler
from llmgine.actors.bus.messages import Command, Event, Message

F = TypeVar("F", bound=Callable[..., Any])

_MARKS = "__llmgine_marks__"
# What belongs to a registration by hand: what is marked has its own name, and whoever serves it a scope.
_NOT_HERE = frozenset(("name", "session_id"))


@dataclass(frozen=True, slots=True)
class Mark:
    """A function or method that handles one class of messages; `options` are those of the registration."""

    method: str
    message_class: type[Message]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_command(self) -> bool:
        return issubclass(self.message_class, Command)


def on(event_class: type[Event], **options: Any) -> Callable[[F], F]:
    """It handles events of this class; `options` are those of `register_event_handler`."""
    return _marker(event_class, Event, options)


def answers(command_class: type[Command[Any]], **options: Any) -> Callable[[F], F]:
    """It answers commands of this class; `options` are those of `register_command_handler`."""
    return _marker(command_class, Command, options)


def marks_of(handler_class: type[Any]) -> tuple[Mark, ...]:
    """Every marked method of the class and its ancestors; `InvalidHandler` where there is none."""
    if not isinstance(handler_class, type):
        raise InvalidHandler(f"{handler_class!r} is no class; deploy the class, not an instance of it")
    methods = inspect.getmembers(handler_class, callable)
    found = [mark for name, method in methods for mark in _marks(name, method)]
    if not found:
        raise InvalidHandler(
            f"{handler_class.__qualname__} handles nothing: mark its methods with @on(Event) or "
            "@answers(Command)"
        )
    return tuple(found)


def marks_on(function: Callable[..., Any]) -> tuple[Mark, ...]:
    """Every mark of one function; `InvalidHandler` where there is none."""
    name = getattr(function, "__qualname__", repr(function))
    found = tuple(_marks(name, function))
    if not found:
        raise InvalidHandler(f"{name} handles nothing: mark it with @on(Event) or @answers(Command)")
    return found


def _marks(name: str, function: Any) -> list[Mark]:
    marked = getattr(function, _MARKS, ())
    return [Mark(name, message_class, options) for message_class, options in marked]


def _marker(message_class: Any, root: type[Message], options: Mapping[str, Any]) -> Callable[[F], F]:
    if not (isinstance(message_class, type) and issubclass(message_class, root)):
        other = "@answers" if root is Event else "@on"
        raise InvalidHandler(
            f"{message_class!r} is no subclass of {root.__name__}; {other} marks the other kind of message"
        )
    known = EventOptions if root is Event else CommandOptions
    taken = sorted(known.__optional_keys__ - _NOT_HERE)
    for name in options:
        if name not in taken:
            raise InvalidHandler(
                f"a marked handler of {message_class.__name__} takes no {name!r}; it has its own name and"
                f" hears what whoever serves it hears, and takes {', '.join(taken)}"
            )

    def mark(method: F) -> F:
        marks = (*getattr(method, _MARKS, ()), (message_class, dict(options)))
        setattr(method, _MARKS, marks)
        return method

    return mark
