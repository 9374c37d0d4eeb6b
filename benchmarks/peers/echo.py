"""Framed msgpack over bare sockets: client, relay and end in three processes, and nothing else.

What is written within one turn of the loop leaves in one piece, as our links do it. The relay
forwards frames unread; the end decodes each message and checks its number.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import msgpack

from benchmarks.child import Child, Control, started
from benchmarks.contract import Effort, Measure, Round
from benchmarks.load import NS_PER_S, SESSIONS, TEXT, Ledger, check, latency_figures, pace_count, paced

_HEADER: Final = 4
_FLUSH_BYTES: Final = 128 * 1024
_YIELD_EVERY: Final = 256


class Framed(asyncio.Protocol):
    """One end of a connection: frame bodies in, frame bodies out."""

    def __init__(self, on_bodies: Callable[[list[bytes]], None]) -> None:
        self._on_bodies = on_bodies
        self._held = b""
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self.on_pause: Callable[[bool], None] = lambda paused: None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: uvloop's transports are not derived from asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=1 << 20)

    def data_received(self, data: bytes) -> None:
        data, start, bodies = self._held + data, 0, []
        while len(data) - start >= _HEADER:
            end = start + _HEADER + int.from_bytes(data[start : start + _HEADER], "big")
            if end > len(data):
                break
            bodies.append(data[start + _HEADER : end])
            start = end
        self._held = data[start:]
        self._on_bodies(bodies)

    def send(self, body: bytes) -> None:
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out += (len(body).to_bytes(_HEADER, "big"), body)
        self._out_bytes += len(body)
        if self._out_bytes > _FLUSH_BYTES:
            self._flush()

    async def drain(self) -> None:
        await asyncio.sleep(0)
        await self._writable.wait()

    def pause_writing(self) -> None:
        self._writable.clear()
        self.on_pause(True)

    def resume_writing(self) -> None:
        self._writable.set()
        self.on_pause(False)

    def _flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._out_bytes = 0
            self.transport.write(data)


async def relay(control: Control, path: str, target: str) -> None:
    """Forwards what comes from the client to the end."""
    loop = asyncio.get_running_loop()
    _, onward = await loop.create_unix_connection(lambda: Framed(lambda bodies: None), target)

    def forward(bodies: list[bytes]) -> None:
        for body in bodies:
            onward.send(body)

    def accept() -> Framed:
        inward = Framed(forward)
        onward.on_pause = lambda paused: (
            inward.transport.pause_reading() if paused else inward.transport.resume_reading()
        )
        return inward

    await loop.create_unix_server(accept, path)
    control.answer(ready=True)
    while await control.read() is not None:
        pass


async def end(control: Control, path: str) -> None:
    """Takes messages; told how many to expect, it answers when it has them."""
    ledger, arrived, expected = Ledger(), asyncio.Event(), 0

    def take(bodies: list[bytes]) -> None:
        for body in bodies:
            message = msgpack.unpackb(body)
            ledger.take(message["session_id"], message["number"], message["sent"])
        if ledger.count >= expected:
            arrived.set()

    await asyncio.get_running_loop().create_unix_server(lambda: Framed(take), path)
    control.answer(ready=True)
    while (message := await control.read()) is not None:
        expected = message["expect"]
        ledger = Ledger()
        arrived.clear()
        control.answer(ready=True)
        await arrived.wait()
        control.answer(**ledger.report(), finished=time.monotonic_ns())


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    folder = Path.cwd()
    async with started("benchmarks.peers.echo:end", path=str(folder / "end")) as far:
        await far.hear()
        paths = {"path": str(folder / "relay"), "target": str(folder / "end")}
        async with started("benchmarks.peers.echo:relay", **paths) as between:
            await between.hear()
            loop = asyncio.get_running_loop()
            _, out = await loop.create_unix_connection(lambda: Framed(lambda bodies: None), paths["path"])

            async def measure(effort: Effort) -> Round:
                throughput = await _throughput(out, far, effort.count(300_000, 5_000))
                latencies = await _latencies(out, far, pace_count(effort))
                figures = {"messages_per_s": throughput, **latency_figures(latencies)}
                return Round(figures, {"p99_us": latencies})

            yield measure
            out.transport.close()


def _message(session: int, number: int, sent: int) -> bytes:
    body: dict[str, Any] = {"session_id": f"s{session}", "number": number, "sent": sent, "text": TEXT}
    return msgpack.packb(body)


async def _throughput(out: Framed, far: Child, count: int) -> float:
    await far.ask(expect=count)
    begun = time.monotonic_ns()
    for index in range(count):
        out.send(_message(index % SESSIONS, index // SESSIONS, 0))
        if index % _YIELD_EVERY == 0:
            await out.drain()
    report = await far.hear()
    check(report, count)
    return count * NS_PER_S / float(report["finished"] - begun)


async def _latencies(out: Framed, far: Child, count: int) -> list[float]:
    await far.ask(expect=count)
    async for number in paced(count):
        out.send(_message(0, number, time.monotonic_ns()))
    report = await far.hear()
    check(report, count)
    latencies: list[float] = report["latencies"]
    return latencies
