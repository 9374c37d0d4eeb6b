"""What is looked at again and again: `top` and `bus watch`, and how it ends."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from llmgine.runtime import Event, RetryPolicy, Runtime
from llmgine.runtime.commands import watching
from llmgine.runtime.commands.buses import Rates, described, parts
from llmgine.runtime.commands.entry import execute
from llmgine.runtime.commands.top import Shown, glance
from llmgine.runtime.commands.watching import looks

Out = pytest.CaptureFixture[str]


class Order(Event):
    number: int = 0


class Unheard(Event):
    """Nobody handles it."""


@pytest.fixture(autouse=True)
def _joined(clean_environ: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands join a runtime with a handler that fails, and a session that has had its answer."""
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:1")
    monkeypatch.setattr(Runtime, "connect", joined)


@asynccontextmanager
async def joined(name: str = "default") -> AsyncIterator[Runtime]:
    async def fail(order: Order) -> None:
        raise ValueError(f"order {order.number}")

    async with Runtime.in_process({"sessions": {"warm": 0}}, name=name) as runtime:
        await runtime.bus.register_event_handler(Order, fail, name="desk", retry=RetryPolicy(retries=0))
        for number in range(5):  # then its breaker opens
            await runtime.bus.publish(Order(number=number), wait=True)
        async with runtime.session("talk", model="scripted/echo") as session:
            await session.ask("hello there")
            yield runtime


def test_the_bus_is_shown(capsys: Out) -> None:
    """Handlers, mailboxes, breakers, what did not get through, and counters; as JSON in one object."""
    assert execute(["bus"]) == 0
    page = capsys.readouterr().out
    for title in (
        "handlers\n",
        "mailboxes\n",
        "breakers\n",
        "gaps: what did not get through\n",
        "counters\n",
    ):
        assert title in page
    assert execute(["bus", "show", "--json", "-s", "BUS"]) == 0
    found = json.loads(capsys.readouterr().out)
    desk = next(row for row in found["handlers"] if row["name"] == "desk")
    assert (desk["failed"], desk["breaker"], desk["session"]) == (5, "open", "BUS")
    assert found["counters"]["events_published_total"] >= 5
    assert execute(["bus", "show", "--json", "-s", "nobody"]) == 0
    assert json.loads(capsys.readouterr().out)["handlers"] == []


def test_only_handlers_with_gaps_have_a_row_of_them() -> None:
    """A handler that has handled everything is in no list of what did not get through."""
    figures = ("failed", "dropped", "coalesced", "expired", "cancelled", "discarded", "rejected")
    none = {**dict.fromkeys(figures, 0), "circuit_breaker_state": "closed"}
    rows = {
        f"BUS\x1fevent\x1fOrder\x1f{name}": {**none, "dropped": dropped}
        for name, dropped in (("well", 0), ("full", 3))
    }
    found = {title[:4]: rows for title, _, rows in parts(described({"per_handler": rows}))}
    assert [row[0] for row in found["gaps"]] == ["full"]


def test_the_bus_is_watched(capsys: Out) -> None:
    """Where nobody watches, one look with what has changed since an interval before."""
    assert execute(["bus", "watch", "--every", "0.1"]) == 0
    page = capsys.readouterr().out
    assert "handled/s" in page
    assert execute(["bus", "watch", "--every", "0.1", "--ticks", "2", "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["counters"]["events_published/s"] == 0.0
    assert datetime.fromisoformat(second["time"]) > datetime.fromisoformat(first["time"])


def test_rates_are_of_the_time_between_two_looks() -> None:
    """A count that is seen for the first time has no rate, nor has one that begins anew."""
    times = iter([0.0, 1.0, 3.0, 4.0])
    rates = Rates(lambda: next(times))

    def look(published: int) -> Any:
        totals = {f"events_{what}_total": published for what in ("published", "processed", "failed")}
        return rates.told({"counters": totals, "handlers": []})["counters"]["events_published/s"]

    assert [look(10), look(30), look(5)] == [0.0, 10.0, 0.0]


def test_top_once(capsys: Out) -> None:
    """Where nobody watches, `top` shows all of it once; as JSON also its rates."""
    assert execute(["top", "--every", "0.1"]) == 0
    page = capsys.readouterr().out
    for said in ("runtime default, up", "a second", "pools", "scripted", "breakers", "desk", "open"):
        assert said in page
    assert execute(["top", "--every", "0.1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["breakers"] == {"desk": "open"}
    assert found["per_second"]["events_published"] == 0.0
    assert [one["session"] for one in found["active_sessions"]] == ["talk"]


async def test_rates_of_top() -> None:
    """What came between two glances, divided by the time between them."""
    times = iter([0.0, 1.0, 3.0])
    shown = Shown(lambda: next(times))
    async with joined() as runtime:
        shown.rates((await glance(runtime)).overview)
        for _ in range(4):
            await runtime.bus.publish(Unheard(), wait=True)
        assert shown.rates((await glance(runtime)).overview)["events_published"] == 2.0


def test_a_terminal_is_given_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal it takes the whole screen, and gives it back at the end."""
    page = io.StringIO()
    monkeypatch.setattr(watching, "out", Console(file=page, force_terminal=True, width=150, height=60))
    assert execute(["top", "--ticks", "1"]) == 0
    shown = page.getvalue()
    assert shown.index("\x1b[?1049h") < shown.index("runtime default") < shown.index("\x1b[?1049l")


def test_top_is_readable_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure stands there with its whole name, however little room there is."""
    page = io.StringIO()
    narrow = Console(file=page, force_terminal=True, width=50, height=60, color_system=None)
    monkeypatch.setattr(watching, "out", narrow)
    assert execute(["top", "--ticks", "1"]) == 0
    for said in ("sessions with turns 0", "breakers open 1", "tokens out ", "failed commands 0.0"):
        assert said in page.getvalue()


async def test_q_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key ends the looks, in the middle of an interval."""
    ends = asyncio.Event()
    monkeypatch.setattr(watching, "pressed", held(ends))
    seen: list[int] = []

    async def look() -> int:
        return len(seen)

    def show(number: int) -> None:
        seen.append(number)
        ends.set()

    await looks(look, show, every=3600.0, ticks=None)
    assert seen == [0]


def held(event: asyncio.Event) -> Callable[[str], Any]:
    from contextlib import nullcontext

    return lambda key: nullcontext(event)
