"""How a handler is called: on the loop or in a thread, alone or inside its middleware."""

from __future__ import annotations

import contextvars
import functools
import inspect
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any, NamedTuple

from llmgine.actors.bus.errors import InvalidMessage
from llmgine.actors.bus.handling.handlers import Handler, takes_delivery
from llmgine.actors.bus.handling.jobs import Job, current_job
from llmgine.actors.bus.handling.threads import THREADS, ThreadCall
from llmgine.actors.bus.middleware import Middleware, chain


class Failed(NamedTuple):
    """An attempt did not succeed; `reason` is what the router goes by."""

    reason: str
    kind: str
    text: str
    retryable: bool = False


class Pending(NamedTuple):
    """The handler did not end with its first step."""

    rest: Awaitable[Any]


class Call:
    """One handler inside its middleware; `function` takes `(message, delivery)` or the message alone."""

    __slots__ = ("function", "with_delivery")

    def __init__(self, handler: Handler, middleware: Sequence[Middleware], threads: int) -> None:
        self.with_delivery = takes_delivery(handler)
        self.function = handler if runs_on_loop(handler) else _in_thread(handler, threads)
        if middleware:
            innermost = self.function
            self.function = chain(
                middleware, innermost if self.with_delivery else _without_delivery(innermost)
            )
            self.with_delivery = True


def runs_on_loop(handler: Handler) -> bool:
    """Whether it is a coroutine function, in whatever wrapping; everything else may block."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if isinstance(handler, types.MethodType | types.FunctionType):
        return inspect.iscoroutinefunction(handler)
    return inspect.iscoroutinefunction(type(handler).__call__)


def _without_delivery(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def call(message: Any, delivery: Any) -> Any:
        return await handler(message)

    return call


def _in_thread(handler: Handler, threads: int) -> Callable[..., Awaitable[Any]]:
    async def call(*arguments: Any) -> Any:
        thread = ThreadCall(handler, arguments)
        job = current_job.get()
        if job is not None:
            job.thread = thread
        THREADS.submit(thread, threads)
        value = await thread.result()
        return await value if inspect.isawaitable(value) else value

    return call


def failure(error: BaseException, *, threaded: bool = False) -> Failed:
    """What the router is told of an exception out of user code, whatever class it derives from.

    Raises it where it is not the handler's own: an interrupt on the loop, or the end of the coroutine.
    """
    if isinstance(error, GeneratorExit) or (isinstance(error, KeyboardInterrupt) and not threaded):
        raise error
    try:
        text = str(error)
    except Exception as broken:  # the user's own error class
        text = f"its text cannot be had: {type(broken).__name__}"
    if isinstance(error, InvalidMessage):
        return Failed("invalid", "invalid", text)
    return Failed("handler", type(error).__name__, text)


def cancel(job: Job) -> bool:
    """End a job that is running; False where a thread is in it, which nothing can end."""
    job = job.leader or job
    thread = job.thread
    if thread is not None:
        if thread.returning:
            # It has just made it.
            return True
        if not thread.cancel():
            return False
    if job.task is not None:
        job.task.cancel()
    return True


def give_up(job: Job) -> None:
    """It cannot be ended: whatever runs it is left to itself."""
    thread = (job.leader or job).thread
    if thread is not None:
        THREADS.give_up(thread)


@types.coroutine
def resumed(coroutine: types.CoroutineType[Any, Any, Any], blocked: Any) -> Generator[Any, Any, Any]:
    """Awaits a coroutine that has made its first step and waits for `blocked`."""
    try:
        while True:
            try:
                sent = yield blocked
            except BaseException as error:
                blocked = coroutine.throw(error)
            else:
                blocked = coroutine.send(sent)
    except StopIteration as returned:
        return returned.value


@types.coroutine
def within(context: contextvars.Context, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Awaits a coroutine in a context of its own, for which others have a task of its own."""
    step: Callable[[Any], Any] = coroutine.send
    sent: Any = None
    try:
        while True:
            blocked = context.run(step, sent)
            try:
                sent = yield blocked
                step = coroutine.send
            except BaseException as error:
                step, sent = coroutine.throw, error
    except StopIteration as returned:
        return returned.value
