"""Telemetry over real sockets from a process that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.link import Identity, LinkOptions, SocketTransport
from llmgine.actors.telemetry import TelemetryHost
from llmgine.telemetry import Row, SpanRecorder, TelemetryOptions, TraceContext, names, session_waterfall

SECRET = "s" * 32
CHILD = """
import asyncio, sys
from pathlib import Path
from llmgine.actors.link import Address, Identity, LinkOptions, Peer, SocketTransport
from llmgine.actors.telemetry import TelemetryShipper
from llmgine.telemetry import SpanRecorder, TraceContext

async def main(folder, unix, traceparent):
    async def resolve():
        return Address("telemetry", "here", unix)
    transport = SocketTransport(b"s" * 32, "here", Path(folder), options=LinkOptions())
    recorder = SpanRecorder("provider-0")
    peer = Peer("telemetry", resolve, transport, Identity("provider-0", "provider"))
    shipper = TelemetryShipper(recorder, peer)
    shipper.start()
    recorder.start("chat m", kind="client", parent=TraceContext.parse(traceparent))
    print("shipped" if await shipper.flush() else shipper.last_error, flush=True)
    await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tele-"))
    yield path / "s"
    shutil.rmtree(path)


async def test_a_killed_process_leaves_a_closed_span_in_the_right_place(folder: Path, until: Any) -> None:
    """After SIGKILL the dead process's span stands below its parent, closed, and says why."""
    host = TelemetryHost(TelemetryOptions(death_grace=0))
    transport = SocketTransport(SECRET.encode(), "here", folder, options=LinkOptions())
    endpoint = await transport.listen(Identity("telemetry", "telemetry"), host.handlers())
    session = SpanRecorder("session-1")
    turn = session.start("invoke_agent", session="s")
    assert endpoint.address.unix is not None
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CHILD,
        str(folder),
        endpoint.address.unix,
        turn.context.traceparent,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        assert (await child.stdout.readline()).strip() == b"shipped"
        batch = session.drain()
        assert batch is not None
        host.assembler.add(batch, 0)
        assert host.assembler.counters()["running"] == 2
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: host.assembler.counters()["running"] == 1)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        child._transport.close()  # type: ignore[attr-defined]
        await endpoint.close()
    [trace] = host.assembler.session("s")
    rows: list[Row] = session_waterfall("s", trace.spans, now=trace.spans[-1].start)
    assert [(row.depth, row.name, row.error) for row in rows] == [
        (0, "session s", None),
        (1, "invoke_agent", None),
        (2, "chat m", names.ACTOR_DIED),
    ]
    assert TraceContext.parse(turn.context.traceparent) == turn.context
