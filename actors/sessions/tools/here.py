"""Tools in the session's own process: async ones on its loop, sync ones in a thread of their own.

A thread cannot be stopped: at its timeout it is left behind and counted until it ends by itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from llmgine.actors.sessions.tools.driving import Report, driven, exhausted, runs_on_loop
from llmgine.actors.sessions.tools.failing import CallFailed, raised
from llmgine.actors.sessions.tools.tool import Tool

T = TypeVar("T")


class Here:
    """Runs tools in this process."""

    def __init__(self) -> None:
        self._abandoned: set[threading.Thread] = set()

    @property
    def abandoned(self) -> int:
        """Threads that were left behind and still run."""
        if self._abandoned:
            self._abandoned = {thread for thread in self._abandoned if thread.is_alive()}
        return len(self._abandoned)

    async def run(
        self, tool: Tool[..., Any], arguments: dict[str, Any], report: Report, timeout: float
    ) -> Any:
        """The tool's value; CallFailed where it raises, or is late."""
        until = asyncio.get_running_loop().time() + timeout
        if tool.is_async:
            return await _within(tool, _start(tool, tool.function(**arguments), report), timeout, until)
        thread, answer = _start_thread(tool, arguments, report)
        try:
            outcome: Callable[[], Any] = await _within(tool, answer, timeout, until)
        finally:
            if not answer.done() or answer.cancelled():
                self._abandoned.add(thread)
        value = outcome()
        if runs_on_loop(value):
            return await _within(tool, _start(tool, value, report), timeout, until)
        return value


async def _within(tool: Tool[..., Any], work: asyncio.Future[Any], timeout: float, until: float) -> Any:
    """What the work comes to; it is left to itself where it has not come to anything in time."""
    try:
        await asyncio.wait({work}, timeout=max(0.0, until - asyncio.get_running_loop().time()))
    finally:
        # A tool that swallows its cancellation is not waited for.
        work.cancel()
    if not work.done():
        work.add_done_callback(_consume)
        raise CallFailed(f"{tool.name} did not answer within {timeout:g} seconds.")
    if work.cancelled():
        late = asyncio.get_running_loop().time() >= until
        reason = f"did not answer within {timeout:g} seconds." if late else "was cancelled from within."
        raise CallFailed(f"{tool.name} {reason}")
    return work.result()


def _start(tool: Tool[..., Any], value: Any, report: Report) -> asyncio.Future[Any]:
    return asyncio.create_task(_awaited(tool, value, report), name=f"tool {tool.name}")


async def _awaited(tool: Tool[..., Any], value: Any, report: Report) -> Any:
    try:
        return await driven(value, report)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # SystemExit from a tool must not end the actor
        raise raised(tool.name, error) from None


def _start_thread(
    tool: Tool[..., Any], arguments: dict[str, Any], report: Report
) -> tuple[threading.Thread, asyncio.Future[Callable[[], Any]]]:
    """The thread, and its outcome as a function that returns or raises it."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Callable[[], Any]] = loop.create_future()
    context, process = contextvars.copy_context(), os.getpid()

    def tell(data: Any) -> None:
        loop.call_soon_threadsafe(report, data)

    def call() -> Any:
        value = tool.function(**arguments)
        return exhausted(value, tell, answer.done) if inspect.isgenerator(value) else value

    def work() -> None:
        outcome = _outcome(tool, lambda: context.run(call))
        if os.getpid() != process:
            os._exit(0)  # the tool has forked, and this is the copy, which must not go on as the session
        try:
            loop.call_soon_threadsafe(_settle, answer, outcome)
        except RuntimeError:
            return  # the loop has ended; nobody waits for this any more

    thread = threading.Thread(target=work, name=f"tool {tool.name}", daemon=True)
    thread.start()
    return thread, answer


def _outcome(tool: Tool[..., Any], work: Callable[[], T]) -> Callable[[], T]:
    try:
        value = work()
    except BaseException as error:
        failure = raised(tool.name, error)

        def fail() -> T:
            raise failure

        return fail
    return lambda: value


def _settle(answer: asyncio.Future[Callable[[], Any]], outcome: Callable[[], Any]) -> None:
    if not answer.done():
        answer.set_result(outcome)


def _consume(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()
