"""Late answers, and a head that is gone."""

from __future__ import annotations

import asyncio
import threading

import pytest

from llmgine.actors.control import ClusterGone
from llmgine.actors.control import head as module
from llmgine.actors.control.head import Head, in_thread


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LATE", 0.02)
    monkeypatch.setattr(module, "_GRACE", 0.1)


async def listening() -> tuple[asyncio.Server, str]:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    return server, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_an_answer_in_time_asks_nobody() -> None:
    """What answers at once is given at once, errors included, whoever listens."""
    head = Head("127.0.0.1:1")

    async def fails() -> None:
        raise KeyError("its own")

    assert await head.during(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(KeyError):
        await head.during(fails())


async def test_a_late_answer_of_a_live_head_is_waited_for() -> None:
    """A slow call goes on for as long as the head is there."""
    server, address = await listening()
    gate = asyncio.Event()
    waiting = asyncio.create_task(Head(address).during(gate.wait()))
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    gate.set()
    assert await waiting
    server.close()


async def test_a_head_that_is_gone_is_given_up() -> None:
    """A call whose head refuses connections ends with `ClusterGone`, and so does each later one at once."""
    server, address = await listening()
    server.close()
    await server.wait_closed()
    head, never = Head(address), asyncio.Event()
    with pytest.raises(ClusterGone, match=address):
        await asyncio.wait_for(head.during(never.wait()), 5)
    with pytest.raises(ClusterGone):
        await asyncio.wait_for(head.during(asyncio.sleep(0)), 5)


async def test_a_thread_that_hangs_keeps_nobody() -> None:
    """A blocking call can be given up; its thread is a daemon, which no exit waits for."""
    gate, threads = threading.Event(), []

    def hang() -> None:
        threads.append(threading.current_thread())
        gate.wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(in_thread(hang), 0.2)
    assert threads[0].daemon
    gate.set()
    threads[0].join()
    assert await in_thread(int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await in_thread(int, "x")
