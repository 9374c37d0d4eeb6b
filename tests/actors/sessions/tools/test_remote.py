"""Tools as tasks of a cluster, which here are generators in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import pytest

from llmgine.actors.control import TaskFailed, TaskOptions
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.tools.context import ToolContext
from llmgine.actors.sessions.tools.tool import tool
from llmgine.actors.sessions.tools.toolset import ToolPorts, Toolset
from llmgine.providers.contracts import ToolCallPart, ToolResultPart
from llmgine.telemetry import SpanRecorder, names
from llmgine.telemetry.current import recorded


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


async def test_spans_that_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that has done its work has done it, whatever becomes of its spans."""

    def fail(recorder: SpanRecorder, *limits: Any, **options: Any) -> None:
        raise RuntimeError("no batch can be made")

    monkeypatch.setattr(SpanRecorder, "drain", fail)
    result, _ = await run(NearTasks())
    assert (result.text, result.is_error) == ("c1 printed", False)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_task_ends_whatever_happens_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that breaks in the task's own code ends the task at once, and not at its timeout."""

    def fail(*order: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("llmgine.actors.sessions.tools.remote.carry_out", fail)
    result, _ = await run(NearTasks(), tool_start=5.0)
    assert (result.text, result.is_error) == ("prints ended without a result.", True)


@tool(remote=True)
def searches(pages: int, context: ToolContext) -> str:
    """Search pages."""
    for page in range(pages):
        with context.span(f"page {page}") as span:
            span.recorder.count("pages_searched")
    return "nothing"


async def test_all_spans_and_figures_of_a_task_arrive() -> None:
    """What a tool records far away is recorded in its session; what its ring dropped is counted there."""
    recorder = SpanRecorder("session", 20_000)
    toolset = Toolset([searches], SessionOptions(), ToolPorts(tasks=NearTasks()))
    call = ToolCallPart(id="c1", name="searches", arguments={"pages": 9000})
    with recorded(recorder, "call", {}):
        await toolset.run(call, "t1")
    # The span of the run itself enters the ring twice, at its begin and at its end.
    assert recorder.pending - 1 + recorder.lost == 9000 + 2
    assert recorder.lost == 9000 + 2 - 8192
    assert recorder.metrics.counter("pages_searched").value == 9000
    batch = recorder.drain(20_000)
    assert batch is not None
    assert batch.lost == recorder.lost
    assert recorder.metrics.counter(names.METRIC_SPANS_LOST).value == recorder.lost


@tool(remote=True)
def buys(context: ToolContext) -> None:
    """Buy something."""
    pin = context.secret("pin")
    with context.span(f"pay {pin}", {"with": {"pin": [pin]}, pin: 1}) as span:
        span.event("asked", said=pin)
    with context.span("ship"):
        raise ValueError(f"refused {pin}")


@pytest.mark.parametrize("tasks", [None, NearTasks()], ids=["here", "in a task"])
async def test_spans_of_a_tool_bear_no_secret(
    tasks: NearTasks | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tool was given in secret is in none of its spans, also where content is recorded."""
    monkeypatch.setenv("LLMGINE_SECRET_PIN", "open-7")
    recorder = SpanRecorder("session", content=True)
    toolset = Toolset([buys], SessionOptions(), ToolPorts(tasks=tasks))
    with recorded(recorder, "call", {}):
        result = await toolset.run(ToolCallPart(id="c1", name="buys", arguments={}), "t1")
    assert result.is_error
    batch = recorder.drain()
    assert batch is not None
    assert b"open-7" not in batch.pack()
    told = {record.name: record for record in batch.spans}
    paid, shipped = told["pay [secret pin]"], told["ship"]
    assert paid.attributes == {"with": {"pin": ["[secret pin]"]}, "[secret pin]": 1}
    assert [event[2] for event in paid.events or ()] == [{"said": "[secret pin]"}]
    assert shipped.attributes == {names.EXCEPTION_MESSAGE: "refused [secret pin]"}
