"""Sessions on Ray that sleep, and what wakes them when their drivers have left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
import pytest_asyncio

from llmgine.runtime import Event, Runtime
from tests.cluster.conftest import new_name

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

CALLS = {"tool_calls": [{"name": "pay", "arguments": {"euros": 5}}]}
SETTINGS: dict[str, Any] = {
    "sessions": {"idle": 0.5},
    "providers": {"scripts": {"clerk": {"replies": [CALLS, {"text": "Done."}]}}},
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
