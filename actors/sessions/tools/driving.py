"""What the value of a tool's function comes to: generators run to their end, awaitables awaited."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from typing import Any

from pydantic_core import from_json, to_json

from llmgine.actors.sessions.tools.context import Result

Report = Callable[[Any], None]


def unheard(data: Any) -> None:
    """Nobody follows the call."""


class Progress:
    """Reports of one call as plain JSON values; what is beyond `limit` bytes altogether is left out."""

    def __init__(self, tell: Report, limit: int, mask: Callable[[str], str]) -> None:
        self._tell = tell
        self._left = limit
        self._mask = mask
        self._closed = False

    def __call__(self, data: Any) -> None:
        text = to_json(data).decode()
        self._left -= len(text)
        if self._left >= 0 and not self._closed:
            self._tell(from_json(self._mask(text)))

    def close(self) -> None:
        """The call is over: what a tool left behind still says is not heard."""
        self._closed = True


def exhausted(generator: Generator[Any, Any, Any], report: Report, stopped: Callable[[], bool]) -> Any:
    """The generator's result: what it returns, else the `Result` it yields, else its last yield.

    Everything else that it yields is reported. Once `stopped`, it is closed at its next yield.
    """
    last: Any = None
    with closing(generator):
        while not stopped():
            try:
                value = next(generator)
            except StopIteration as end:
                return last if end.value is None else end.value
            if isinstance(value, Result):
                return value.value
            report(value)
            last = value
    return None


async def driven(value: Any, report: Report) -> Any:
    """As `exhausted`, for what runs on a loop: an awaitable, or an async generator."""
    if not inspect.isasyncgen(value):
        return await value
    return await _exhausted(value, report)


async def _exhausted(generator: AsyncGenerator[Any, Any], report: Report) -> Any:
    last: Any = None
    async with aclosing(generator):
        async for value in generator:
            if isinstance(value, Result):
                return value.value
            report(value)
            last = value
    return last


def runs_on_loop(value: Any) -> bool:
    """Whether a function's value is yet to be driven on a loop."""
    return inspect.isawaitable(value) or inspect.isasyncgen(value)
