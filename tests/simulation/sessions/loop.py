"""An event loop whose time is made up and whose order is drawn: the same seed gives the same run.

It holds many processes. What a process does next is decided as asyncio would, first come first served;
which process is next, the seed decides. A dead process does nothing any more, not even its last words, as
after SIGKILL; one that stands still goes on where it was, as after SIGSTOP.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import heapq
import itertools
import logging
import random
import sys
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_HERE: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)

# Seconds that a callback takes.
_TICK = 1e-6
# Cancelled timers that are put up with.
_LITTER = 200


class Stuck(Exception):
    """Everything waits, and for nothing that will come."""


class Process:
    """What is started with it or by what it started dies with it, and stands still with it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.still_until = 0.0
        # Taken for dead by who restarts the dead.
        self.disowned = False
        self.context = contextvars.copy_context()
        self.context.run(_HERE.set, self)

    def __repr__(self) -> str:
        return f"<Process {self.name}{'' if self.alive else ' dead'}>"


def here() -> Process | None:
    """The process whose code runs now; None is the world itself."""
    return _HERE.get()


class _Numbered:
    """Hashed by a number of its own, so that sets have an order that depends on no address."""

    _numbers = itertools.count()

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other

    number: int


class _Task(_Numbered, asyncio.Task[Any]):
    def __new__(cls, *arguments: Any, **options: Any) -> _Task:
        task = super().__new__(cls)
        task.number = next(cls._numbers)
        return task


class _Future(_Numbered, asyncio.Future[Any]):
    def __new__(cls, *arguments: Any, **options: Any) -> _Future:
        future = super().__new__(cls)
        future.number = next(cls._numbers)
        return future


class _Strand:
    """What one process has to do, in its order."""

    __slots__ = ("handles", "process", "waiting")

    def __init__(self, process: Process | None) -> None:
        self.process = process
        self.handles: deque[asyncio.Handle] = deque()
        self.waiting = False  # among those that may be next


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs in its creator's thread and starts none; what would go to a thread is called in between."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.now = 0.0
        self.steps = 0
        self.failures: list[str] = []
        self._ready: deque[asyncio.Handle] = deque()
        self._scheduled: list[asyncio.TimerHandle] = []
        self._litter = 0
        self._strands: dict[Process | None, _Strand] = {}
        self._next: list[_Strand] = []
        self._graves: list[asyncio.Handle] = []
        self._busy_until: dict[Executor, float] = {}
        self.set_task_factory(_make_task)
        self.set_exception_handler(self._note_failure)

    def time(self) -> float:
        return self.now

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(loop=self)

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.random.random()

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    def start(self, process: Process, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Runs the work in that process."""
        return self.create_task(work, name=name, context=process.context.copy())

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Ts]], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """The function is called later in this process; an executor's calls follow each other."""
        begin = self.now if executor is None else max(self._busy_until.get(executor, 0.0), self.now)
        end = begin + self.between(0.0001, 0.003)
        if executor is not None:
            self._busy_until[executor] = end
        outcome = self.create_future()
        self.call_at(end, _execute, outcome, func, args)
        return outcome

    def bury(self) -> None:
        """Ends what is left of every process; what its code says at that is not heard."""
        self.set_exception_handler(lambda loop, context: None)
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        logging.disable()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._end_all()
                gc.collect()
        finally:
            logging.disable(logging.NOTSET)
            sys.unraisablehook = hook
            self.close()

    def _end_all(self) -> None:
        for task in sorted(asyncio.all_tasks(self), key=hash):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(BaseException):
                task.get_coro().close()
        self._strands.clear()
        self._next.clear()
        self._graves.clear()
        self._scheduled.clear()
        self._ready.clear()

    # What asyncio's own loop calls

    def _run_once(self) -> None:
        self._sort()
        while (strand := self._choose()) is None:
            self._advance()
        handle = strand.handles.popleft()
        if not handle.cancelled():
            self.steps += 1
            self.now += _TICK
            handle._run()

    def _write_to_self(self) -> None:
        """There is no other thread to be woken by."""

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._litter += 1
        if self._litter > _LITTER and 2 * self._litter > len(self._scheduled):
            self._scheduled = [one for one in self._scheduled if not one.cancelled()]
            heapq.heapify(self._scheduled)
            self._litter = 0

    # Inside

    def _sort(self) -> None:
        ready = self._ready
        while ready:
            handle = ready.popleft()
            process = handle._context.get(_HERE)  # type: ignore[attr-defined]
            strand = self._strands.get(process)
            if strand is None:
                strand = self._strands[process] = _Strand(process)
            strand.handles.append(handle)
            if not strand.waiting:
                strand.waiting = True
                self._next.append(strand)

    def _choose(self) -> _Strand | None:
        """A process that has something to do; one that is dead, or stands still, is passed over."""
        candidates = self._next
        stands_still: list[_Strand] = []
        chosen = None
        while candidates:
            place = self.random.randrange(len(candidates)) if len(candidates) > 1 else 0
            strand = candidates[place]
            process = strand.process
            if strand.handles and (process is None or (process.alive and process.still_until <= self.now)):
                chosen = strand
                break
            candidates[place] = candidates[-1]
            candidates.pop()
            if strand.handles and process is not None and process.alive:
                stands_still.append(strand)
                continue
            strand.waiting = False
            self._graves += strand.handles  # their coroutines would run their last lines if let go of
            strand.handles.clear()
        candidates += stands_still
        return chosen

    def _advance(self) -> None:
        """Nothing can be done now: time passes until something can."""
        scheduled = self._scheduled
        moments = [
            strand.process.still_until
            for strand in self._next
            if strand.process is not None and strand.process.still_until > self.now
        ]
        while scheduled and scheduled[0].cancelled():
            heapq.heappop(scheduled)
            self._litter -= 1
        if scheduled:
            moments.append(scheduled[0].when())
        if not moments:
            raise Stuck("nothing is left to happen")
        self.now = max(self.now, min(moments))
        while scheduled and scheduled[0].when() <= self.now:
            timer = heapq.heappop(scheduled)
            if timer.cancelled():
                self._litter -= 1
            else:
                self._ready.append(timer)
        self._sort()

    def _note_failure(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error, task = context.get("exception"), context.get("future")
        name = task.get_name() if isinstance(task, asyncio.Task) else ""
        self.failures.append(f"{context['message']} {name}: {type(error).__name__}: {error}")


def _make_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    return _Task(work, loop=loop, **options)


def _execute(outcome: asyncio.Future[Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if outcome.cancelled():
        function(*arguments)  # a thread's work goes on when nobody waits for it
        return
    try:
        outcome.set_result(function(*arguments))
    except Exception as error:
        outcome.set_exception(error)
