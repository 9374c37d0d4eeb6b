"""Dead letters as a driver sees them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.bus.errors import UnknownLetter
from llmgine.actors.bus.letters import DeadLetter, DeadLettered
from llmgine.providers import InvalidRequest
from llmgine.runtime import Command, Event, RetryPolicy, Runtime

SETTINGS = {"telemetry": {"enabled": False}, "bus": {"retry": {"retries": 1, "base": 0.001}}}


class Order(Event):
    number: int = 0
    price: Decimal = Decimal("1.10")


class Ship(Command[str]):
    number: int = 0


class Desk:
    """A handler that fails until it is mended."""

    def __init__(self) -> None:
        self.broken = True
        self.handled: list[int] = []

    async def take(self, order: Order) -> None:
        if self.broken:
            raise ValueError(f"order {order.number}")
        self.handled.append(order.number)


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    async with Runtime.in_process(SETTINGS) as opened:
        yield opened


async def letters(runtime: Runtime, **chosen: Any) -> list[DeadLetter]:
    return [letter async for letter in runtime.bus.dead_letters.list(**chosen)]


async def test_a_used_up_event_is_dead_lettered_once_and_one_event_says_so(runtime: Runtime) -> None:
    """With its id, its attempts and their errors, and its own fields."""
    told: asyncio.Queue[DeadLettered] = asyncio.Queue()

    async def tell(event: DeadLettered) -> None:
        told.put_nowait(event)

    await runtime.bus.register_event_handler(DeadLettered, tell)
    await runtime.bus.register_event_handler(Order, Desk().take, name="desk")
    order = Order(number=7, session_id="chat", metadata={"from": "web"})
    receipt = await runtime.bus.publish(order, wait=True)
    assert not receipt.outcomes[0].success
    (letter,) = await letters(runtime)
    assert (letter.message, letter.handler, letter.session, letter.reason) == (
        order.id,
        "desk",
        "chat",
        "handler",
    )
    assert letter.attempts == 2
    assert [(one.kind, one.text) for one in letter.errors] == [("ValueError", "order 7")] * 2
    assert letter.fields == {"number": 7, "price": Decimal("1.10")}
    assert letter.metadata == {"from": "web"}
    assert letter.published == order.timestamp
    event = await told.get()
    assert (event.letter, event.message, event.handler, event.session_id) == (
        letter.id,
        order.id,
        "desk",
        "chat",
    )
    assert await runtime.bus.dead_letters.show(letter.id) == letter
    assert (await runtime.bus.statistics())["dead_letter_queue_size"] == 1
    assert told.empty()


async def test_a_replay_runs_it_for_the_handler_that_failed(runtime: Runtime) -> None:
    """And for no other; on success the letter goes, else it stays with its attempts added."""
    desk, other = Desk(), Desk()
    other.broken = False
    await runtime.bus.register_event_handler(Order, desk.take, name="desk")
    await runtime.bus.register_event_handler(Order, other.take, name="other")
    await runtime.bus.publish(Order(number=1), wait=True)
    (letter,) = await letters(runtime)
    (again,) = await runtime.bus.dead_letters.replay(letter.id)
    assert not again.handled
    assert "order 1" in again.text
    (kept,) = await letters(runtime)
    assert (kept.id, kept.attempts, len(kept.errors)) == (letter.id, again.attempts, 4)
    desk.broken = False
    (done,) = await runtime.bus.dead_letters.replay(handler="desk")
    assert done.handled
    assert (desk.handled, other.handled) == ([1], [1])
    assert await runtime.bus.dead_letters.count() == 0


async def test_a_failed_command_is_a_letter_and_its_caller_has_the_result(runtime: Runtime) -> None:
    """Dead letters take nothing from whoever waits; a replay runs the command again."""
    ran: list[int] = []

    async def ship(command: Ship) -> str:
        ran.append(command.number)
        if len(ran) == 1:
            raise RuntimeError("no ship")
        return "gone"

    await runtime.bus.register_command_handler(Ship, ship, name="harbour")
    result = await runtime.bus.execute(Ship(number=3))
    assert result.error is not None
    assert result.error.kind == "RuntimeError"
    (letter,) = await letters(runtime)
    assert letter.command
    (done,) = await runtime.bus.dead_letters.replay(letter.id)
    assert done.handled
    assert ran == [3, 3]


async def test_letters_are_chosen_by_what_they_have_in_common(runtime: Runtime) -> None:
    """By handler, reason, session, class with its subclasses, and time."""

    class Big(Order):
        pass

    await runtime.bus.register_event_handler(Order, Desk().take, name="desk", retry=RetryPolicy(retries=0))
    for event in (Order(number=1, session_id="a"), Big(number=2, session_id="b"), Order(number=3)):
        await runtime.bus.publish(event, wait=True)
    await runtime.bus.execute(Ship())

    async def numbers(**chosen: Any) -> list[int]:
        return [letter.fields["number"] for letter in await letters(runtime, **chosen)]

    assert await numbers(handler="desk") == [3, 2, 1]
    assert await numbers(session="a") == [1]
    assert await numbers(type=Big) == [2]
    assert await numbers(type=Order) == [3, 2, 1]
    assert await numbers(type=Order.__wire_name__, limit=2) == [3, 2]
    assert await numbers(reason="no_handler") == [0]
    assert await numbers(since=timedelta(hours=1)) == [0, 3, 2, 1]
    assert await numbers(since=datetime.now(UTC) + timedelta(hours=1)) == []
    assert await runtime.bus.dead_letters.count(type=Order) == 3
    assert await runtime.bus.dead_letters.discard(session="b") == 1
    assert await runtime.bus.dead_letters.discard(everything=True) == 3
    assert await letters(runtime) == []


async def test_an_export_is_one_json_object_a_line(runtime: Runtime, tmp_path: Path) -> None:
    """With the message as plain values, whatever its metadata hold; the letters stay."""
    await runtime.bus.register_event_handler(Order, Desk().take, name="desk", retry=RetryPolicy(retries=0))
    odd = {
        "line": "a\nb\u2028c",
        "nan": float("nan"),
        "bytes": b"\xff",
        "set": {1, 2},
        "when": datetime.now(UTC),
    }
    for number in range(3):
        await runtime.bus.publish(Order(number=number, metadata=odd), wait=True)
    file = tmp_path / "letters.jsonl"
    assert await runtime.bus.dead_letters.export(file, handler="desk") == 3
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["fields"] for line in lines] == [{"number": n, "price": "1.10"} for n in (2, 1, 0)]
    assert lines[0]["metadata"]["line"] == "a\nb\u2028c"
    assert lines[0]["metadata"]["set"] == [1, 2]
    assert await runtime.bus.dead_letters.count() == 3
    assert os.listdir(tmp_path) == ["letters.jsonl"]


async def test_a_letter_whose_handler_is_gone_stays_and_that_is_said(runtime: Runtime) -> None:
    """A replay needs the handler that failed."""
    subscription = await runtime.bus.register_event_handler(Order, Desk().take, name="desk")
    await runtime.bus.publish(Order(), wait=True)
    await subscription.remove()
    (answer,) = await runtime.bus.dead_letters.replay(everything=True)
    assert not answer.handled
    assert "'desk' is not registered any more" in answer.text
    assert await runtime.bus.dead_letters.count() == 1


async def test_what_is_not_clear_is_refused(runtime: Runtime) -> None:
    """Unknown ids and reasons, a choice of nothing, and a choice in two ways."""
    box = runtime.bus.dead_letters
    with pytest.raises(UnknownLetter, match="dead-letters ls"):
        await box.show("nothing")
    with pytest.raises(UnknownLetter):
        await box.replay("nothing")
    with pytest.raises(InvalidRequest, match="everything=True"):
        await box.discard()
    with pytest.raises(InvalidRequest, match="not both"):
        await box.replay("id", handler="desk")
    with pytest.raises(InvalidRequest, match="overflow"):
        await box.count(reason="bad luck")
    with pytest.raises(InvalidRequest, match="not by hander"):
        await box.count(hander="ship")  # type: ignore[call-arg]  # meant
    for given, told in (({"since": "1h"}, "timedelta"), ({"type": 5}, "class"), ({"handler": 5}, "text")):
        with pytest.raises(InvalidRequest, match=told):
            await box.count(**given)
    with pytest.raises(InvalidRequest, match="from 0"):
        await anext(box.list(limit=-1))
    with pytest.raises(InvalidRequest, match="seconds above 0"):
        await box.replay("id", timeout=0)
    with pytest.raises(InvalidRequest, match="a folder that exists"):
        await box.export("/nowhere/letters.jsonl")
    with pytest.raises(InvalidRequest, match="tzinfo"):
        await box.count(since=datetime(2026, 1, 1))
