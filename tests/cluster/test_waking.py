"""Sessions on Ray that sleep, and what wakes them when their drivers have left.

`make faults` puts 10,000 of them to sleep.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmgine.runtime import Event, Runtime
from tests.cluster.conftest import new_name
from tests.faults import crowd

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

CALLS = {"tool_calls": [{"name": "pay", "arguments": {"euros": 5}}]}
SCRIPTS = {**crowd.SCRIPTS, "clerk": {"replies": [CALLS, {"text": "Done."}]}}
SETTINGS: dict[str, Any] = {
    "sessions": {"idle": 0.5, "warm": 0, "placement": "pooled"},
    "providers": {"scripts": SCRIPTS},
}

# Its tool, its handler and the class of its events are the script's own.
OPEN = """
    import asyncio, sys
    from llmgine.runtime import Event, Runtime, on, tool

    class Ticket(Event):
        __wire_name__ = "test.Ticket"
        text: str

    @on(Ticket)
    async def take(ticket, context):
        await context.submit(ticket.text)

    @tool(approval=True)
    def pay(euros: int) -> str:
        "Pays."
        return f"{euros} paid"

    async def main():
        async with Runtime.connect(name=sys.argv[1]) as runtime:
            model, handlers, tools = "scripted/clerk", [take], [pay]
            async with runtime.session("desk", model=model, handlers=handlers, tools=tools, stay=True):
                print("open")

    asyncio.run(main())
"""


class Ticket(Event):
    __wire_name__ = "test.Ticket"
    text: str


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def drowsy(ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Runtime]:
    """A runtime whose sessions soon fall asleep."""
    settings = {**SETTINGS, "data_dir": tmp_path_factory.mktemp("data")}
    async with Runtime.launch(settings, name=new_name()) as opened:
        yield opened


async def test_a_crowd_of_sessions_sleeps_and_wakes(drowsy: Runtime) -> None:
    """Each wakes with its history, memory and open files stay flat, and nothing is left of any at the end."""
    await crowd.sessions_crowded(drowsy, 100)


async def test_an_event_and_an_answer_wake_a_session_whose_driver_has_left(
    drowsy: Runtime, start_driver: Any, output_of: Callable[..., str], eventually: Callable[..., Any]
) -> None:
    """The event makes a turn, the turn asks for leave and sleeps, and ends when somebody has approved."""

    async def sleeps() -> bool:
        (entry,) = (await drowsy.status())["sessions"]
        return bool(entry["state"] == "passive")

    driver = start_driver(OPEN, drowsy.name)
    assert await asyncio.to_thread(output_of, driver) == "open"
    await eventually(sleeps)
    await drowsy.bus.publish(Ticket(session_id="desk", text="Pay five euros."))
    async with aclosing(drowsy.approvals.watch()) as pending:
        approval = await anext(pending)
    assert approval.arguments == {"euros": 5}
    await eventually(sleeps)
    await drowsy.approvals.approve(approval.id, note="fine")
    reply = await drowsy.turn(approval.turn_id).result()
    assert reply.text == "Done."
    result = reply.tool_calls[0].result
    assert result is not None
    assert result.text == "5 paid"


# Its tool can be loaded for as long as a file is there, as one whose module is installed on some nodes only.
FRAGILE = """
    import asyncio, pathlib, sys
    from llmgine.runtime import Runtime, tool

    def loaded(path):
        if not pathlib.Path(path).exists():
            raise ImportError("a part of it is missing here")
        return Stock(path)

    class Stock:
        def __init__(self, path):
            self.path = path
        def __reduce__(self):
            return loaded, (self.path,)

    async def main():
        stock = Stock(sys.argv[2])

        @tool
        def stock_of(item: str) -> int:
            "How many there are."
            return len(stock.path)

        async with Runtime.connect(name=sys.argv[1]) as runtime:
            async with runtime.session("shop", model="scripted/tool", tools=[stock_of], stay=True) as session:
                print((await session.ask("How many?")).tool_calls[0].result.is_error)

    asyncio.run(main())
"""


async def test_a_session_wakes_without_code_that_cannot_be_loaded_any_more(
    drowsy: Runtime,
    start_driver: Any,
    output_of: Callable[..., str],
    eventually: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Its history is there, and each tool that is missing answers with the reason."""

    async def sleeps() -> bool:
        entries = (await drowsy.status())["sessions"]
        return all(entry["state"] == "passive" for entry in entries if entry["session_id"] == "shop")

    part = tmp_path / "part"
    part.touch()
    driver = start_driver(FRAGILE, drowsy.name, str(part))
    assert await asyncio.to_thread(output_of, driver) == "False"
    await eventually(sleeps)
    part.unlink()
    async with drowsy.session("shop", model="scripted/tool") as session:
        reply = await session.ask("And now?")
        assert len(await session.history()) == 8
    result = reply.tool_calls[0].result
    assert result is not None
    assert result.is_error
    assert "stock_of is unavailable" in result.text
    assert "a part of it is missing here" in result.text
