"""What happens in a session becomes events on the bus, without holding its turns back."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from llmgine.actors.bus import Event
from llmgine.actors.sessions.hosting.announce import Announcer
from llmgine.actors.sessions.messages import (
    SessionEnded,
    SessionStarted,
    ToolCompleted,
    TurnCompleted,
    TurnStarted,
)
from llmgine.actors.sessions.running.observer import ToolSummary, TurnSummary
from llmgine.providers.contracts import Usage

TOOL = ToolSummary("s1", "s1:1", "c1", "weather", True, 0.5)
TURN = TurnSummary(
    "s1", "s1:1", "p/m", 2, Usage(input_tokens=3, output_tokens=2), Decimal("0.1"), 1.5, "overloaded"
)


async def test_events_say_what_happened_in_order() -> None:
    """Each thing told is one event of the session, in the order it happened."""
    published: list[Event] = []

    async def publish(event: Event) -> None:
        published.append(event)

    announcer = Announcer(publish)
    announcer.turn_started("s1", "s1:1")
    announcer.tool_completed(TOOL)
    announcer.turn_completed(TURN)
    await announcer.flush()
    assert published == [
        TurnStarted(session_id="s1", turn_id="s1:1"),
        ToolCompleted(session_id="s1", turn_id="s1:1", call_id="c1", name="weather", ok=True, seconds=0.5),
        TurnCompleted(
            session_id="s1",
            turn_id="s1:1",
            model="p/m",
            steps=2,
            input_tokens=3,
            output_tokens=2,
            cost=Decimal("0.1"),
            seconds=1.5,
            error="overloaded",
        ),
    ]


async def test_a_bus_that_is_away() -> None:
    """Events that cannot be published, or find too many waiting, are counted and hold nothing back."""
    go_on = asyncio.Event()

    async def publish(event: Event) -> None:
        await go_on.wait()
        raise OSError("away")

    announcer = Announcer(publish, capacity=2)
    announcer.turn_started("s1", "s1:1")
    await asyncio.sleep(0)
    for number in range(4):
        announcer.turn_started("s1", f"s1:{number}")
    assert announcer.lost == 2
    go_on.set()
    await announcer.flush()
    assert announcer.lost == 5


async def test_close_gives_up_what_waits() -> None:
    """After a close nothing waits any more, and what waited is counted."""

    async def publish(event: Event) -> None:
        await asyncio.Event().wait()

    announcer = Announcer(publish)
    for _ in range(3):
        announcer.turn_started("s1", "s1:1")
    announcer.close()
    await announcer.flush()
    assert announcer.lost == 3


def test_wire_names_are_the_rooms_own() -> None:
    """Session events keep their wire names wherever they are handled."""
    prefix = "llmgine.actors.sessions.messages."
    for kind in (SessionStarted, SessionEnded, TurnStarted, TurnCompleted, ToolCompleted):
        assert kind.__wire_name__ == prefix + kind.__name__
