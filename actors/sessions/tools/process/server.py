"""The process from which those of process tools are forked: one thread, the tools loaded once.

For each call two processes: the worker runs the tool, and its keeper, to whom whatever the tool starts
falls when its parent ends, sees to it that nothing of it is left. A keeper ends its worker as soon as the
session's process lets go of the call; the server ends when that process lets go of it.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

from pydantic_core import to_json

from llmgine.actors import code as travelling
from llmgine.actors.sessions.tools.away import FAILED, Order, carry_out
from llmgine.actors.sessions.tools.process import kin
from llmgine.actors.sessions.tools.process.wire import framed, receive_frame
from llmgine.actors.sessions.tools.tool import Tool

Tools = Mapping[str, Tool[..., Any]]


def main(control: socket.socket) -> None:
    """Serves calls until the other side of `control` is closed: each is two sockets, data and status."""
    kin.adopt_orphans()
    tools = _load(receive_frame(control))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries keepers
    while True:
        said, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not said:
            break
        if os.fork() == 0:
            control.close()
            _keep(socket.socket(fileno=descriptors[0]), socket.socket(fileno=descriptors[1]), tools)
        for descriptor in descriptors:
            os.close(descriptor)
    kin.end_all()


def _load(packed: bytes | None) -> Tools | str:
    """The tools, or why there are none; each call is told."""
    if packed is None:
        raise SystemExit(0)
    try:
        tools: Tools = travelling.unpack(packed, dict)
    except BaseException as error:  # code of the user's own, which may even try to exit
        return f"the tool cannot be loaded in a process of its own: {error}"
    for tool in tools.values():
        with suppress(Exception):  # only so that no call need make the validator
            tool.validate({})
    return tools


def _keep(data: socket.socket, status: socket.socket, tools: Tools | str) -> NoReturn:
    """Runs the worker; tells its exit code once nothing of it is left."""
    os.setsid()
    kin.adopt_orphans()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    worker = os.fork()
    if worker == 0:
        status.close()
        _work(data, tools)
    data.close()
    code = kin.wait_for(worker, status)
    kin.end_all()
    try:
        status.sendall(str(code).encode())
    except OSError:
        pass  # nobody is there who wants to know
    os._exit(0)


def _work(data: socket.socket, tools: Tools | str) -> NoReturn:
    os.setsid()  # a tool that signals its whole group reaches only itself
    kin.end_with_parent()
    faulthandler.enable()
    try:
        asked = receive_frame(data)
        if asked is not None:
            _run(Order.from_wire(asked), tools, data)
    except OSError:
        os._exit(1)  # the session's process has let go of the call
    os._exit(0)


def _run(order: Order, tools: Tools | str, data: socket.socket) -> None:
    def emit(frame: bytes) -> None:
        for printed in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # the tool may have closed it
                printed.flush()
        data.sendall(framed(frame))

    if isinstance(tools, str):
        emit(FAILED + to_json([tools, False]))
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if order.memory is not None:
        limit = kin.memory_taken() + order.memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    carry_out(tools[order.tool], order, emit)
