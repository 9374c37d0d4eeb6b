"""What a handler is registered with, as the record of it that the table keeps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypedDict, get_args

from llmgine.actors.bus.errors import InvalidOption
from llmgine.actors.bus.filters import Filter
from llmgine.actors.bus.handling.handlers import (
    Handler,
    anonymous_name,
    check_class,
    default_name,
    takes_delivery,
)
from llmgine.actors.bus.messages import BUS, Command, Event, Message
from llmgine.actors.bus.middleware import Middleware
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.policies import BatchPolicy, BreakerPolicy, Order, Overflow, RetryPolicy
from llmgine.actors.bus.schema import fingerprint
from llmgine.actors.bus.subscriptions import Kind, SubscriptionRecord

# As long as a session's id may be.
_LONGEST = 200
# What databases and peers take for a whole number.
_FARTHEST = 1 << 31


class HandlerOptions(TypedDict, total=False):
    """What may be said of any handler; `Bus.register_event_handler` explains each."""

    session_id: str | None
    name: str | None
    durable: bool
    retry: RetryPolicy | None
    breaker: BreakerPolicy | None
    capacity: int | None
    concurrency: int | None
    deadline: float | None
    middleware: Sequence[Middleware]


class EventOptions(HandlerOptions, total=False):
    """What may be said of a handler of events."""

    priority: int
    filter: Filter | None
    overflow: Overflow
    coalesce_by: str | None
    order: Order
    batch: BatchPolicy | None


class CommandOptions(HandlerOptions, total=False):
    """What may be said of a handler of commands."""

    idempotent: bool


class HandlerRecords:
    """Makes the records of one client's handlers; what its options leave out comes from the bus'."""

    def __init__(
        self, identity: str, epoch: int, member_of: str, options: BusOptions, *, wakes: bool = False
    ) -> None:
        self._owner = f"{identity}.{epoch}"
        # Members stand for their deployment, which has one life whatever replicas come and go.
        self._client, self._epoch = (member_of, 0) if member_of else (identity, epoch)
        self._lives = {identity: epoch} if member_of else {}
        self._options = options
        self._wakes = wakes
        self._numbers = itertools.count(1)

    def event(self, event_class: type[Event], handler: Handler, given: EventOptions) -> SubscriptionRecord:
        """Raises `RegistrationRefused`, naming the option that cannot be."""
        check_class(event_class, "event")
        _known(given, EventOptions, "events")
        overflow, coalesce_by = given.get("overflow", "block"), given.get("coalesce_by")
        _one_of("overflow", overflow, get_args(Overflow))
        _one_of("order", given.get("order", "session"), get_args(Order))
        _text("coalesce_by", coalesce_by)
        if coalesce_by is not None and overflow != "coalesce":
            raise InvalidOption('`coalesce_by` is for overflow="coalesce"; set that, or leave it out')
        priority = given.get("priority", 50)
        if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) >= _FARTHEST:
            raise InvalidOption(f"`priority` is a whole number, the lower the earlier, not {priority!r}")
        batch = _of("batch", given.get("batch"), BatchPolicy)
        return replace(
            self._any("event", event_class, handler, given),
            priority=priority,
            overflow=overflow,
            order=given.get("order", "session"),
            filter=filter_wire(given.get("filter")),
            coalesce_by=coalesce_by,
            batch=None if batch is None else batch.model_dump(),
            retry=(given.get("retry") or self._options.retry).model_dump(),
        )

    def command(
        self, command_class: type[Command[Any]], handler: Handler, given: CommandOptions
    ) -> SubscriptionRecord:
        """Raises `RegistrationRefused`, naming the option that cannot be."""
        check_class(command_class, "command")
        _known(given, CommandOptions, "commands")
        idempotent = _flag("idempotent", given.get("idempotent", False))
        # An effect that happened twice is worse than a failure that says so: retries are asked for.
        default = self._options.retry if idempotent else RetryPolicy(retries=0)
        return replace(
            self._any("command", command_class, handler, given),
            idempotent=idempotent,
            retry=(given.get("retry") or default).model_dump(),
        )

    def _any(
        self, kind: Kind, message_class: type[Message], handler: Handler, given: HandlerOptions
    ) -> SubscriptionRecord:
        takes_delivery(handler)
        options = self._options
        _of("retry", given.get("retry"), RetryPolicy)
        breaker = _of("breaker", given.get("breaker"), BreakerPolicy) or options.breaker
        middleware = given.get("middleware", ())
        if not isinstance(middleware, Sequence):
            raise InvalidOption(f"`middleware` is a list of them, not {middleware!r}")
        for one in middleware:
            _of("middleware", one, Middleware)
        durable = _flag("durable", given.get("durable", False))
        return SubscriptionRecord(
            kind,
            message_class.__wire_name__,
            _text("name", given.get("name")) or self._name(handler, durable),
            self._client,
            self._epoch,
            session=_text("session_id", given.get("session_id")) or BUS,
            capacity=_whole("capacity", given.get("capacity"), options.mailbox_capacity),
            concurrency=_whole("concurrency", given.get("concurrency"), options.handler_concurrency),
            deadline=_seconds("deadline", given.get("deadline"), options.handler_deadline),
            durable=durable,
            members=bool(self._lives),
            wakes=self._wakes,
            lives=self._lives,
            breaker=breaker.model_dump(),
            slow_after=breaker.slow_after if breaker.enabled else None,
            fingerprint=fingerprint(message_class),
        )

    def _name(self, handler: Handler, durable: bool) -> str:
        name = default_name(handler)
        if name is not None:
            return name
        if durable or self._lives:
            raise InvalidOption(
                f"{handler!r} is known to its next owner by its name only, and such a function has none"
                " of its own; give it one: name=…"
            )
        return anonymous_name(handler, self._owner, next(self._numbers))


def filter_wire(given: Filter | None) -> dict[str, Any] | None:
    """A filter as it travels to the routers; raises `InvalidOption` for anything else."""
    checked = _of("filter", given, Filter)
    return None if checked is None else checked.to_wire()


def _known(given: HandlerOptions, options: type[Any], kind: str) -> None:
    unknown = sorted(given.keys() - options.__optional_keys__)
    if unknown:
        known = ", ".join(sorted(options.__optional_keys__))
        raise InvalidOption(f"a handler of {kind} takes no {', '.join(unknown)}; it takes {known}")


def _of(option: str, given: Any, kind: type[Any]) -> Any:
    if given is None or isinstance(given, kind):
        return given
    raise InvalidOption(f"`{option}` takes instances of {kind.__name__}, and was given {given!r}")


def _text(option: str, given: str | None) -> str | None:
    """Also part of keys and of what is shown."""
    if given is None or (isinstance(given, str) and 0 < len(given) <= _LONGEST and given.isprintable()):
        return given
    raise InvalidOption(
        f"`{option}` is a text of 1 to {_LONGEST} printable characters, not {given!r}; leave it out for none"
    )


def _flag(option: str, given: bool) -> bool:
    if not isinstance(given, bool):
        raise InvalidOption(f"`{option}` is True or False, not {given!r}")
    return given


def _one_of(option: str, given: Any, known: tuple[str, ...]) -> None:
    if given not in known:
        raise InvalidOption(f"`{option}` is one of {', '.join(map(repr, known))}, not {given!r}")


def _whole(option: str, given: int | None, default: int) -> int:
    if given is None:
        return default
    if isinstance(given, bool) or not isinstance(given, int) or not 0 < given < _FARTHEST:
        raise InvalidOption(f"`{option}` is a whole number above 0, not {given!r}")
    return given


def _seconds(option: str, given: float | None, default: float) -> float:
    if given is None:
        return default
    if not isinstance(given, int | float) or not 0 < given < math.inf:
        raise InvalidOption(f"`{option}` is seconds above 0, not {given!r}; leave it out for the default")
    return given
