"""Users' observers, each in a thread of its own behind a bounded queue."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from llmgine.actors.telemetry.errors import ObserverUnusable
from llmgine.telemetry import Observer, Span, Stats, TelemetryOptions, TraceSummary

logger = logging.getLogger(__name__)

_Told = tuple[Callable[..., Awaitable[None] | None], Any, int]


class Observation:
    """One observer: what it is told waits in its queue, and is never waited for."""

    def __init__(self, observer: Observer, capacity: int, name: str = "") -> None:
        self.name = name or type(observer).__name__
        self.told = 0  # spans, traces and statistics that it took
        self.failed = 0  # that it raised an exception over
        self.dropped = 0  # that found its queue full
        self.last_error = ""
        self._observer = observer
        self._capacity = capacity
        self._queue: deque[_Told] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def spans(self, spans: Sequence[Span]) -> None:
        self._put(self._observer.spans, tuple(spans), len(spans))

    def trace(self, trace: TraceSummary) -> None:
        self._put(self._observer.trace, trace, 1)

    def statistics(self, statistics: Stats) -> None:
        self._put(self._observer.statistics, statistics, 1)

    def close(self, timeout: float) -> bool:
        """Let it work off its queue; False, and the rest counted as dropped, if that takes too long."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is None:
            self._start()
        assert self._thread is not None
        self._thread.join(timeout)
        if not self._thread.is_alive():
            return True
        with self._changed:
            self.dropped += self._waiting
            self._queue.clear()
            self._waiting = 0
        return False

    def counters(self) -> dict[str, int | str]:
        return {
            "observer": self.name,
            "told": self.told,
            "failed": self.failed,
            "dropped": self.dropped,
            "waiting": self._waiting,
            "last_error": self.last_error,
        }

    def _put(self, method: Callable[..., Awaitable[None] | None], what: Any, count: int) -> None:
        with self._changed:
            if self._closing or self._waiting + count > self._capacity:
                self.dropped += count
                return
            self._queue.append((method, what, count))
            self._waiting += count
            self._changed.notify_all()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"observer {self.name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            while (told := self._next()) is not None:
                method, what, count = told
                if self._guarded(runner, method, what):
                    self.told += count
                else:
                    self.failed += count
            self._guarded(runner, self._observer.close)

    def _next(self) -> _Told | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if not self._queue:
                return None
            told = self._queue.popleft()
            self._waiting -= told[2]
            return told

    def _guarded(
        self, runner: asyncio.Runner, method: Callable[..., Awaitable[None] | None], *given: Any
    ) -> bool:
        async def call() -> None:
            result = method(*given)
            if inspect.isawaitable(result):
                await result

        try:
            runner.run(call())
            return True
        except Exception as error:  # a user's code may fail in any way
            if not self.last_error:
                logger.warning("observer %s fails: %s", self.name, error, exc_info=True)
            self.last_error = f"{type(error).__name__}: {error}"[:500]
            return False


class Observations:
    """All observers; without any of them telling costs nothing."""

    def __init__(self, observers: Sequence[Observation] = ()) -> None:
        self._observers = tuple(observers)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def __iter__(self) -> Iterator[Observation]:
        return iter(self._observers)

    def counters(self) -> list[dict[str, int | str]]:
        return [one.counters() for one in self._observers]


def open_observers(options: TelemetryOptions) -> list[Observation]:
    """The observers that the options name.

    One that cannot be loaded is told in the log and its counters; the others and telemetry go on.
    """
    opened = []
    for path in options.observers:
        try:
            opened.append(Observation(load_observer(path), options.observer_queue, path))
        except ObserverUnusable as error:
            logger.error("%s", error)
            unusable = Observation(_Nobody(), 0, path)
            unusable.last_error = str(error)
            opened.append(unusable)
    return opened


def load_observer(path: str) -> Observer:
    """The observer at `module:name`, or what the class or function there gives."""
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
        observer: Any = found() if inspect.isclass(found) or inspect.isfunction(found) else found
    except Exception as error:  # a user's module may fail in any way
        raise ObserverUnusable(f"telemetry.observers: {path!r} cannot be loaded: {error}") from None
    missing = [one for one in ("spans", "trace", "statistics", "close") if not hasattr(observer, one)]
    if missing:
        raise ObserverUnusable(
            f"telemetry.observers: {path!r} has no {', '.join(missing)}; derive it from llmgine's Observer"
        )
    made: Observer = observer
    return made


class _Nobody(Observer):
    """Hears nothing: its queue has no room."""
