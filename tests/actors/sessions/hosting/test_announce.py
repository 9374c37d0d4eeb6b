"""What happens in a session becomes events on the bus, without holding its turns back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from llmgine.actors.bus import Event
from llmgine.actors.sessions.hosting.announce import Announcer
from llmgine.actors.sessions.hosting.listeners import Listeners
from llmgine.actors.sessions.messages import (
    ApprovalAnswered,
    ApprovalRequested,
    SessionEnded,
    SessionPassivated,
    SessionStarted,
    SessionWoken,
    StreamDelta,
    ToolCompleted,
    ToolProgressed,
    ToolStarted,
    TurnCompleted,
    TurnStarted,
    TurnSuspended,
)
from llmgine.actors.sessions.running.observer import Piece, ToolSummary, TurnSummary
from llmgine.actors.store.rows import ApprovalRow
from llmgine.providers.contracts import ToolCallPart, Usage

CALL = ToolCallPart(id="c1", name="weather", arguments={})
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


async def test_what_comes_while_the_bus_takes_an_event_goes_there_together() -> None:
    """A way to the router and back for each would lose events where many sessions share a process."""
    ways: list[list[str]] = []
    go_on = asyncio.Event()

    async def publish(event: Event) -> None:
        ways[-1].append(event.session_id)
        await go_on.wait()

    announcer = Announcer(publish)
    for names in (["s1"], ["s2", "s3", "s4"]):
        ways.append([])
        for name in names:
            announcer.turn_started(name, f"{name}:1")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert ways == [["s1"], []]
    go_on.set()
    await announcer.flush()
    assert ways == [["s1"], ["s2", "s3", "s4"]]


async def test_what_a_model_says_is_published_only_for_somebody() -> None:
    """Nobody pays for pieces that nobody hears; those that come faster than the bus go as one."""
    published: list[Event] = []
    go_on = asyncio.Event()

    async def publish(event: Event) -> None:
        published.append(event)
        await go_on.wait()

    listeners = Listeners()
    announcer = Announcer(publish, listeners)
    announcer.said("s1", "s1:1", Piece(1, "text", 0, "un"))
    announcer.tool_progressed("s1", "s1:1", CALL, 0.5)
    listeners.update({StreamDelta.__wire_name__: ["s1"], ToolProgressed.__wire_name__: ["BUS"]})
    announcer.turn_started("s1", "s1:1")
    await asyncio.sleep(0)
    for piece in (
        Piece(1, "text", 0, "he"),
        Piece(1, "text", 0, "ard"),
        Piece(1, "text", 1, "!"),
        Piece(1, "text", 1, "?", restarted=True),
    ):
        announcer.said("s1", "s1:1", piece)
        announcer.said("s2", "s2:1", piece)
    announcer.tool_progressed("s2", "s2:1", CALL, {"done": 1})
    go_on.set()
    await announcer.flush()
    deltas = [event for event in published if isinstance(event, StreamDelta)]
    assert [(one.session_id, one.index, one.text, one.restarted) for one in deltas] == [
        ("s1", 0, "heard", False),
        ("s1", 1, "!", False),
        ("s1", 1, "?", True),
    ]
    (progressed,) = [event for event in published if isinstance(event, ToolProgressed)]
    assert (progressed.session_id, progressed.name, progressed.data) == ("s2", "weather", {"done": 1})


async def test_approvals_and_waits_are_events() -> None:
    """Who asked for what, until when, and how it was answered."""
    published: list[Event] = []

    async def publish(event: Event) -> None:
        published.append(event)

    row = ApprovalRow("a-1", "s1", "s1:1", "c1", "weather", b"{}", "it costs", expires=5_000_000_000)
    announcer = Announcer(publish)
    announcer.approval_requested(row)
    announcer.turn_suspended("s1", "s1:1")
    announcer.approval_answered(replace(row, state="denied", by="ann", note="no"))
    announcer.tool_started("s1", "s1:1", CALL)
    await announcer.flush()
    named = {"session_id": "s1", "turn_id": "s1:1", "call_id": "c1"}
    assert published == [
        ApprovalRequested(
            **named,
            approval_id="a-1",
            tool="weather",
            reason="it costs",
            expires=datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC),
        ),
        TurnSuspended(session_id="s1", turn_id="s1:1"),
        ApprovalAnswered(**named, approval_id="a-1", tool="weather", state="denied", by="ann", note="no"),
        ToolStarted(**named, name="weather"),
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
    for kind in (
        SessionStarted,
        SessionPassivated,
        SessionWoken,
        SessionEnded,
        TurnStarted,
        TurnSuspended,
        TurnCompleted,
        ToolStarted,
        ToolProgressed,
        ToolCompleted,
        ApprovalRequested,
        ApprovalAnswered,
        StreamDelta,
    ):
        assert kind.__wire_name__ == prefix + kind.__name__
