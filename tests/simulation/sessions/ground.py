"""Clocks and chance of a run: all that llmgine reads of either comes from the simulated loop."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import itertools
import logging
import random
import secrets
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import Any
from unittest import mock

from llmgine.actors.bus.handling import watch
from llmgine.actors.link.connection import LinkConnection
from llmgine.telemetry import context
from tests.simulation.sessions.loop import SimulatedLoop, here

_WALL = 1_800_000_000 * 10**9


class _Watch:
    """In place of the thread that watches a loop."""

    blocked: dict[str, int] = {}  # noqa: RUF012 -- nobody writes to it

    @classmethod
    def here(cls, limit: float) -> _Watch:
        return cls()

    def close(self) -> None:
        return


class Complaints(logging.Handler):
    """Errors that nobody had reckoned with: what llmgine logged with a traceback; `tell` gets warnings."""

    def __init__(self, loop: SimulatedLoop, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self._loop = loop
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(f"{here()} says: {record.getMessage()}")
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            self.said.append(f"{self._loop.now:.6f} {record.getMessage()} ({type(error).__name__}: {error})")


@contextmanager
def made_up(loop: SimulatedLoop, seed: int, tell: Callable[[str], None]) -> Iterator[Complaints]:
    """Within this block llmgine's clocks, chance and identities are the loop's and the seed's."""
    chance = random.Random(seed)
    readings = 0

    def nanoseconds() -> int:
        nonlocal readings
        readings += 1  # no two readings are equal, as on a machine
        return _WALL + round(loop.now * 1e9) + readings

    clocks: dict[Callable[..., Any], Callable[..., Any]] = {
        time.time_ns: nanoseconds,
        time.time: lambda: nanoseconds() / 1e9,
        time.monotonic: lambda: loop.now,
        time.perf_counter: lambda: loop.now,
    }
    complaints = Complaints(loop, tell)
    logger = logging.getLogger("llmgine")
    before, propagate = random.getstate(), logger.propagate
    with ExitStack() as stack:
        for real, made in clocks.items():
            stack.enter_context(mock.patch.object(time, real.__name__, made))
        for function in _functions():
            _replace_defaults(stack, function, clocks)
        stack.enter_context(mock.patch.object(uuid, "uuid4", functools.partial(_uuid, chance)))
        stack.enter_context(mock.patch.object(secrets, "randbits", chance.getrandbits))
        stack.enter_context(
            mock.patch.object(secrets, "token_hex", lambda size=16: chance.randbytes(size).hex())
        )
        stack.enter_context(mock.patch.object(random, "Random", lambda *seeds: _seeded(chance, seeds)))
        stack.enter_context(mock.patch.object(watch.LoopWatch, "here", _Watch.here))
        for kind in _IN_SETS:
            stack.enter_context(mock.patch.object(kind, "__hash__", _number_of))
        random.seed(chance.getrandbits(64))
        context._generator.seed(chance.getrandbits(64))
        logger.addHandler(complaints)
        logger.propagate = False
        gc.disable()  # when it runs depends on what ran before
        try:
            yield complaints
        finally:
            gc.enable()
            logger.removeHandler(complaints)
            logger.propagate = propagate
            random.setstate(before)


def _uuid(chance: random.Random) -> uuid.UUID:
    return uuid.UUID(int=chance.getrandbits(128), version=4)


_Random = random.Random
# What llmgine keeps in sets, whose order would else depend on addresses.
_IN_SETS: tuple[type[Any], ...] = (asyncio.Event, LinkConnection)
_numbers = itertools.count()


def _number_of(thing: Any) -> int:
    return int(thing.__dict__.setdefault("_number", next(_numbers)))


def _seeded(chance: random.Random, seeds: tuple[Any, ...]) -> random.Random:
    return _Random(*(seeds or (chance.getrandbits(64),)))


def _functions() -> Iterator[FunctionType]:
    """All functions of llmgine's modules and classes."""
    for name, module in sorted(sys.modules.items()):
        if not name.startswith("llmgine") or module is None:
            continue
        for thing in list(vars(module).values()):
            if inspect.isfunction(thing):
                yield thing
            elif inspect.isclass(thing) and thing.__module__ == name:
                yield from (one for one in vars(thing).values() if inspect.isfunction(one))


def _replace_defaults(stack: ExitStack, function: FunctionType, clocks: dict[Any, Any]) -> None:
    """A default that is a clock was bound when the function was made."""
    named = function.__kwdefaults__ or {}
    for name, default in named.items():
        if callable(default) and default in clocks:
            stack.enter_context(mock.patch.dict(named, {name: clocks[default]}))
