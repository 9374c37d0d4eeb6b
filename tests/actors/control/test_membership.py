"""A process's stream to the supervisor, over memory links."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmgine.actors.control import Membership
from llmgine.actors.control.membership import MEMBER
from llmgine.actors.link import Identity, LinkError, MemoryTransport, Peer, Stream

pytestmark = pytest.mark.usefixtures("no_pause")

Until = Callable[..., Any]


class Supervisor:
    """The other end: keeps the streams that were opened."""

    def __init__(self) -> None:
        self.transport = MemoryTransport()
        self.streams: list[Stream] = []

    async def listen(self) -> None:
        self.endpoint = await self.transport.listen(
            Identity("supervisor", "supervisor", 1), {MEMBER: self._serve}
        )

    def peer(self) -> Peer:
        async def resolve() -> Any:
            return self.endpoint.address

        return Peer("supervisor", resolve, self.transport, Identity("me", "driver", 1))

    async def _serve(self, stream: Stream) -> None:
        self.streams.append(stream)
        await stream.wait_closed()


class Member:
    """A membership with what it was told."""

    def __init__(self, peer: Any, *, silence: float = 60.0) -> None:
        self.pushed: list[tuple[str, Any]] = []
        self.silent = asyncio.Event()
        self.reports = 0
        self.refuse = False
        self.membership = Membership(
            peer, self._report, self._push, silence=silence, on_silence=self._fell_silent
        )

    def _report(self) -> dict[str, Any]:
        self.reports += 1
        return {"name": "me", "reports": self.reports}

    async def _push(self, kind: str, body: Any) -> None:
        if self.refuse:
            self.refuse = False
            raise KeyError(kind)
        self.pushed.append((kind, body))

    async def _fell_silent(self) -> None:
        self.silent.set()


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor()
    await supervisor.listen()
    yield supervisor
    await supervisor.endpoint.close()


@pytest.fixture
async def member(supervisor: Supervisor) -> AsyncIterator[Member]:
    peer = supervisor.peer()
    member = Member(peer)
    member.membership.start()
    yield member
    await member.membership.close()
    peer.close()


async def test_a_push_is_acknowledged_once_it_is_applied(
    supervisor: Supervisor, member: Member, until: Until
) -> None:
    """The welcome and each push are answered with their numbers, in order, when they have taken effect."""
    await until(lambda: supervisor.streams)
    (stream,) = supervisor.streams
    await stream.send([1, "welcome", None])
    await stream.send([2, "table", {"a": 1}])
    assert [await stream.receive(), await stream.receive()] == [1, 2]
    assert member.pushed == [("table", {"a": 1})]
    await member.membership.welcomed()


async def test_a_break_is_followed_by_a_new_report(
    supervisor: Supervisor, member: Member, until: Until
) -> None:
    """After each break the process reports itself as it is then."""
    await until(lambda: supervisor.streams)
    supervisor.transport.break_connections("me")
    await until(lambda: len(supervisor.streams) == 2)
    assert [stream.header["reports"] for stream in supervisor.streams] == [1, 2]


async def test_a_push_that_cannot_be_applied_is_asked_for_anew(
    supervisor: Supervisor, member: Member, until: Until
) -> None:
    """A failing push ends its stream only; the next one brings the table whole."""
    await until(lambda: supervisor.streams)
    member.refuse = True
    await supervisor.streams[0].send([1, "table", "bad"])
    await until(lambda: len(supervisor.streams) == 2)
    assert supervisor.streams[0].is_closed
    await supervisor.streams[1].send([1, "table", "good"])
    assert await supervisor.streams[1].receive() == 1
    assert member.pushed == [("table", "good")]


async def test_a_silent_supervisor_is_told_of_once() -> None:
    """A process that cannot reach the supervisor for its silence stops trying and says so."""

    class Nobody:
        async def connection(self) -> Any:
            raise LinkError("nobody is there")

    member = Member(Nobody(), silence=0.01)
    member.membership.start()
    async with asyncio.timeout(5):
        await member.silent.wait()
    await member.membership.close()
    assert member.reports == 0


async def test_what_is_said_of_oneself(supervisor: Supervisor, member: Member, until: Until) -> None:
    """It reaches a supervisor that is there; what is said to one that is away is lost, and breaks nothing."""
    member.membership.tell("figures", 0)
    await until(lambda: supervisor.streams)
    (stream,) = supervisor.streams
    await stream.send([1, "welcome", None])
    assert await stream.receive() == 1
    member.membership.tell("figures", 1)
    assert await stream.receive() == ["figures", 1]
    stream.reset("x")
    await until(lambda: len(supervisor.streams) == 2)
    member.membership.tell("figures", 2)
    await supervisor.streams[1].send([1, "welcome", None])
    assert await supervisor.streams[1].receive() == 1
