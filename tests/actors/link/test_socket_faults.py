# ruff: noqa: ASYNC240
"""What strangers, broken peers and full buffers do to an endpoint: nothing that others notice."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from llmgine.actors.link import (
    Address,
    AuthenticationFailed,
    Identity,
    LinkBroken,
    LinkError,
    LinkOptions,
    SocketTransport,
    Stream,
)
from llmgine.actors.link import (
    connection as connection_module,
)
from llmgine.actors.link.auth import Accepting, Dialling, Limits, Party
from llmgine.actors.link.connection import LinkConnection
from llmgine.actors.link.endpoint import LinkEndpoint
from llmgine.actors.link.frames import CREDIT, DATA, FINISH, OPEN, PING, PONG, RESET, framed
from llmgine.actors.link.interfaces import StreamHandler

if TYPE_CHECKING:
    from tests.actors.link.conftest import Until

SECRET = b"s" * 32
US = Identity("client", "driver")
OPTIONS = LinkOptions(
    window_messages=8, window_bytes=4096, max_frame_bytes=64 * 1024, max_unauthenticated=4, linger=0.1
)
QUICK = OPTIONS.model_copy(update={"authentication_timeout": 0.05, "ping_idle": 0.03, "silence_limit": 0.09})
Listen = Callable[..., Any]


async def echo(stream: Stream) -> None:
    async for message in stream:
        await stream.send(message)


async def stay(stream: Stream) -> None:
    await stream.wait_closed()


HANDLERS: dict[str, StreamHandler] = {"echo": echo, "stay": stay}


class Raw:
    """A socket without any of our code behind it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *frame: Any) -> None:
        self.writer.write(framed(msgpack.packb(frame)))

    async def body(self) -> bytes:
        return await self.reader.readexactly(int.from_bytes(await self.reader.readexactly(4), "big"))

    async def frame(self) -> list[Any]:
        frame: list[Any] = msgpack.unpackb(await self.body())
        return frame

    async def ended(self) -> None:
        """Wait until the other side has closed."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass

    async def authenticate(self, name: str, limits: Limits) -> None:
        dialling = Dialling(SECRET, Party(US, limits), os.urandom(32), name)
        answer = dialling.start()
        while answer is not None:
            self.writer.write(framed(answer))
            answer = dialling.receive(await self.body())


@asynccontextmanager
async def raw(endpoint: LinkEndpoint, limits: Limits | None = None) -> AsyncIterator[Raw]:
    """A raw connection; authenticated if limits are given."""
    assert endpoint.address.unix is not None
    stranger = Raw(*await asyncio.open_unix_connection(endpoint.address.unix))
    try:
        if limits is not None:
            await stranger.authenticate(endpoint.address.name, limits)
        yield stranger
    finally:
        stranger.writer.transport.abort()


@asynccontextmanager
async def serving(
    folder: Path, options: LinkOptions = OPTIONS, handlers: dict[str, StreamHandler] = HANDLERS
) -> AsyncIterator[tuple[LinkEndpoint, LinkConnection]]:
    """An endpoint, and an honest connection to it that must still work at the end."""
    transport = SocketTransport(SECRET, "here", folder, options=options)
    endpoint = await transport.listen(Identity("server", "actor"), handlers)
    honest = await transport.dial(endpoint.address, US)
    async with asyncio.timeout(20):
        yield endpoint, honest
        assert not honest.is_closed
        if "echo" in handlers:
            stream = honest.open("echo")
            await stream.send("still here")
            assert await stream.receive() == "still here"
    honest.close()
    await endpoint.close()


async def test_a_wrong_secret_is_refused_and_counted(folder: Path, until: Until) -> None:
    """The dialler learns that the secrets differ; the endpoint counts one that ended before its proof."""
    async with serving(folder) as (endpoint, _):
        stranger = SocketTransport(b"t" * 32, "here", folder, options=OPTIONS)
        with pytest.raises(AuthenticationFailed, match="secret"):
            await stranger.dial(endpoint.address, US)
        await until(lambda: endpoint.counters["ended_unauthenticated"])
        assert endpoint.counters["accepted"] == 1


async def test_a_wrong_proof_is_dropped_and_counted(folder: Path) -> None:
    """Who goes on without knowing the secret is cut off at its proof."""
    async with serving(folder) as (endpoint, _), raw(endpoint) as stranger:
        stranger.send(1, b"n" * 32, US.to_wire(), [1, 1, 1])
        await stranger.frame()
        stranger.send(b"p" * 32)
        await stranger.ended()
        assert endpoint.counters["failed_authentication"] == 1


async def test_who_does_not_prove_itself_in_time_is_dropped(folder: Path) -> None:
    """A connection that says nothing is closed at the deadline and counted."""
    async with serving(folder, QUICK) as (endpoint, _), raw(endpoint) as stranger:
        await stranger.ended()
        assert endpoint.counters["late_authentication"] == 1


async def test_a_drip_of_bytes_does_not_move_the_deadline(folder: Path) -> None:
    """Half a hello is as late as none."""
    async with serving(folder, QUICK) as (endpoint, _), raw(endpoint) as stranger:
        stranger.writer.write(b"\x00\x00")
        await stranger.ended()
        assert endpoint.counters["late_authentication"] == 1


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "too_large"),
        ((5000).to_bytes(4, "big"), "too_large"),
        (framed(b"\xc1\xc1\xc1"), "malformed"),
        (framed(msgpack.packb([1, 2, 3])), "malformed"),
        (framed(msgpack.packb([DATA, 1, "x"])), "malformed"),
        (framed(b""), "malformed"),
    ],
)
async def test_strangers_are_dropped_and_counted(folder: Path, data: bytes, counter: str) -> None:
    """Before authentication, more than 4 KiB or anything but a hello ends the connection."""
    async with serving(folder) as (endpoint, _), raw(endpoint) as stranger:
        stranger.writer.write(data)
        await stranger.ended()
        assert endpoint.counters[counter] == 1


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        ((64 * 1024 + 1).to_bytes(4, "big"), "too_large"),
        (framed(b"\xc1\xc1\xc1\xc1"), "malformed"),
        (framed(msgpack.packb({"a": "map"})), "malformed"),
        (framed(msgpack.packb([99, 1, 2])), "malformed"),
        (framed(msgpack.packb([DATA, 1])), "malformed"),
        (framed(msgpack.packb([DATA, [1], 2])), "malformed"),
        (framed(msgpack.packb(["kind", 1, 2])), "malformed"),
        (framed(msgpack.packb([FINISH, 1])), "malformed"),
        (framed(msgpack.packb([RESET, 1, 2, 3])), "malformed"),
        (framed(msgpack.packb([CREDIT, 1, 1, 1])), "malformed"),
        (framed(msgpack.packb([CREDIT, 1, -1, -1])), "malformed"),
        (framed(msgpack.packb([CREDIT, 1, "a", 1])), "malformed"),
        (framed(msgpack.packb([OPEN, 1, "stay", None])), "malformed"),
        (framed(msgpack.packb([OPEN, 4, "stay", None])), "malformed"),
        (framed(msgpack.packb([OPEN, -3, "stay", None])), "malformed"),
        (framed(msgpack.packb([OPEN, 3, 7, None])), "malformed"),
        (framed(msgpack.packb([DATA, 1, "x"])) * 9, "malformed"),
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_dropped(folder: Path, data: bytes, counter: str) -> None:
    """An authenticated peer that sends what the protocol does not allow is dropped and counted."""
    async with serving(folder) as (endpoint, _), raw(endpoint, Limits.of(OPTIONS)) as peer:
        peer.send(OPEN, 1, "stay", None)
        peer.writer.write(data)
        await peer.ended()
        assert endpoint.counters[counter] == 1


async def test_frames_for_a_stream_that_is_over_are_ignored(folder: Path) -> None:
    """What was under way when a stream ended harms nobody."""
    async with serving(folder) as (endpoint, _), raw(endpoint, Limits.of(OPTIONS)) as peer:
        peer.send(DATA, 77, "late")
        peer.send(CREDIT, 77, 1, 1)
        peer.send(FINISH, 77, False)
        peer.send(RESET, 77, "a", "b")
        peer.send(OPEN, 79, "echo", None)
        peer.send(DATA, 79, "hello")
        assert await peer.frame() == [DATA, 79, "hello"]


async def test_too_many_streams_are_refused_one_by_one(folder: Path) -> None:
    """A peer that opens more than is allowed gets a reset for each, and keeps those it has."""
    options = OPTIONS.model_copy(update={"max_streams": 2})
    async with serving(folder, options) as (endpoint, _), raw(endpoint, Limits.of(options)) as peer:
        for number in (1, 3, 5):
            peer.send(OPEN, number, "echo", None)
        assert (await peer.frame())[:3] == [RESET, 5, "too_many_streams"]
        peer.send(DATA, 3, "x")
        assert await peer.frame() == [DATA, 3, "x"]


async def test_a_silent_peer_is_noticed(folder: Path) -> None:
    """A peer that answers no ping is closed and counted; one that is only idle is kept."""
    async with serving(folder, QUICK) as (endpoint, honest), raw(endpoint, Limits.of(QUICK)) as frozen:
        assert await frozen.reader.readexactly(len(PING)) == PING
        await frozen.ended()
        assert endpoint.counters["silent"] == 1
        assert not honest.is_closed


async def test_a_frozen_server_breaks_the_diallers_streams(folder: Path) -> None:
    """The dialling side notices silence too: its streams raise LinkBroken that says so."""
    folder.mkdir()
    path = str(folder / "frozen")
    ended = asyncio.Event()

    async def frozen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        them = Raw(reader, writer)
        accepting = Accepting(SECRET, Party(Identity("server", "actor"), Limits.of(QUICK)), os.urandom(32))
        while accepting.peer is None:
            writer.write(framed(accepting.receive(await them.body()) or b""))
        await them.ended()
        writer.close()
        ended.set()

    server = await asyncio.start_unix_server(frozen, path)
    transport = SocketTransport(SECRET, "here", folder, options=QUICK)
    connection = await transport.dial(Address("server", "here", path), US)
    with pytest.raises(LinkBroken, match="silent"):
        await connection.open("echo").receive()
    await asyncio.wait_for(ended.wait(), 5)
    server.close()


async def test_pings_are_answered(folder: Path) -> None:
    """An empty frame is answered with a sign of life, between other frames too."""
    async with serving(folder) as (endpoint, _), raw(endpoint, Limits.of(OPTIONS)) as peer:
        peer.writer.write(PING)
        assert await peer.reader.readexactly(len(PONG)) == PONG
        peer.send(OPEN, 1, "echo", None)
        peer.writer.write(PING)
        peer.send(DATA, 1, 1)
        assert sorted([await peer.frame(), await peer.frame()]) == [[0], [DATA, 1, 1]]


async def test_only_so_many_may_wait_for_their_proof(folder: Path) -> None:
    """Beyond the limit of unauthenticated connections the newest is dropped."""
    async with serving(folder) as (endpoint, _), AsyncExitStack() as stack:
        for _number in range(4):
            await stack.enter_async_context(raw(endpoint))
        fifth = await stack.enter_async_context(raw(endpoint))
        await fifth.ended()
        assert endpoint.counters["dropped"] == 1


async def test_a_reader_that_stops_bounds_the_senders_memory(folder: Path, until: Until) -> None:
    """Senders wait when the peer's socket is full, whatever credit they have, and go on when it reads."""
    wide = LinkOptions(window_messages=100_000, window_bytes=1024 * 1024 * 1024)
    sent = 0

    async def pour(stream: Stream) -> None:
        nonlocal sent
        for _ in range(400):
            await stream.send(b"x" * 65536)
            sent += 1

    async with (
        serving(folder, wide, {"pour": pour, "echo": echo}) as (endpoint, _),
        raw(endpoint, Limits.of(wide)) as slow,
    ):
        slow.send(OPEN, 1, "pour", None)
        await until(lambda: any(connection.is_paused for connection in endpoint.connections))
        theirs = next(connection for connection in endpoint.connections if connection.is_paused)
        assert theirs._wire._transport.get_write_buffer_size() < 4 * 1024 * 1024  # type: ignore[attr-defined]
        assert sent < 200
        for _ in range(400):
            assert (await slow.frame())[0] == DATA
        assert await slow.frame() == [FINISH, 1, True]


