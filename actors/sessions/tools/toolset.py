"""A session's tools at work: every call comes to a result that the model can read.

Async tools run on the loop, sync ones in a thread of their own. A thread cannot be stopped: at its
timeout it is left behind and counted until it ends by itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from pydantic_core import PydanticSerializationError, to_json

from llmgine.actors.sessions.errors import sendable
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.tools.tool import Tool, as_tools
from llmgine.providers.contracts import MediaPart, TextPart, ToolCallPart, ToolResultPart, ToolSpec

T = TypeVar("T")

# How much of an error's text, or of arguments that are no JSON, is shown to the model.
_TEXT_LIMIT = 2000


class ToolFailed(Exception):
    """A call came to nothing; the text is for the model."""


class Toolset:
    """The tools of one session; `run` never raises but when it is cancelled."""

    def __init__(self, tools: Iterable[Tool[..., Any] | Callable[..., Any]], options: SessionOptions) -> None:
        self.tools = {tool.name: tool for tool in as_tools(tools)}
        self._options = options
        self._abandoned: set[threading.Thread] = set()
        self._slots = {
            tool.name: asyncio.Semaphore(tool.concurrency)
            for tool in self.tools.values()
            if tool.concurrency is not None
        }

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as models see them, in the order given."""
        return tuple(tool.spec for tool in self.tools.values())

    @property
    def abandoned(self) -> int:
        """Threads that were left behind and still run."""
        self._abandoned = {thread for thread in self._abandoned if thread.is_alive()}
        return len(self._abandoned)

    @property
    def healthy(self) -> bool:
        """Whether the process may go on: so few threads were left behind."""
        return self.abandoned < self._options.abandoned_threads

    def is_idempotent(self, name: str) -> bool:
        """Whether a call may run twice; an unknown tool has no effect, so it may."""
        tool = self.tools.get(name)
        return tool is None or tool.idempotent

    async def run(self, call: ToolCallPart) -> ToolResultPart:
        """The call's result; whatever goes wrong is a result with `is_error` that says what."""
        content: tuple[TextPart | MediaPart, ...]
        try:
            value = await self._value(call)
            content, failed = as_content(call.name, value, self._options.tool_result_bytes), False
        except ToolFailed as error:
            content, failed = (TextPart(text=str(error)),), True
        except Exception as error:  # no room for a thread, or a value whose own code fails when it is written
            content, failed = (TextPart(text=_raised(call.name, error)),), True
        return ToolResultPart(call_id=call.id, name=call.name, content=content, is_error=failed)

    async def _value(self, call: ToolCallPart) -> Any:
        tool = self.tools.get(call.name)
        if tool is None:
            known = ", ".join(self.tools) or "none"
            raise ToolFailed(f"There is no tool named {_cut(repr(call.name))}. Tools: {known}.")
        if call.arguments is None:
            given = _cut(call.raw_arguments)
            raise ToolFailed(f"The arguments of {call.name} must be one JSON object, not: {given}")
        try:
            arguments = tool.validate(call.arguments)
        except ValueError as error:
            raise ToolFailed(f"The arguments of {call.name} are wrong: {_cut(str(error))}") from None
        except Exception as error:  # a validator of the user's own
            raise ToolFailed(f"The arguments of {call.name} are wrong: {_told(error)}") from None
        slots = self._slots.get(call.name)
        if slots is None:
            return await self._bounded(tool, arguments)
        async with slots:
            return await self._bounded(tool, arguments)

    async def _bounded(self, tool: Tool[..., Any], arguments: dict[str, Any]) -> Any:
        timeout = tool.timeout or self._options.tool_timeout
        until = asyncio.get_running_loop().time() + timeout
        if tool.is_async:
            return await _within(tool, _start(tool, tool.function(**arguments)), timeout, until)
        thread, answer = _start_thread(tool, arguments)
        try:
            outcome: Callable[[], Any] = await _within(tool, answer, timeout, until)
        finally:
            if not answer.done() or answer.cancelled():
                self._abandoned.add(thread)
        value = outcome()
        if inspect.isawaitable(value):
            return await _within(tool, _start(tool, value), timeout, until)
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
        raise ToolFailed(f"{tool.name} did not answer within {timeout:g} seconds.")
    if work.cancelled():
        late = asyncio.get_running_loop().time() >= until
        reason = f"did not answer within {timeout:g} seconds." if late else "was cancelled from within."
        raise ToolFailed(f"{tool.name} {reason}")
    return work.result()


