"""What users publish and execute, and what they get back.

A message is a frozen pydantic model; its identity is no field of it but an envelope that the bus
stamps when the message is published. So making one costs no id and no clock, and two messages
with equal fields are equal.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from llmgine.actors.bus.errors import CommandFailed, NotPublished

BUS = "BUS"
LINEAGE_SEPARATOR = "|"

R = TypeVar("R")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Envelope(NamedTuple):
    """Who sent a message, when, and what caused it.

    `sequence` counts from 1 per producer, epoch and session; `time` is nanoseconds since 1970;
    `depth` counts the publishes that led here; `trace` is a packed trace context.
    """

    producer: str
    epoch: int
    session: str
    sequence: int
    time: int
    trace: bytes | None = None
    depth: int = 0
    attempt: int = 1
    replay_of: str | None = None

    @property
    def id(self) -> str:
        return f"{self.producer}:{self.epoch}:{self.session}:{self.sequence}"


class Message(BaseModel):
    """The common root of `Event` and `Command`.

    `session_id` is the scope, "BUS" for none; `metadata` maps strings to plain values. A class is
    known to other processes by its wire name: `__wire_name__` where the class sets one, else its
    module and name.
    """

    model_config = ConfigDict(frozen=True)
    __slots__ = ("_envelope",)
    __wire_name__: ClassVar[str]

    session_id: str = BUS
    metadata: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        # Kept on the class, which may travel by value to a process with another `__main__`.
        if "__wire_name__" not in cls.__dict__:
            cls.__wire_name__ = f"{module_name(cls.__module__)}.{cls.__qualname__}"
        if not cls.__wire_name__ or LINEAGE_SEPARATOR in cls.__wire_name__:
            raise TypeError(
                f"__wire_name__ of {cls.__qualname__} must be a text without {LINEAGE_SEPARATOR!r}"
            )

    @property
    def envelope(self) -> Envelope:
        try:
            return Envelope._make(_envelope_of(self))
        except AttributeError:
            raise NotPublished(
                f"this {type(self).__name__} has no identity yet: it gets one from publish() or execute()"
            ) from None

    @property
    def id(self) -> str:
        """Unique in the runtime; the same for every handler and attempt."""
        return self.envelope.id

    @property
    def timestamp(self) -> datetime:
        """When it was published, in UTC, cut to microseconds."""
        return _EPOCH + timedelta(microseconds=self.envelope.time // 1_000)


Message.__wire_name__ = "llmgine.Message"


class Event(Message):
    """Something that happened; any number of handlers may care. Subclass it with fields."""

    __wire_name__: ClassVar[str] = "llmgine.Event"


class Command(Message, Generic[R]):
    """Something to be done by exactly one handler, which answers with an R. Subclass `Command[R]`."""

    __wire_name__: ClassVar[str] = "llmgine.Command"


stamp = Message.__dict__["_envelope"].__set__
"""`stamp(message, fields)`: the one way past the frozen model, for the bus itself.

`fields` are an envelope's as a plain tuple, which the garbage collector soon leaves alone.
"""

_envelope_of = Message.__dict__["_envelope"].__get__


def is_stamped(message: Message) -> bool:
    # Through super, for pydantic would search its own ways for the missing attribute.
    return getattr(super(type(message), message), "_envelope", None) is not None


def module_name(module: str) -> str:
    """The module as other processes would import it: a script goes by its stem, `-m` by its real name."""
    if module != "__main__":
        return module
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return PurePath(file).stem if file else "__main__"


def wire_name(message_class: type[Message]) -> str:
    return message_class.__wire_name__


def lineage(message_class: type[Message]) -> str:
    """The wire names of the class and its message ancestors, most specific first, joined by "|"."""
    names = []
    for ancestor in message_class.__mro__:
        if not issubclass(ancestor, Message) or ancestor is Message:
            continue
        if ancestor.__pydantic_generic_metadata__["origin"] is Command:
            continue
        names.append(ancestor.__wire_name__)
    return LINEAGE_SEPARATOR.join(names)


def result_type(command_class: type[Command[Any]]) -> Any:
    """The R of `Command[R]`; Any where the class names none."""
    bound: dict[Any, Any] = {}
    for ancestor in command_class.__mro__:
        generic = getattr(ancestor, "__pydantic_generic_metadata__", None)
        origin = generic and generic["origin"]
        if generic is None or origin is None or not issubclass(origin, Command):
            continue
        arguments = [bound.get(argument, argument) for argument in generic["args"]]
        if origin is Command:
            return Any if isinstance(arguments[0], TypeVar) else arguments[0]
        bound.update(zip(origin.__pydantic_generic_metadata__["parameters"], arguments, strict=False))
    return Any


@dataclass(frozen=True, slots=True)
class HandlerOutcome:
    """What came of one handler of an event; `reason` says why where `success` is False."""

    handler: str
    success: bool
    reason: str = ""
    kind: str = ""
    text: str = ""
    attempts: int = 1
    duration: float = 0.0

    def to_wire(self) -> list[Any]:
        return [
            self.handler, self.success, self.reason, self.kind, self.text, self.attempts, self.duration
        ]  # fmt: skip

    @classmethod
    def from_wire(cls, wire: list[Any]) -> HandlerOutcome:
        return cls(*wire)


class Receipt(NamedTuple):
    """What became of a publish.

    `admitted`: every mailbox has taken its copy or refused it. False only for a publish inside a
    handler that found a full mailbox: the event waits in the bus and needs no further call.
    `refused` pairs handler names with reasons. `outcomes` is filled by `publish(event, wait=True)`.
    """

    id: str
    admitted: bool = True
    refused: tuple[tuple[str, str], ...] = ()
    outcomes: tuple[HandlerOutcome, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandError:
    """Why a command failed.

    `kind` is the exception's class name where a handler raised; else one of "no_handler", "deadline",
    "stuck", "outcome_unknown", "undecodable", "invalid", "invalid_result", "unsendable", "overflow",
    "depth", "breaker_open", "store", "cancelled", "closed". `retryable`: the same command may succeed
    later.
    """

    kind: str
    text: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class CommandResult(Generic[R]):
    """What `execute` returns, whatever happened; `duration` is seconds in the handler."""

    success: bool
    value: R | None = None
    error: CommandError | None = None
    attempts: int = 1
    duration: float = 0.0

    @classmethod
    def succeeded(cls, value: R | None = None) -> Self:
        return cls(True, value)

    @classmethod
    def failed(cls, kind: str, text: str, *, retryable: bool = False) -> Self:
        return cls(False, None, CommandError(kind, text, retryable))

    def unwrap(self) -> R:
        """The value; raises `CommandFailed` for a failure."""
        if not self.success:
            error = self.error or CommandError("unknown", "the handler returned a failure without an error")
            raise CommandFailed(error.kind, error.text, error.retryable)
        return self.value  # type: ignore[return-value]  # R may itself be None
