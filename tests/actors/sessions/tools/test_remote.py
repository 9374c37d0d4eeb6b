"""Tools as tasks of a cluster, which here are generators in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

from llmgine.actors.control import TaskFailed, TaskOptions
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.tools.context import ToolContext
from llmgine.actors.sessions.tools.tool import tool
from llmgine.actors.sessions.tools.toolset import ToolPorts, Toolset
from llmgine.providers.contracts import ToolCallPart, ToolResultPart


class NearTasks:
    """A cluster that runs what there is room for, and notes what it was asked for."""

    def __init__(self, room: bool = True, dies_after: int | None = None) -> None:
        self.asked: list[TaskOptions] = []
        self.ended = 0
        self._room = room
        self._dies_after = dies_after

    async def stream(
        self, work: Callable[..., Iterator[bytes]], *arguments: Any, options: TaskOptions
    ) -> AsyncGenerator[bytes]:
        self.asked.append(options)
        try:
            if not self._room:
                await asyncio.Event().wait()
            for number, item in enumerate(await asyncio.to_thread(lambda: list(work(*arguments)))):
                if number == self._dies_after:
                    raise TaskFailed("the worker was killed")
                yield item
        finally:
            self.ended += 1


@tool(remote=True, num_cpus=2, resources={"press": 1})
def prints(pages: int, context: ToolContext) -> Iterator[Any]:
    """Print pages."""
    for page in range(pages):
        yield {"page": page}
    yield f"{context.call_id} printed"


async def run(tasks: NearTasks | None, **options: Any) -> tuple[ToolResultPart, list[Any]]:
    toolset = Toolset([prints], SessionOptions(**options), ToolPorts(tasks=tasks))
    heard: list[Any] = []
    call = ToolCallPart(id="c1", name="prints", arguments={"pages": 1})
    return await toolset.run(call, "t1", heard.append), heard


async def test_a_task_for_each_call() -> None:
    """A remote tool runs as a task that holds what it asks for, and reports from there."""
    tasks = NearTasks()
    result, heard = await run(tasks)
    assert (result.text, result.is_error) == ("c1 printed", False)
    assert heard == [{"page": 0}, "c1 printed"]
    assert tasks.asked == [TaskOptions(2, 0.0, {"press": 1})]
    assert tasks.ended == 1


async def test_in_one_process_it_runs_here() -> None:
    """Without a cluster a remote tool runs like any other."""
    result, heard = await run(None)
    assert (result.text, heard) == ("c1 printed", [{"page": 0}, "c1 printed"])


async def test_no_room() -> None:
    """A task that finds no room is given up with what it had asked for."""
    tasks = NearTasks(room=False)
    result, _ = await run(tasks, tool_start=0.01)
    assert result.is_error
    assert result.text == (
        "prints did not begin within 0.01 seconds: no node of the cluster has CPU: 2, press: 1 free."
    )
    assert tasks.ended == len(tasks.asked)


async def test_a_task_that_dies() -> None:
    """A task whose process dies is an error result with the cluster's reason."""
    result, heard = await run(NearTasks(dies_after=2))
    assert (result.text, result.is_error) == ("prints failed: its task died: the worker was killed", True)
    assert heard == [{"page": 0}]