def _start(tool: Tool[..., Any], awaitable: Awaitable[Any]) -> asyncio.Future[Any]:
    return asyncio.create_task(_awaited(tool, awaitable), name=f"tool {tool.name}")


def _start_thread(
    tool: Tool[..., Any], arguments: dict[str, Any]
) -> tuple[threading.Thread, asyncio.Future[Callable[[], Any]]]:
    """The thread, and its outcome as a function that returns or raises it."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Callable[[], Any]] = loop.create_future()
    context = contextvars.copy_context()

    def work() -> None:
        outcome = _outcome(tool, lambda: context.run(tool.function, **arguments))
        try:
            loop.call_soon_threadsafe(_settle, answer, outcome)
        except RuntimeError:
            return  # the loop has ended; nobody waits for this any more

    thread = threading.Thread(target=work, name=f"tool {tool.name}", daemon=True)
    thread.start()
    return thread, answer


async def _awaited(tool: Tool[..., Any], awaitable: Awaitable[Any]) -> Any:
    try:
        return await awaitable
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # SystemExit from a tool must not end the actor
        raise ToolFailed(_raised(tool.name, error)) from None


def _outcome(tool: Tool[..., Any], work: Callable[[], T]) -> Callable[[], T]:
    try:
        value = work()
    except BaseException as error:
        failure = ToolFailed(_raised(tool.name, error))

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


def _raised(name: str, error: BaseException) -> str:
    return f"{name} failed: {_told(error)}"


def _told(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # a class of the user's own that cannot even be shown
        text = "it has no text"
    return _cut(f"{type(error).__name__}: {text}")


def _cut(text: str) -> str:
    text = text if len(text) <= _TEXT_LIMIT else text[:_TEXT_LIMIT] + "…"
    return sendable(text)


def as_content(name: str, value: Any, limit: int) -> tuple[TextPart | MediaPart, ...]:
    """A tool's value for the model: text and media as they are, the rest as JSON; at most `limit` bytes."""
    if isinstance(value, TextPart | MediaPart):
        value = (value,)
    if (
        isinstance(value, list | tuple)
        and value
        and all(isinstance(item, TextPart | MediaPart) for item in value)
    ):
        return _bounded_parts(value, limit)
    if isinstance(value, str):
        return (TextPart(text=bounded_text(value, limit)),)
    try:
        text = to_json(value).decode()
    except (PydanticSerializationError, ValueError) as error:
        raise ToolFailed(
            f"{name} returned a {type(value).__name__} that is no JSON: {_cut(str(error))}"
        ) from None
    return (TextPart(text=bounded_text(text, limit)),)


def _bounded_parts(parts: Iterable[TextPart | MediaPart], limit: int) -> tuple[TextPart | MediaPart, ...]:
    kept: list[TextPart | MediaPart] = []
    for part in parts:
        size = len(part.text.encode()) if isinstance(part, TextPart) else len(part.data or b"")
        if size <= limit:
            kept.append(part)
        elif isinstance(part, TextPart):
            kept.append(part.model_copy(update={"text": bounded_text(part.text, limit)}))
        else:
            said = f"[{part.type} of {size} bytes was left out: results may have {limit}]"
            kept.append(TextPart(text=said))
        limit = max(0, limit - size)
    return tuple(kept)


def bounded_text(text: str, limit: int) -> str:
    """The text, or as much of it as fits into `limit` bytes and a note of what is missing."""
    data = text.encode(errors="replace")
    if len(data) <= limit:
        return data.decode()
    kept = data[:limit].decode(errors="ignore")
    return f"{kept}\n[cut: {len(data) - limit} of {len(data)} bytes left out]"
