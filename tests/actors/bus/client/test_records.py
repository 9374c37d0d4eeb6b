"""What a handler may be registered with, and what is refused."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import pytest

from llmgine.actors.bus import (
    BatchPolicy,
    BreakerPolicy,
    BusOptions,
    Command,
    Event,
    InvalidOption,
    Middleware,
    RetryPolicy,
    SubscriptionRecord,
    TypeFilter,
)
from llmgine.actors.bus.client.records import HandlerRecords


class Noted(Event):
    text: str = ""


class Add(Command[int]):
    one: int


async def handle(message: Any) -> None: ...


class Listener:
    async def on_noted(self, event: Noted) -> None: ...


OPTIONS = BusOptions(retry=RetryPolicy(retries=7), breaker=BreakerPolicy(failures=9), mailbox_capacity=33)
RECORDS = HandlerRecords("driver", 4, "", OPTIONS)


def event(**given: Any) -> SubscriptionRecord:
    return RECORDS.event(Noted, given.pop("handler", handle), given)  # type: ignore[arg-type]  # the test's mistakes are meant


def command(**given: Any) -> SubscriptionRecord:
    return RECORDS.command(Add, handle, given)  # type: ignore[arg-type]  # as above


def test_what_is_left_out_comes_from_the_settings() -> None:
    """A handler registered with nothing else has the bus's policies, and its function's name."""
    record = event()
    assert record.retry["retries"] == 7
    assert record.breaker["failures"] == 9
    assert (record.capacity, record.name) == (33, f"{__name__}.handle")
    assert (record.client, record.epoch, record.members, record.slow_after) == ("driver", 4, False, None)


def test_what_is_given_travels_as_plain_values() -> None:
    """Policies and filters of one's own go to the table as what any process can read."""
    record = event(
        retry=RetryPolicy(retries=1),
        breaker=BreakerPolicy(slow_after=0.5),
        filter=TypeFilter(exclude=(Noted,)),
        batch=BatchPolicy(size=10),
        overflow="coalesce",
        coalesce_by="key",
        order="strict",
        capacity=5,
        concurrency=2,
        deadline=1.5,
    )
    assert (record.retry["retries"], record.batch and record.batch["size"]) == (1, 10)
    assert record.slow_after == record.breaker["slow_after"] == 0.5
    assert record.filter == TypeFilter(exclude=(Noted,)).to_wire()
    assert (record.overflow, record.coalesce_by, record.order) == ("coalesce", "key", "strict")
    assert (record.capacity, record.concurrency, record.deadline) == (5, 2, 1.5)
    assert SubscriptionRecord.from_wire(record.to_wire()) == record


def test_commands_are_tried_again_only_where_that_was_asked_for() -> None:
    """An effect that may happen twice is allowed by `idempotent`, or by a retry policy of one's own."""
    assert command().retry["retries"] == 0
    assert command(idempotent=True).retry["retries"] == 7
    assert command(retry=RetryPolicy(retries=2)).retry["retries"] == 2


def test_slow_attempts_are_not_told_where_no_breaker_counts_them() -> None:
    """A breaker that is switched off asks nothing of the handler's process."""
    assert event(breaker=BreakerPolicy(enabled=False, slow_after=1.0)).slow_after is None


def test_members_stand_for_their_deployment() -> None:
    """Whichever replica registers, the table gets the same record, and one more life that serves it."""
    records = [HandlerRecords(f"replica-{n}", n, "sums", OPTIONS).event(Noted, handle, {}) for n in (1, 2)]
    assert [record.lives for record in records] == [{"replica-1": 1}, {"replica-2": 2}]
    assert replace(records[0], lives={}) == replace(records[1], lives={})
    assert (records[0].client, records[0].epoch, records[0].members) == ("sums", 0, True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"overflow": "spill"}, "'drop_oldest'"),
        ({"order": "none"}, "'strict'"),
        ({"coalesce_by": "key"}, 'overflow="coalesce"'),
        ({"filter": lambda event: True}, "`filter`.*Filter"),
        ({"retry": 3}, "`retry`.*RetryPolicy"),
        ({"breaker": {"failures": 3}}, "`breaker`.*BreakerPolicy"),
        ({"batch": 10}, "`batch`.*BatchPolicy"),
        ({"middleware": (Middleware,)}, "`middleware`.*Middleware"),
        ({"middleware": Middleware()}, "`middleware` is a list"),
        ({"capacity": 0}, "`capacity`.*above 0"),
        ({"capacity": True}, "`capacity`.*above 0"),
        ({"capacity": 1 << 70}, "`capacity`.*above 0"),
        ({"name": 5}, "`name`.*printable"),
        ({"name": ""}, "`name`.*printable"),
        ({"name": "a\x1fb"}, "`name`.*printable"),
        ({"name": "\ud800"}, "`name`.*printable"),
        ({"session_id": 5}, "`session_id`.*printable"),
        ({"durable": "yes"}, "`durable`.*True or False"),
        ({"overflow": "coalesce", "coalesce_by": 5}, "`coalesce_by`.*text"),
        ({"concurrency": 1.5}, "`concurrency`.*whole"),
        ({"deadline": float("inf")}, "`deadline`.*seconds"),
        ({"priority": "high"}, "`priority`"),
        ({"idempotent": True}, "idempotent.*takes.*overflow"),
    ],
)
def test_an_option_that_cannot_be_is_named(given: dict[str, Any], said: str) -> None:
    """The refusal says which option it is, and what may stand there."""
    with pytest.raises(InvalidOption, match=said):
        event(**given)


@pytest.mark.parametrize("option", ["batch", "filter", "overflow", "priority", "coalesce_by", "order"])
def test_commands_take_no_options_of_events(option: str) -> None:
    """What makes no sense for a command is refused by name, not passed over."""
    with pytest.raises(InvalidOption, match=f"commands takes no {option}"):
        command(**{option: None})


@pytest.mark.parametrize(
    "handler",
    [lambda event: None, functools.partial(handle), Listener().on_noted],
    ids=["lambda", "partial", "method"],
)
def test_a_durable_handler_has_a_name(handler: Any) -> None:
    """Who comes after its process must be able to name it; a function of a module has such a name."""
    with pytest.raises(InvalidOption, match="name="):
        event(handler=handler, durable=True)
    assert event(handler=handler, durable=True, name="mine").name == "mine"
    assert event(durable=True).durable
    assert event(handler=handler).name != event(handler=handler).name
