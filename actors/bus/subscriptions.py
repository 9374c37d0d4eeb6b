"""Who handles what: the one table of subscriptions, owned by the supervisor and mirrored in routers.

A subscription has a number for life. The same handler name registering again in its scope takes
the subscription over: its number stays, its generation rises, what waits for it goes to the new
owner. `serial` counts every change, so a generation also says when it began.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

from llmgine.actors.bus.errors import (
    HandlerExists,
    ProtocolViolation,
    SchemaConflict,
    ScopeRefused,
    StaleRegistration,
)
from llmgine.actors.bus.messages import BUS
from llmgine.actors.bus.policies import Order, Overflow

Kind = Literal["event", "command"]


@dataclass(frozen=True, slots=True)
class SubscriptionRecord:
    """One handler of one message class in one scope; `client` and `epoch` say whose it is now.

    `retry` and `breaker` are policies and `filter` is a filter, each in wire form. `members` says that the
    owner is a deployment: several clients serve the subscription in its name, side by side; `lives` are
    they, each with its epoch. Where the owner goes, a `durable` subscription stays, and what is sent to it
    is in the journal before it counts as admitted. `slow_after` is the breaker's, for the handler's
    process, which alone knows durations. `wakes` says that it is a session's own: where nobody serves it,
    the session is woken for what waits.
    """

    kind: Kind
    wire_name: str
    name: str
    client: str
    epoch: int
    session: str = BUS
    priority: int = 50
    overflow: Overflow = "block"
    capacity: int = 10_000
    concurrency: int = 64
    deadline: float = 30.0
    idempotent: bool = False
    durable: bool = False
    members: bool = False
    wakes: bool = False
    lives: dict[str, int] = field(default_factory=dict)
    order: Order = "session"
    retry: dict[str, Any] = field(default_factory=dict)
    breaker: dict[str, Any] = field(default_factory=dict)
    filter: dict[str, Any] | None = None
    coalesce_by: str | None = None
    slow_after: float | None = None
    batch: dict[str, Any] | None = None
    fingerprint: str = ""
    number: int = 0
    generation: int = 0

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What is unique in the table."""
        return self.session, self.kind, self.wire_name, self.name

    @property
    def key_text(self) -> str:
        """The same as one text, for the store."""
        return "\x1f".join(self.key)

    @property
    def owner(self) -> tuple[str, int]:
        return self.client, self.epoch

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> SubscriptionRecord:
        unknown = wire.keys() - _FIELDS
        if unknown:
            raise ProtocolViolation(f"a subscription has no {', '.join(sorted(unknown))}")
        try:
            return cls(**wire)
        except TypeError as error:
            raise ProtocolViolation(f"not a subscription: {error}") from error


_FIELDS = frozenset(one.name for one in fields(SubscriptionRecord))


class Registered(NamedTuple):
    """The subscription as it stands now, and what it was before if it was taken over."""

    subscription: SubscriptionRecord
    replaced: SubscriptionRecord | None


@dataclass(frozen=True, slots=True)
class TableStatistics:
    """Exact counts; `handlers` per scope, event and command handlers together."""

    sessions: int
    handlers: dict[str, int]
    event_handlers: int
    command_handlers: int

    @property
    def registered_handlers(self) -> int:
        return self.event_handlers + self.command_handlers


