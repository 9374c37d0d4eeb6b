"""What can be wrapped around handlers, in the process where they run.

    class Tenant(Middleware):
        async def handle(self, message, delivery, call_next):
            with tenant(message.metadata["tenant"]):
                return await call_next(message, delivery)

A middleware sees commands and events; of a batch handler it sees the list of events and the list of
their deliveries. It may pass on another message of the same class, call the handler more than once, or
not at all: without an error the message then counts as handled. All of it happens within the deadline
of one attempt.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from llmgine.actors.bus.errors import InvalidMessage, InvalidOption
from llmgine.actors.bus.messages import CommandResult, Message
from llmgine.actors.bus.pacing import TokenBucket, full_jitter
from llmgine.providers.mistakes import mistakes

CallNext = Callable[[Any, Any], Awaitable[Any]]
Check = Callable[[Any], Any]


class Middleware:
    """Wraps every call of a handler; this one does nothing."""

    async def handle(self, message: Any, delivery: Any, call_next: CallNext) -> Any:
        return await call_next(message, delivery)


def chain(middlewares: Iterable[Middleware], handler: CallNext) -> CallNext:
    """The handler with all of them around it, the first one outermost."""
    for middleware in reversed([*middlewares]):
        handler = partial(_step, middleware, handler)
    return handler


def _step(middleware: Middleware, inner: CallNext, message: Any, delivery: Any) -> Awaitable[Any]:
    return middleware.handle(message, delivery, inner)


def _name(message: Any) -> str:
    if isinstance(message, list):
        return f"{_name(message[0])}[]" if message else "[]"
    return str(type(message).__wire_name__)


def _has_failed(result: Any) -> bool:
    return isinstance(result, CommandResult) and not result.success


class LoggingMiddleware(Middleware):
    """Logs the start and the end of every attempt, failures as warnings; never what a message contains."""

    def __init__(
        self,
        level: int = logging.INFO,
        logger: logging.Logger | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._level = level
        self._logger = logger or logging.getLogger("llmgine.bus")
        self._clock = clock

    async def handle(self, message: Any, delivery: Any, call_next: CallNext) -> Any:
        first = delivery[0] if isinstance(delivery, list) else delivery
        what = f"{_name(message)} {first.id} in {first.handler}, attempt {first.attempt}"
        self._logger.log(self._level, "handling %s", what)
        began = self._clock()
        try:
            result = await call_next(message, delivery)
        except BaseException as error:
            taken = self._clock() - began
            self._logger.warning("failed %s, after %.6f s: %s", what, taken, type(error).__name__)
            raise
        taken = self._clock() - began
        if _has_failed(result):
            kind = result.error.kind if result.error else "failed"
            self._logger.warning("failed %s, after %.6f s: %s", what, taken, kind)
        else:
            self._logger.log(self._level, "handled %s, in %.6f s", what, taken)
        return result


@dataclass(slots=True)
class Timing:
    """Durations of the attempts for one type, in seconds, failed ones included."""

    count: int = 0
    failures: int = 0
    total: float = 0.0
    min: float = 0.0
    max: float = 0.0

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def add(self, seconds: float, failed: bool) -> None:
        self.min = min(self.min, seconds) if self.count else seconds
        self.max = max(self.max, seconds)
        self.count += 1
        self.failures += failed
        self.total += seconds


class TimingMiddleware(Middleware):
    """Measures every attempt; `report()` says how long each type took, by wire name."""

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._timings: dict[str, Timing] = {}

    async def handle(self, message: Any, delivery: Any, call_next: CallNext) -> Any:
        failed = True
        began = self._clock()
        try:
            result = await call_next(message, delivery)
            failed = _has_failed(result)
            return result
        finally:
            taken = self._clock() - began
            self._timings.setdefault(_name(message), Timing()).add(taken, failed)

    def report(self) -> dict[str, Timing]:
        """A copy, with the types in the order of their first attempt."""
        return {
            name: Timing(one.count, one.failures, one.total, one.min, one.max)
            for name, one in self._timings.items()
        }


class RetryMiddleware(Middleware):
    """Calls a handler again within one attempt of the bus: for handlers that are safe to run again.

    It stops at the first success. When all of `attempts` are used up, the last error is raised, or the
    last failed result returned. Waits have full jitter, as in `RetryPolicy`. A cancellation and an
    `InvalidMessage` are never retried.
    """

    def __init__(
        self,
        attempts: int = 3,
        base: float = 0.1,
        cap: float = 10.0,
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        if attempts < 1 or base <= 0 or cap <= 0:
            raise InvalidOption("RetryMiddleware needs at least one attempt, and a base and a cap above 0")
        self._attempts, self._base, self._cap = attempts, base, cap
        self._sleep = sleep
        self._random = random

    async def handle(self, message: Any, delivery: Any, call_next: CallNext) -> Any:
        for attempt in range(1, self._attempts):
            try:
                result = await call_next(message, delivery)
                if not _has_failed(result):
                    return result
            except InvalidMessage:
                raise
            except Exception:  # the handler's own error, whatever it is
                pass
            await self._sleep(full_jitter(self._base, self._cap, attempt, self._random))
        return await call_next(message, delivery)


class ValidationMiddleware(Middleware):
    """Refuses a message before its handler sees it, with `InvalidMessage`: it is not tried again.

    `validators` maps classes to checks, plain or async, which also see messages of subclasses. A check
    refuses by raising or by returning False. With `revalidate` the fields are first validated anew by
    the message's own class. An invalid message says nothing about the handler's health.
    """

    def __init__(
        self,
        validators: Mapping[type[Message], Check | Iterable[Check]] | None = None,
        *,
        revalidate: bool = False,
    ) -> None:
        given = {} if validators is None else validators
        if not isinstance(given, Mapping):
            raise InvalidOption(f"ValidationMiddleware takes classes with their checks, not {given!r}")
        self._validators = {
            message_class: [checks] if callable(checks) else [*checks]
            for message_class, checks in given.items()
        }
        self._revalidate = revalidate

    async def handle(self, message: Any, delivery: Any, call_next: CallNext) -> Any:
        for one in message if isinstance(message, list) else [message]:
            await self._validate(one)
        return await call_next(message, delivery)

    async def _validate(self, message: Message) -> None:
        if self._revalidate:
            self._validate_anew(message)
        for message_class, checks in self._validators.items():
            if isinstance(message, message_class):
                for check in checks:
                    await self._apply(check, message)

    async def _apply(self, check: Check, message: Message) -> None:
        try:
            verdict = check(message)
            if inspect.isawaitable(verdict):
                verdict = await verdict
        except Exception as error:  # the user's own check, which refuses by any error
            raise InvalidMessage(f"{_name(message)} is invalid: {error or type(error).__name__}") from error
        if verdict is False:
            name = getattr(check, "__qualname__", type(check).__qualname__)
            raise InvalidMessage(f"{_name(message)} is invalid: refused by {name}")

    def _validate_anew(self, message: Message) -> None:
        fields = message.model_dump(mode="python", by_alias=False, round_trip=True, warnings=False)
        try:
            type(message).model_validate(fields, by_alias=False, by_name=True)
        except ValidationError as error:
            raise InvalidMessage(f"{_name(message)} is invalid: {mistakes(error, most=1)}") from error


class RateLimitMiddleware(Middleware):
    """Spaces calls: at most `rate` a second in the long run and `burst` at once; the others wait.

    All handlers that share one middleware share its rate. Waiting uses up the attempt's deadline.
    """

    def __init__(
        self,
        rate: float,
        burst: int = 1,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        if rate <= 0 or burst < 1:
            raise InvalidOption("RateLimitMiddleware needs a rate above 0 and a burst of at least 1")
        self._bucket = TokenBucket(rate, burst)
        self._clock = clock
        self._sleep = sleep
        # Those that wait stand in line; whoever is cancelled in it has taken nothing.
        self._line = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def handle(self, message: Any, delivery: Any, call_next: CallNext) -> Any:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._line = loop, asyncio.Lock()
        async with self._line:
            while not self._bucket.take(self._clock()):
                await self._sleep(self._bucket.wait(self._clock()))
        return await call_next(message, delivery)
