"""Tools as tasks of the cluster: where there is room for what they ask for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from functools import lru_cache
from queue import SimpleQueue
from typing import Any

from pydantic_core import to_json

from llmgine.actors import code as travelling
from llmgine.actors.code import CodeUnavailable
from llmgine.actors.control import TaskFailed, TaskOptions, Tasks
from llmgine.actors.sessions.tools.away import FAILED, Order, carry_out, pack_tools
from llmgine.actors.sessions.tools.failing import CallFailed
from llmgine.actors.sessions.tools.tool import Tool


class RemoteTools:
    """Runs the remote tools of one session, each call as one task."""

    def __init__(self, tools: Iterable[Tool[..., Any]], tasks: Tasks) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._tasks = tasks
        self._packed: bytes | None = None

    async def frames(self, order: Order) -> AsyncGenerator[bytes]:
        """What the call's task says. Once closed, its process is ended."""
        tool = self._tools[order.tool]
        options = TaskOptions(tool.num_cpus, tool.num_gpus, tool.resources)
        if self._packed is None:
            self._packed = await asyncio.to_thread(pack_tools, self._tools)
        try:
            async with aclosing(
                self._tasks.stream(work, self._packed, order.to_wire(), options=options)
            ) as frames:
                async for frame in frames:
                    yield frame
        except TaskFailed as error:
            raise CallFailed(f"{tool.name} failed: its task died: {error}", again=True) from None


def work(packed: bytes, wire: bytes) -> Iterator[bytes]:
    """One call, in the process of the task: its frames as they come."""
    order = Order.from_wire(wire)
    try:
        tool = _unpacked(packed)[order.tool]
    except CodeUnavailable as error:
        yield FAILED + to_json([f"{order.tool} cannot be loaded on its node: {error}", False])
        return
    frames: SimpleQueue[bytes | None] = SimpleQueue()

    def run() -> None:
        try:
            carry_out(tool, order, frames.put)
        finally:
            frames.put(None)

    threading.Thread(target=run, name=f"tool {order.tool}", daemon=True).start()
    while (frame := frames.get()) is not None:
        yield frame


@lru_cache(maxsize=4)
def _unpacked(packed: bytes) -> dict[str, Tool[..., Any]]:
    """Processes of tasks serve many of them; what they need is loaded once."""
    tools: dict[str, Tool[..., Any]] = travelling.unpack(packed, dict)
    return tools