class SubscriptionTable:
    """All subscriptions; every method that changes it either succeeds whole or changes nothing."""

    def __init__(self) -> None:
        self.serial = 0
        self._next = 1
        self._by_number: dict[int, SubscriptionRecord] = {}
        self._by_key: dict[tuple[str, str, str, str], int] = {}
        self._by_scope: dict[str, dict[int, SubscriptionRecord]] = {}
        self._by_client: dict[str, set[int]] = {}
        self._by_wire_name: dict[str, set[int]] = {}
        self._commands: dict[tuple[str, str], int] = {}

    def outlive(self, bound: int) -> None:
        """An earlier life of its owner has given out numbers and serials below `bound`, which others know."""
        self.serial = max(self.serial, bound)
        self._next = max(self._next, bound)

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[SubscriptionRecord]:
        return iter(self._by_number.values())

    def get(self, number: int) -> SubscriptionRecord | None:
        return self._by_number.get(number)

    def scope(self, session: str) -> Iterable[SubscriptionRecord]:
        """The subscriptions of one scope, in order of registration."""
        return self._by_scope.get(session, {}).values()

    def scopes_of(self, wire_name: str) -> list[str]:
        """The scopes in which there is a handler of this very class, sorted."""
        return sorted({self._by_number[number].session for number in self._by_wire_name.get(wire_name, ())})

    def by_key(self, key_text: str) -> SubscriptionRecord | None:
        """The subscription of that key, as the store names it."""
        parts = key_text.split("\x1f")
        number = self._by_key.get((parts[0], parts[1], parts[2], parts[3])) if len(parts) == 4 else None
        return self._by_number[number] if number is not None else None

    def find(self, subscription: SubscriptionRecord) -> SubscriptionRecord | None:
        """What is registered under the same name in the same scope."""
        number = self._by_key.get(subscription.key)
        return None if number is None else self._by_number[number]

    def check(self, subscription: SubscriptionRecord) -> None:
        """Raises `RegistrationRefused` where `add` would."""
        self._check(subscription, self.find(subscription))

    def add(self, subscription: SubscriptionRecord) -> Registered:
        """Register, or take over under the same name; raises `RegistrationRefused`.

        Members register the same, one after another; what is there already, to the last setting, stays.
        """
        former = self.find(subscription)
        self._check(subscription, former)
        if former is not None and subscription.members:
            subscription = replace(subscription, lives={**former.lives, **subscription.lives})
            if _is_same(former, subscription):
                return Registered(former, former)
        number = former.number if former is not None else 0
        if former is None:
            number, self._next = self._next, self._next + 1
        return Registered(self._settle(replace(subscription, number=number)), former)

    def leave(self, client: str, epoch: int | None = None) -> list[SubscriptionRecord]:
        """This member serves nothing any more; with `epoch` only its lives up to that. What has changed."""
        left = [
            one
            for one in self._by_number.values()
            if client in one.lives and (epoch is None or one.lives[client] <= epoch)
        ]
        return [
            self._settle(replace(one, lives={name: one.lives[name] for name in one.lives if name != client}))
            for one in left
        ]

    def _settle(self, subscription: SubscriptionRecord) -> SubscriptionRecord:
        self.serial += 1
        settled = replace(subscription, generation=self.serial)
        former = self._by_number.get(settled.number)
        if former is not None:
            self._unlink(former)
        self._link(settled)
        return settled

    def _check(self, new: SubscriptionRecord, former: SubscriptionRecord | None) -> None:
        if former is not None and former.client == new.client and new.epoch < former.epoch:
            raise StaleRegistration(
                f"handler {new.name!r} belongs to life {former.epoch} of {new.client!r};"
                f" life {new.epoch} is over"
            )
        if new.kind == "command":
            holder = self._commands.get((new.session, new.wire_name))
            if holder is not None and self._by_number[holder].name != new.name:
                scope = "the bus scope" if new.session == BUS else f"session {new.session!r}"
                raise HandlerExists(
                    f"command {new.wire_name} has a handler in {scope} already:"
                    f" {self._by_number[holder].name!r}; remove that one, or register under its name"
                    " to take over"
                )
        for number in self._by_wire_name.get(new.wire_name, ()):
            other = self._by_number[number]
            if other is not former and other.fingerprint != new.fingerprint:
                raise SchemaConflict(
                    f"another class with other fields is registered as {new.wire_name}"
                    f" (handler {other.name!r}); give one of them its own __wire_name__"
                )

    def _link(self, subscription: SubscriptionRecord) -> None:
        number = subscription.number
        self._by_number[number] = subscription
        self._by_key[subscription.key] = number
        self._by_scope.setdefault(subscription.session, {})[number] = subscription
        self._by_client.setdefault(subscription.client, set()).add(number)
        self._by_wire_name.setdefault(subscription.wire_name, set()).add(number)
        if subscription.kind == "command":
            self._commands[subscription.session, subscription.wire_name] = number

    def _unlink(self, subscription: SubscriptionRecord) -> None:
        number = subscription.number
        del self._by_number[number]
        del self._by_key[subscription.key]
        _discard(self._by_scope, subscription.session, number)
        _discard(self._by_client, subscription.client, number)
        _discard(self._by_wire_name, subscription.wire_name, number)
        if subscription.kind == "command":
            del self._commands[subscription.session, subscription.wire_name]

    def remove(self, number: int, owner: tuple[str, int] | None = None) -> SubscriptionRecord | None:
        """Remove one; None where it is not there, or no longer the given owner's (client, epoch)."""
        subscription = self._by_number.get(number)
        if subscription is None or (owner is not None and subscription.owner != owner):
            return None
        self._unlink(subscription)
        self.serial += 1
        return subscription

    def remove_scope(self, session: str) -> list[SubscriptionRecord]:
        """Remove every handler of one session and no other; the bus scope is refused."""
        if session == BUS:
            raise ScopeRefused('the bus scope "BUS" cannot be unregistered; remove its handlers one by one')
        return self._remove_all(list(self.scope(session)))

    def remove_client(self, client: str, epoch: int | None = None) -> list[SubscriptionRecord]:
        """Remove what a client holds but the durable ones; with `epoch` only what lives up to it hold."""
        held = [self._by_number[number] for number in sorted(self._by_client.get(client, ()))]
        left = [one for one in held if not one.durable and (epoch is None or one.epoch <= epoch)]
        return self._remove_all(left)

    def _remove_all(self, subscriptions: list[SubscriptionRecord]) -> list[SubscriptionRecord]:
        for subscription in subscriptions:
            self.remove(subscription.number)
        return subscriptions

    def snapshot(self) -> list[dict[str, Any]]:
        """Every subscription in wire form, by number."""
        return [self._by_number[number].to_wire() for number in sorted(self._by_number)]

    def put(self, subscription: SubscriptionRecord) -> SubscriptionRecord | None:
        """Mirror a subscription that the table's owner has numbered; returns what stood there."""
        former = self._by_number.get(subscription.number)
        if former is not None and former.generation >= subscription.generation:
            return former
        # Pushes keep their order, but a snapshot may overtake a removal.
        stale = self._by_key.get(subscription.key)
        if stale is not None and stale != subscription.number:
            self._unlink(self._by_number[stale])
        if former is not None:
            self._unlink(former)
        self._link(subscription)
        self.serial = max(self.serial, subscription.generation)
        self._next = max(self._next, subscription.number + 1)
        return former

    def statistics(self) -> TableStatistics:
        commands = len(self._commands)
        return TableStatistics(
            sessions=sum(1 for session in self._by_scope if session != BUS),
            handlers={session: len(held) for session, held in self._by_scope.items()},
            event_handlers=len(self._by_number) - commands,
            command_handlers=commands,
        )


def _is_same(one: SubscriptionRecord, other: SubscriptionRecord) -> bool:
    return one == replace(other, number=one.number, generation=one.generation)


def _discard(index: dict[str, Any], key: str, number: int) -> None:
    held = index[key]
    if isinstance(held, dict):
        del held[number]
    else:
        held.discard(number)
    if not held:
        del index[key]
