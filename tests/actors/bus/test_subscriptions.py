"""The table of subscriptions: names, owners, schemas, scopes, and its mirrors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmgine.actors.bus import (
    HandlerExists,
    SchemaConflict,
    ScopeRefused,
    StaleRegistration,
    SubscriptionRecord,
    SubscriptionTable,
)
from llmgine.actors.bus.errors import ProtocolViolation


def record(name: str = "h", kind: Any = "event", wire_name: str = "E", **fields: Any) -> SubscriptionRecord:
    return SubscriptionRecord(
        kind, wire_name, name, fields.pop("client", "c"), fields.pop("epoch", 1), **fields
    )


def test_the_table_refuses_a_second_command_handler() -> None:
    """Under another name it is refused, naming class and scope, and nothing has changed."""
    table = SubscriptionTable()
    table.add(record("a", "command", "C"))
    before = table.snapshot(), table.serial
    with pytest.raises(HandlerExists, match=r"C .*bus scope.*'a'"):
        table.add(record("b", "command", "C"))
    assert (table.snapshot(), table.serial) == before
    table.add(record("b", "command", "C", session="s"))


def test_the_same_name_takes_over() -> None:
    """The number stays, the generation rises, the owner changes; an older life is refused."""
    table = SubscriptionTable()
    first = table.add(record(client="one", epoch=5)).subscription
    second = table.add(record(client="two"))
    assert second.replaced == first
    assert second.subscription.number == first.number
    assert second.subscription.generation > first.generation
    assert table.remove(first.number, owner=first.owner) is None
    table.add(record(client="two", epoch=7))
    with pytest.raises(StaleRegistration):
        table.add(record(client="two", epoch=6))
    assert len(table) == 1


def test_one_wire_name_has_one_schema() -> None:
    """Another schema under a name in use is refused, unless it replaces the only user of it."""
    table = SubscriptionTable()
    table.add(record("a", fingerprint="x"))
    with pytest.raises(SchemaConflict, match="__wire_name__"):
        table.add(record("b", fingerprint="y"))
    table.add(record("a", fingerprint="y"))


def test_removing_scopes_and_clients() -> None:
    """A scope goes with its handlers and no others, never the bus's; a client's lives by epoch."""
    table = SubscriptionTable()
    for session in ("BUS", "s1", "s2"):
        table.add(record("a", session=session))
        table.add(record("b", session=session, client="d", epoch=2))
    assert {one.session for one in table.remove_scope("s1")} == {"s1"}
    with pytest.raises(ScopeRefused):
        table.remove_scope("BUS")
    assert table.statistics().handlers == {"BUS": 2, "s2": 2}
    assert table.remove_client("d", epoch=1) == []
    assert len(table.remove_client("d")) == 2
    statistics = table.statistics()
    assert (statistics.sessions, statistics.registered_handlers, statistics.handlers) == (
        1,
        2,
        {"BUS": 1, "s2": 1},
    )


def test_a_mirror_equals_its_original() -> None:
    """Snapshots and single records rebuild the table; older generations change nothing."""
    table, mirror = SubscriptionTable(), SubscriptionTable()
    old = table.add(record("a")).subscription
    table.add(record("a", epoch=2))
    table.add(record("b", "command", "C"))
    for entry in table.snapshot():
        mirror.put(SubscriptionRecord.from_wire(entry))
    mirror.put(old)
    assert (mirror.snapshot(), mirror.serial) == (table.snapshot(), table.serial)
    assert mirror.add(record("c")).subscription.number == table.add(record("c")).subscription.number
    with pytest.raises(ProtocolViolation, match="colour"):
        SubscriptionRecord.from_wire({**old.to_wire(), "colour": 1})


def test_who_comes_to_a_deployment_and_who_leaves_it_is_a_change() -> None:
    """Members come together under one number; each new life, and each that goes, raises the generation."""
    table = SubscriptionTable()

    def join(name: str, epoch: int = 1) -> SubscriptionRecord:
        wanted = record("h", client="d", members=True, lives={name: epoch})
        return table.add(wanted).subscription

    first, second = join("m0"), join("m1")
    assert (second.number, second.lives) == (first.number, {"m0": 1, "m1": 1})
    assert second.generation > first.generation
    assert join("m1") is second
    third = join("m1", epoch=2)
    assert third.lives == {"m0": 1, "m1": 2}
    assert table.leave("m1", epoch=1) == []
    (left,) = table.leave("m1")
    assert (left.lives, left.generation > third.generation) == ({"m0": 1}, True)
    assert table.get(first.number) is left


def test_a_later_life_uses_no_number_twice() -> None:
    """Who still knows what an earlier owner of the table gave out cannot take anything new for it."""
    table = SubscriptionTable()
    kept = replace(record("kept"), number=3, generation=7)
    table.put(kept)
    table.outlive(1_000)
    new = table.add(record("new")).subscription
    assert (new.number, new.generation) == (1_000, 1_001)
    taken = table.add(record("kept", epoch=2)).subscription
    assert (taken.number, taken.generation) == (3, 1_002)
