"""Registering and removing, broken off or several at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmgine.actors.bus import SessionFilter, TypeFilter
from tests.actors.bus.client.conftest import House
from tests.actors.bus.client.messages import Double, Noted

pytestmark = pytest.mark.timeout(20)


async def double(command: Double) -> int:
    return command.number * 2


async def ignore(event: Noted) -> None: ...


class Gate:
    """Holds back the table's answer to one call, which it has done."""

    def __init__(self, house: House, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.inside = asyncio.Event()
        self.open = asyncio.Event()
        self._call = getattr(house.registry, name)
        monkeypatch.setattr(house.registry, name, self)

    async def __call__(self, *arguments: Any) -> Any:
        answer = await self._call(*arguments)
        self.inside.set()
        await self.open.wait()
        return answer


async def broken_off(work: Any, gate: Gate, undone: asyncio.Event) -> None:
    """Cancel the work while the table's answer is on its way, and wait until that is undone."""
    task = asyncio.ensure_future(work)
    await gate.inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open.set()
    await undone.wait()


def told(house: House, monkeypatch: pytest.MonkeyPatch, name: str) -> asyncio.Event:
    """Set once the table has done such a call."""
    done, call = asyncio.Event(), getattr(house.registry, name)

    async def tell(*arguments: Any) -> None:
        await call(*arguments)
        done.set()

    monkeypatch.setattr(house.registry, name, tell)
    return done


async def test_a_registration_that_is_broken_off_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled while the table answers, it is taken out again, and another handler may come."""
    client = house.client()
    gate = Gate(house, monkeypatch, "subscribe")
    undone = told(house, monkeypatch, "unsubscribe")
    await broken_off(client.register_command_handler(Double, double, name="first"), gate, undone)
    assert not list(house.registry.table)
    await client.register_command_handler(Double, double, name="second")
    assert (await client.execute(Double(number=2))).unwrap() == 4


async def test_a_filter_that_is_broken_off_is_not_set(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled while the table answers, it stops no event."""
    gate = Gate(house, monkeypatch, "add_filter")
    undone = told(house, monkeypatch, "remove_filter")
    await broken_off(house.client().add_filter(TypeFilter(exclude=(Noted,))), gate, undone)
    assert house.registry.filters == []


async def test_filters_set_at_once_leave_the_subscription_whole(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one holds, and the handler can still be removed."""
    subscribe = house.registry.subscribe

    async def far_away(record: dict[str, Any]) -> int:
        await asyncio.sleep(0)
        return await subscribe(record)

    monkeypatch.setattr(house.registry, "subscribe", far_away)
    client = house.client()
    subscription = await client.register_event_handler(Noted, ignore)
    await asyncio.gather(
        *(subscription.set_filter(SessionFilter(exclude=(name,))) for name in ("s1", "s2", "s3"))
    )
    assert subscription.active
    stopped = await client.publish(Noted(session_id="s3"), wait=True)
    passed = await client.publish(Noted(session_id="s1"), wait=True)
    assert (len(stopped.outcomes), len(passed.outcomes)) == (0, 1)
    await asyncio.gather(subscription.set_filter(None), subscription.remove())
    assert not subscription.active
    assert not list(house.registry.table)
