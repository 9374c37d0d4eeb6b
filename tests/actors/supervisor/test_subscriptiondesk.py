"""The one table of subscriptions, over the death of who keeps it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from llmgine.actors.bus import SubscriptionRecord
from llmgine.actors.sessions.messages import StreamDelta
from llmgine.actors.supervisor.members import Member, Members
from llmgine.actors.supervisor.subscriptiondesk import SubscriptionDesk, SubscriptionStore


class Router:
    """One router's member stream: what it reports, and what it is told."""

    def __init__(self, *subscriptions: SubscriptionRecord) -> None:
        self.report = {"subscriptions": [one.to_wire() for one in subscriptions], "filters": []}
        self.told: list[dict[str, Any]] = []

    def push(self, kind: str, body: dict[str, Any]) -> None:
        assert kind == "subscriptions"
        self.told.append(body)


class Runtime:
    """Routers and a store around the desk of a supervisor that has just begun."""

    def __init__(self, *routers: Router, kept: tuple[SubscriptionRecord, ...] = ()) -> None:
        self.routers = routers
        self.kept = kept
        self.listeners: list[dict[str, Any]] = []
        self.desk = SubscriptionDesk(cast(Members, self), cast(SubscriptionStore, self))

    async def push(self, table: str, body: dict[str, Any]) -> None:
        if table == "listeners":
            self.listeners.append(body)
            return
        for router in self.routers:
            router.push(table, body)

    async def subscriptions(self) -> list[dict[str, Any]]:
        return [one.to_wire() for one in self.kept]

    def join(self, router: Router, *, recovering: bool = True) -> None:
        self.desk.router_joined(cast(Member, router), recovering=recovering)


def record(name: str, number: int = 0, **fields: Any) -> SubscriptionRecord:
    return SubscriptionRecord("event", "A", name, "c", 1, number=number, generation=number, **fields)


def names(body: dict[str, Any]) -> list[str]:
    return [one["name"] for one in body["snapshot"]]


async def test_a_router_that_died_with_the_supervisor_hears_what_the_others_know() -> None:
    """It comes back empty, perhaps first: it routes nothing before the table is whole."""
    empty, other = Router(), Router(record("mails", 3))
    runtime = Runtime(empty, other)
    runtime.join(empty)
    runtime.join(other)
    assert empty.told == other.told == []
    await runtime.desk.complete()
    assert [names(body) for body in empty.told] == [["mails"]]
    assert [body["restored"] for body in (*empty.told, *other.told)] == [False, False]


async def test_durable_subscriptions_come_back_from_the_store() -> None:
    """Where no router knows them any more; the journal waits until they are there."""
    router = Router()
    runtime = Runtime(router, kept=(record("kept", durable=True),))
    runtime.join(router)
    await runtime.desk.complete()
    await runtime.desk.restore()
    whole, restored = router.told
    assert (whole["snapshot"], whole["restored"]) == ([], False)
    assert ([one["name"] for one in restored["add"]], restored["restored"]) == (["kept"], True)


async def test_a_router_that_comes_later_gets_everything_at_once() -> None:
    """Its handlers did not wait for it, and nor does what it begins with."""
    later = Router()
    runtime = Runtime(kept=(record("kept", durable=True),))
    await runtime.desk.complete()
    await runtime.desk.restore()
    runtime.join(later, recovering=False)
    (body,) = later.told
    assert (names(body), body["restored"]) == (["kept"], True)


async def test_who_publishes_only_for_somebody_hears_whether_there_is_anybody() -> None:
    """When the first handler of such a class comes in a scope, and when the last has gone; not of others."""
    runtime = Runtime()
    await runtime.desk.complete()
    wanted = StreamDelta.__wire_name__
    numbers = [
        await runtime.desk.add(replace(record(name), wire_name=class_, session=session).to_wire())
        for name, class_, session in [
            ("one", wanted, "s"),
            ("two", wanted, "s"),
            ("all", wanted, "BUS"),
            ("any", "llmgine.Event", "BUS"),
        ]
    ]
    for number in numbers:
        await runtime.desk.remove(number)
    assert [body[wanted] for body in runtime.listeners] == [["s"], ["BUS", "s"], ["BUS"], []]
