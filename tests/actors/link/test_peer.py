"""One connection, kept through restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from llmgine.actors.link import (
    Address,
    Connection,
    Identity,
    LinkBroken,
    LinkError,
    MemoryTransport,
    Peer,
    Stream,
    request,
)

if TYPE_CHECKING:
    from tests.actors.link.conftest import Until

US = Identity("client", "driver")


async def name(stream: Stream) -> None:
    await stream.send("served")


class Pauses:
    """A sleep that takes no time and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        await asyncio.sleep(0)


class Directory:
    """Where the actor is, as the supervisor would tell."""

    def __init__(self) -> None:
        self.asked = 0
        self.failures = 0
        self.gate: asyncio.Event | None = None

    async def __call__(self) -> Address:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the directory is away")
        return Address("server", "memory")


class Setting:
    def __init__(self) -> None:
        self.transport = MemoryTransport()
        self.directory = Directory()
        self.pauses = Pauses()
        self.connected: list[Connection] = []
        self.broken: asyncio.Queue[Connection] = asyncio.Queue()
        self.random = 1.0

    def peer(self, resolve: Callable[[], Awaitable[Address]] | None = None, give_up: float = 10) -> Peer:
        return Peer(
            "server",
            resolve or self.directory,
            self.transport,
            US,
            give_up=give_up,
            on_connect=self.connected.append,
            on_break=self.broken.put_nowait,
            random=lambda: self.random,
            sleep=self.pauses,
        )


@pytest.fixture
async def setting() -> Setting:
    return Setting()


async def test_the_connection_is_made_once_and_kept(setting: Setting) -> None:
    """All callers share one dial and one connection."""
    endpoint = await setting.transport.listen(Identity("server", "actor"), {"name": name})
    peer = setting.peer()
    assert peer.current is None
    first, *others = await asyncio.gather(*(peer.connection() for _ in range(10)))
    assert all(other is first for other in others)
    assert await peer.connection() is first
    assert peer.current is first
    assert setting.connected == [first]
    assert setting.directory.asked == 1
    assert await request(first, "name", timeout=5) == "served"
    peer.close()
    await endpoint.close()


async def test_a_break_is_reported_and_the_next_call_dials_again(setting: Setting) -> None:
    """After a break the address is resolved anew; on_break and wait_broken tell of the old connection."""
    endpoint = await setting.transport.listen(Identity("server", "actor"), {"name": name})
    peer = setting.peer()
    first = await peer.connection()
    waiting = asyncio.create_task(peer.wait_broken())
    assert setting.transport.break_connections("client") == 1
    await waiting
    assert await setting.broken.get() is first
    await peer.wait_broken()
    second = await peer.connection()
    assert second is not first
    assert setting.directory.asked == 2
    assert await request(second, "name", timeout=5) == "served"
    peer.close()
    await endpoint.close()


async def test_failures_are_retried_with_growing_random_pauses(setting: Setting) -> None:
    """Whatever resolve() or the dial raises is tried again: 20 ms, 40 ms … 1 s, times a random share."""
    setting.directory.failures = 9
    endpoint = await setting.transport.listen(Identity("server", "actor"), {})
    peer = setting.peer()
    await peer.connection()
    assert setting.pauses.asked == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0])
    peer.close()
    setting.pauses.asked.clear()
    setting.random, setting.directory.failures = 0.5, 2
    peer = setting.peer()
    await peer.connection()
    assert setting.pauses.asked == pytest.approx([0.01, 0.02])
    peer.close()
    await endpoint.close()


async def test_giving_up_names_the_actor_and_the_last_reason(setting: Setting) -> None:
    """After `give_up` seconds all who wait get LinkError; the next call begins anew."""
    peer = setting.peer(give_up=0.01)
    results = await asyncio.gather(peer.connection(), peer.connection(), return_exceptions=True)
    for result in results:
        assert isinstance(result, LinkError)
        assert "'server' could not be reached for 0.01 s" in str(result)
        assert "not listening" in str(result)
    endpoint = await setting.transport.listen(Identity("server", "actor"), {})
    assert not (await peer.connection()).is_closed
    peer.close()
    await endpoint.close()


async def test_a_hanging_resolve_is_given_up(setting: Setting) -> None:
    """A directory that never answers costs no more than `give_up`."""
    setting.directory.gate = asyncio.Event()
    with pytest.raises(LinkError, match="server"):
        await setting.peer(give_up=0.01).connection()


async def test_a_failing_hook_is_a_failed_attempt(setting: Setting) -> None:
    """A connection that on_connect refuses is closed, and the next attempt makes another."""
    endpoint = await setting.transport.listen(Identity("server", "actor"), {})
    refused: list[Connection] = []

    def refuse_once(connection: Connection) -> None:
        if not refused:
            refused.append(connection)
            raise ValueError("not this one")

    peer = Peer(
        "server", setting.directory, setting.transport, US, on_connect=refuse_once, sleep=setting.pauses
    )
    connection = await peer.connection()
    assert refused[0].is_closed
    assert connection is not refused[0]
    peer.close()
    await endpoint.close()


async def test_a_cancelled_caller_does_not_spoil_the_dial_of_others(setting: Setting, until: Until) -> None:
    """One of two callers is cancelled; the other gets the connection."""
    endpoint = await setting.transport.listen(Identity("server", "actor"), {})
    gate = setting.directory.gate = asyncio.Event()
    peer = setting.peer()
    first, second = (asyncio.create_task(peer.connection()) for _ in range(2))
    await until(lambda: setting.directory.asked)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.set()
    assert not (await second).is_closed
    assert setting.directory.asked == 1
    peer.close()
    await endpoint.close()


async def test_a_closed_peer_raises_link_broken(setting: Setting, until: Until) -> None:
    """close() ends the connection and those who wait for one; nothing is reported as a break."""
    endpoint = await setting.transport.listen(Identity("server", "actor"), {})
    peer = setting.peer()
    connection = await peer.connection()
    peer.close()
    peer.close()
    await connection.wait_closed()
    with pytest.raises(LinkBroken, match="closed"):
        await peer.connection()
    waiting_peer = setting.peer()
    setting.directory.gate = asyncio.Event()
    waiting = asyncio.create_task(waiting_peer.connection())
    await until(lambda: setting.directory.asked == 2)
    waiting_peer.close()
    with pytest.raises(LinkBroken, match="closed"):
        await waiting
    assert setting.broken.empty()
    await endpoint.close()