async def test_all_that_was_sent_arrives_when_the_endpoint_closes(folder: Path) -> None:
    """close() waits until the buffers are sent to a peer that reads."""
    wide = LinkOptions(window_messages=1000, window_bytes=64 * 1024 * 1024, linger=5)
    sent = asyncio.Event()

    async def pour(stream: Stream) -> None:
        for _ in range(30):
            await stream.send(b"x" * 65536)
        stream.finish()
        sent.set()
        await stream.wait_closed()

    transport = SocketTransport(SECRET, "here", folder, options=wide)
    endpoint = await transport.listen(Identity("server", "actor"), {"pour": pour})
    connection = await transport.dial(endpoint.address, US)
    stream = connection.open("pour")
    await sent.wait()
    await asyncio.wait_for(endpoint.close(), 5)
    assert len([message async for message in stream]) == 30
    await connection.wait_closed()


async def test_a_peer_that_reads_nothing_does_not_hold_up_closing(folder: Path, until: Until) -> None:
    """close() gives up on unsent bytes after `linger`."""

    async def pour(stream: Stream) -> None:
        while True:
            await stream.send(b"x" * 65536)

    wide = LinkOptions(window_messages=100_000, window_bytes=1024 * 1024 * 1024, linger=0.05)
    transport = SocketTransport(SECRET, "here", folder, options=wide)
    endpoint = await transport.listen(Identity("server", "actor"), {"pour": pour})
    async with raw(endpoint, Limits.of(wide)) as slow:
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        slow.send(OPEN, 1, "pour", None)
        await until(lambda: any(connection.is_paused for connection in endpoint.connections))
        await asyncio.wait_for(endpoint.close(), 5)


