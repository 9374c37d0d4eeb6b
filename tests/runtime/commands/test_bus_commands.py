"""Commands on what the bus keeps, each a process's worth of its own over one store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmgine.runtime import Event, RetryPolicy, Runtime
from llmgine.runtime.commands.entry import execute


class Order(Event):
    number: int = 0


@pytest.fixture(autouse=True)
def settings(clean_environ: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What every runtime here is made with; commands hold one in place of joining one."""
    made = {
        "telemetry": {"enabled": False},
        "store": {"url": f"sqlite:///{clean_environ}/store.db"},
    }
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:1")
    monkeypatch.setattr(Runtime, "connect", lambda name: Runtime.in_process(made, name=name))
    return made


async def _fill(settings: dict[str, Any]) -> None:
    async def fail(order: Order) -> None:
        raise ValueError(f"order {order.number}")

    async with Runtime.in_process(settings) as runtime:
        await runtime.bus.register_event_handler(Order, fail, name="desk", retry=RetryPolicy(retries=0))
        for number in range(3):
            await runtime.bus.publish(Order(number=number), wait=True)
        await runtime.bus.schedule(Order(), cron="0 7 * * *", zone="Europe/Berlin", id="daily")


def test_a_story_tells_why(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a handler, a session or an event: what happened to it, as a table or as JSON lines."""

    @asynccontextmanager
    async def failing(name: str) -> AsyncIterator[Runtime]:
        async def fail(order: Order) -> None:
            raise ValueError(f"order {order.number}")

        async with Runtime.in_process(settings, name=name) as runtime:
            await runtime.bus.register_event_handler(Order, fail, name="desk", retry=RetryPolicy(retries=0))
            await runtime.bus.publish(Order(number=7), wait=True)
            yield runtime

    monkeypatch.setattr(Runtime, "connect", failing)
    assert execute(["story", "desk"]) == 0
    page = capsys.readouterr().out
    assert "attempt failed" in page
    assert "ValueError: order 7" in page
    assert execute(["story", "--session", "BUS", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["what"], line["handler"]) for line in lines][-1] == ("dead letter", "desk")
    assert execute(["story", "--event", lines[0]["message"]]) == 0
    assert "nothing remarkable" in capsys.readouterr().out
    assert execute(["story", "dask"]) == 0
    assert "no handler of the name dask is registered; there are: desk" in capsys.readouterr().err


def test_what_is_kept_is_shown_and_can_be_thrown_away(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Letters and scheduled events outlive the runtime that made them, and commands reach them."""

    def told(*arguments: str, code: int = 0) -> str:
        assert execute(arguments) == code
        return capsys.readouterr().out

    asyncio.run(_fill(settings))
    page = told("dead-letters", "ls", "--handler", "desk", "--limit", "2")
    assert "2 of 3 dead letters" in page
    assert "order 2" in page
    assert "no dead letters" in told("dead-letters", "ls", "--reason", "overflow")
    lines = [json.loads(line) for line in told("dead-letters", "ls", "--since", "1h", "--json").splitlines()]
    assert [line["fields"]["number"] for line in lines] == [2, 1, 0]
    first = lines[0]["id"]
    assert json.loads(told("dead-letters", "show", first, "--json"))["errors"][0]["text"] == "order 2"
    page = told("dead-letters", "replay", first, code=1)
    assert "not registered any more" in page
    assert "0 of 1 handled" in page
    told("dead-letters", "export", str(tmp_path / "letters.jsonl"))
    assert len((tmp_path / "letters.jsonl").read_text().splitlines()) == 3
    told("dead-letters", "discard", first)
    told("dead-letters", "show", first, code=4)
    told("dead-letters", "discard", "--all")
    assert "no dead letters" in told("dead-letters", "ls")
    assert "0 7 * * * (Europe/Berlin)" in told("schedules", "ls")
    assert json.loads(told("schedules", "ls", "--json"))["id"] == "daily"
    told("schedules", "cancel", "daily")
    told("schedules", "cancel", "daily", code=4)
    assert "nothing is scheduled" in told("schedules", "ls")
