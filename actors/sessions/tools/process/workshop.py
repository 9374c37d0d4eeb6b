"""The session's side of process tools: where each call gets a process, and is rid of it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from typing import Any

from llmgine.actors.sessions.tools.away import Order, pack_tools
from llmgine.actors.sessions.tools.failing import CallFailed
from llmgine.actors.sessions.tools.process.wire import framed, read_frame
from llmgine.actors.sessions.tools.tool import Tool

# Seconds without a call after which the process that forks is let go of.
_IDLE = 60.0
# Seconds that everything which a call started may take to go.
_GOING = 15.0

_BOOT = (
    "import json, socket, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from llmgine.actors.sessions.tools.process.server import main; "
    "main(socket.socket(fileno=int(sys.argv[1])))"
)


class Workshop:
    """Runs the process tools of one session, each call in a process of its own.

    The process from which those are forked starts with the first call, which takes about two seconds,
    and ends when there has been none for a minute. What tools print goes where this process prints.
    """

    def __init__(self, tools: Iterable[Tool[..., Any]]) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._packed: bytes | None = None
        self._server: socket.socket | None = None
        self._starting = asyncio.Lock()
        self._running = 0
        self._retiring: asyncio.TimerHandle | None = None

    async def frames(self, order: Order) -> AsyncGenerator[bytes]:
        """What the call's process says. Once closed, nothing of that process is left."""
        self._begin()
        try:
            data, status = await self._hand_over()
            reader, writer = await asyncio.open_unix_connection(sock=data)
            ends, holds = await asyncio.open_unix_connection(sock=status)
            try:
                writer.write(framed(order.to_wire()))
                while (frame := await read_frame(reader)) is not None:
                    yield frame
                raise CallFailed(_ended(order.tool, (await ends.read()).decode()), again=True)
            finally:
                await _let_go(ends, holds)
                writer.close()
        finally:
            self._end()

    def close(self) -> None:
        """Lets go of everything: calls that still run are ended."""
        if self._retiring is not None:
            self._retiring.cancel()
        if self._server is not None:
            self._server.close()
            self._server = None

    def _begin(self) -> None:
        self._running += 1
        if self._retiring is not None:
            self._retiring.cancel()
            self._retiring = None

    def _end(self) -> None:
        self._running -= 1
        if not self._running and self._server is not None:
            self._retiring = asyncio.get_running_loop().call_later(_IDLE, self.close)

    async def _hand_over(self) -> tuple[socket.socket, socket.socket]:
        """This side's ends of the sockets of a new call."""
        (data, data_there), (status, status_there) = socket.socketpair(), socket.socketpair()
        theirs = [data_there, status_there]
        try:
            async with self._starting:
                await self._send([one.fileno() for one in theirs])
        except BaseException:
            data.close()
            status.close()
            raise
        finally:
            for one in theirs:
                one.close()
        return data, status

    async def _send(self, descriptors: list[int]) -> None:
        for _ in range(2):  # the server that is there may have died since the last call
            try:
                if self._server is None:
                    self._server = await self._start()
                socket.send_fds(self._server, [b"c"], descriptors)
                return
            except OSError:
                self.close()
        raise CallFailed("no process for tools could be started; the log of the session's process says why")

    async def _start(self) -> socket.socket:
        if self._packed is None:
            self._packed = await asyncio.to_thread(pack_tools, self._tools)
        ours, theirs = socket.socketpair()
        try:
            await asyncio.to_thread(_spawn, theirs)
            ours.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(ours, framed(self._packed))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours


def _spawn(control: socket.socket) -> None:
    """Starts the server in a session of its own, so that a Ctrl-C in a terminal does not reach it."""
    number = control.fileno()
    process = subprocess.Popen(
        [sys.executable, "-P", "-u", "-c", _BOOT, str(number), json.dumps(sys.path)],
        stdin=subprocess.DEVNULL,
        pass_fds=[number],
        start_new_session=True,
    )
    # Somebody must take its exit code, whenever that is.
    threading.Thread(target=process.wait, name="server of process tools", daemon=True).start()


async def _let_go(ends: asyncio.StreamReader, holds: asyncio.StreamWriter) -> None:
    """Has the call's process ended, and waits until nothing of it is left."""
    with suppress(OSError, TimeoutError):
        holds.write_eof()
        async with asyncio.timeout(_GOING):
            await ends.read()
    holds.close()


def _ended(name: str, code: str) -> str:
    """What the exit code of a worker that said nothing more means."""
    if not code:
        return f"{name} failed: its process was ended together with its keeper."
    number = int(code)
    if number >= 0:
        return f"{name} failed: it ended its process with exit code {number} instead of returning."
    known = {one.value: one.name for one in signal.Signals}
    return f"{name} failed: its process was ended by {known.get(-number, f'signal {-number}')}."