async def test_a_peer_that_asks_but_never_reads_is_dropped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers that need no credit do not pile up for a peer that reads none of them."""
    monkeypatch.setattr(connection_module, "UNREAD_BYTES", 10_000)
    async with serving(folder) as (endpoint, _), raw(endpoint, Limits.of(OPTIONS)) as peer:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        number = 1
        while len(endpoint.connections) > 1:
            for _ in range(250):
                peer.send(OPEN, number, "no such kind", None)
                number += 2
            await asyncio.sleep(0)
        assert endpoint.counters["unread"] == 1


async def test_dialling_a_mute_server_ends_at_the_timeout(folder: Path) -> None:
    """A server that accepts and says nothing costs no more than the timeout."""
    folder.mkdir()
    path = str(folder / "mute")
    ended = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Raw(reader, writer).ended()
        writer.close()
        ended.set()

    server = await asyncio.start_unix_server(mute, path)
    transport = SocketTransport(SECRET, "here", folder, options=OPTIONS)
    with pytest.raises(LinkError, match=r"0\.05 s"):
        await transport.dial(Address("server", "here", path), US, timeout=0.05)
    await asyncio.wait_for(ended.wait(), 5)
    server.close()


async def test_a_cancelled_dial_leaves_no_connection(folder: Path) -> None:
    """Cancelling a dial closes the socket that it had opened."""
    folder.mkdir()
    inside, ended = asyncio.Event(), asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        inside.set()
        await Raw(reader, writer).ended()
        writer.close()
        ended.set()

    path = str(folder / "mute")
    server = await asyncio.start_unix_server(mute, path)
    transport = SocketTransport(SECRET, "here", folder, options=OPTIONS)
    dial = asyncio.create_task(transport.dial(Address("server", "here", path), US))
    await inside.wait()
    dial.cancel()
    await asyncio.wait_for(ended.wait(), 5)
    with pytest.raises(asyncio.CancelledError):
        await dial
    server.close()


async def test_the_socket_is_private(folder: Path) -> None:
    """The folder has mode 0700 and the file 0600; closing removes the file."""
    async with serving(folder) as (endpoint, _):
        path = Path(endpoint.address.unix or "")
        assert path.parent == folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_a_stale_socket_file_is_replaced(folder: Path) -> None:
    """A file that a killed process left behind does not prevent its successor from listening."""
    async with serving(folder) as (endpoint, _):
        path = Path(endpoint.address.unix or "")
    path.write_bytes(b"")
    async with serving(folder) as (endpoint, _):
        assert endpoint.address.unix == str(path)


async def test_a_long_folder_is_replaced_by_a_short_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the folder is too long for the kernel a private folder in TMPDIR serves."""
    monkeypatch.setattr("tempfile.tempdir", str(folder.parent))
    long = folder / ("x" * 100)
    async with serving(long) as (endpoint, _):
        path = Path(endpoint.address.unix or "")
        assert path.parent.parent == folder.parent
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_no_short_folder_is_a_clear_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When TMPDIR is too long too, or the folder is not ours alone, the error says what to change."""
    transport = SocketTransport(SECRET, "here", folder / ("x" * 100), options=OPTIONS)
    monkeypatch.setattr("tempfile.tempdir", str(folder / ("y" * 100)))
    with pytest.raises(LinkError, match="TMPDIR"):
        await transport.listen(US, {})
    (folder.parent / "open").mkdir(mode=0o755)
    with pytest.raises(LinkError, match="open to other users"):
        await SocketTransport(SECRET, "here", folder.parent / "open", options=OPTIONS).listen(US, {})
    target = folder.parent / "elsewhere"
    target.mkdir()
    folder.symlink_to(target)
    with pytest.raises(LinkError, match="not a folder of this user"):
        await SocketTransport(SECRET, "here", folder, options=OPTIONS).listen(US, {})


async def test_an_actor_without_tcp_is_out_of_reach_from_other_nodes(folder: Path) -> None:
    """Dialling across nodes without TCP says which nodes and which setting."""
    async with serving(folder) as (endpoint, _):
        far = SocketTransport(SECRET, "there", folder, options=OPTIONS)
        with pytest.raises(LinkError, match=r"'here'.*'there'.*tcp_host"):
            await far.dial(endpoint.address, US)


def test_an_address_that_nobody_can_dial_is_refused(folder: Path) -> None:
    """tcp_host is what other nodes dial, so a wildcard is refused."""
    with pytest.raises(LinkError, match="cannot be dialled"):
        SocketTransport(SECRET, "here", folder, tcp_host="0.0.0.0")
