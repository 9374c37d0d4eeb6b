"""Who is connected to the supervisor, over memory links."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from llmgine.actors.link import Identity, LinkBroken, MemoryTransport, NotSendable, Stream, StreamReset
from llmgine.actors.supervisor.members import Member, Members

Until = Callable[..., Any]


class Hall:
    """A supervisor's endpoint that serves member streams, and those who come."""

    def __init__(self) -> None:
        self.transport = MemoryTransport()
        self.log: list[str] = []
        self.refuse = False
        self.members = Members(
            self._joined,
            lambda member: self.log.append(f"-{member.name}"),
            lambda member, kind, body: self.log.append(f"{member.name}: {kind} {body}"),
        )

    async def listen(self) -> None:
        identity = Identity("s", "supervisor", 1)
        self.endpoint = await self.transport.listen(identity, {"member": self.members.serve})

    async def come(self, name: str, *wants: str, epoch: int = 1, kind: str = "x") -> Stream:
        connection = await self.transport.dial(self.endpoint.address, Identity(name, "x", epoch))
        report = {"name": name, "kind": kind, "epoch": epoch, "wants": list(wants)}
        stream = connection.open("member", report)
        assert await stream.receive() == [1, "welcome", None]
        await stream.send(1)
        return stream

    def _joined(self, member: Member) -> None:
        self.log.append(f"+{member.name}")
        if self.refuse:
            raise KeyError("a report that makes no sense")


@pytest.fixture
async def hall() -> Any:
    hall = Hall()
    await hall.listen()
    yield hall
    await hall.endpoint.close()


async def test_a_push_waits_for_those_who_want_the_table(hall: Hall, until: Until) -> None:
    """A push returns once each member that wants the table has applied it; others hear nothing."""
    wanting, other = await hall.come("a", "table"), await hall.come("b")
    pushing = asyncio.create_task(hall.members.push("table", {"x": 1}))
    assert await wanting.receive() == [2, "table", {"x": 1}]
    assert not pushing.done()
    await wanting.send(2)
    await pushing
    other.finish()
    await until(lambda: "b" not in hall.members)
    assert hall.log == ["+a", "+b", "-b"]


async def test_what_a_member_says_is_heard(hall: Hall, until: Until) -> None:
    """A process may say something of itself at any time, between the answers to pushes."""
    member = await hall.come("a", "table")
    pushing = asyncio.create_task(hall.members.push("table", 1))
    assert await member.receive() == [2, "table", 1]
    await member.send(["figures", 7])
    await member.send(2)
    await pushing
    assert hall.log == ["+a", "a: figures 7"]


async def test_a_driver_is_told_and_not_waited_for(hall: Hall) -> None:
    """What keeps a user's process busy holds up nobody, and costs it nothing."""
    driver = await hall.come("d", "table", kind="driver")
    await hall.members.push("table", 1, patience=0.0)
    assert await driver.receive() == [2, "table", 1]
    assert "d" in hall.members


async def test_a_silent_member_holds_up_nobody(hall: Hall, until: Until) -> None:
    """A member that does not apply a push in time is cut off, and those who wait go on."""
    silent, well = await hall.come("silent", "table"), await hall.come("well", "table")
    pushing = asyncio.create_task(hall.members.push("table", 1, patience=0.05))
    assert await well.receive() == [2, "table", 1]
    await well.send(2)
    await pushing
    await until(lambda: "silent" not in hall.members)
    with pytest.raises(StreamReset, match="not applied"):
        await silent.receive()
    assert "well" in hall.members


async def test_a_newer_stream_takes_over(hall: Hall, until: Until) -> None:
    """A process that comes again is the same member: it is not lost, and its old stream is over."""
    first = await hall.come("a", "table")
    pushing = asyncio.create_task(hall.members.push("table", 1))
    await first.receive()
    second = await hall.come("a", "table")
    await pushing
    await until(lambda: first.is_closed)
    assert "a" in hall.members
    assert hall.log == ["+a", "+a"]
    second.finish()
    await until(lambda: hall.log == ["+a", "+a", "-a"])


async def test_a_late_word_of_an_older_life_is_refused(hall: Hall) -> None:
    """Of two lives of one name the newer counts, whichever comes last."""
    await hall.come("a", epoch=2)
    connection = await hall.transport.dial(hall.endpoint.address, Identity("a", "x", 1))
    stream = connection.open("member", {"name": "a", "kind": "x", "epoch": 1, "wants": []})
    with pytest.raises(StreamReset, match="stale"):
        await stream.receive()
    assert [member.epoch for member in hall.members.all()] == [2]


async def test_a_member_that_cannot_be_taken_in_is_none(hall: Hall) -> None:
    """A report that makes no sense ends its stream and leaves no member behind."""
    hall.refuse = True
    connection = await hall.transport.dial(hall.endpoint.address, Identity("a", "x", 1))
    stream = connection.open("member", {"name": "a", "kind": "x", "epoch": 1, "wants": []})
    with pytest.raises(StreamReset, match="no sense"):
        await stream.receive()
    assert "a" not in hall.members


async def test_what_cannot_be_sent_ends_the_stream(hall: Hall, until: Until) -> None:
    """A push that cannot travel fails, instead of holding up all that come after it."""
    await hall.come("a", "table")
    (member,) = hall.members.all()
    applied = member.push("table", object())
    with pytest.raises((LinkBroken, NotSendable)):
        await applied
    await until(lambda: "a" not in hall.members)


async def test_waiting_for_members(hall: Hall) -> None:
    """`here` returns when all have come, in whatever order."""
    waiting = asyncio.create_task(hall.members.here(["a", "b"]))
    await hall.come("b")
    assert not waiting.done()
    await hall.come("a")
    await waiting
