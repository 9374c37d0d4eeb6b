"""Whose turns wait for the code that runs now: asked for a turn there, such a session would never answer."""

from __future__ import annotations

import contextvars
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from llmgine.actors.bus.handling.jobs import Job, current_job


class _Wait:
    """While a turn waits; what it called may leave tasks behind, which nobody waits for.

    `job` is the delivery that it began under: what handles another one was not called by the turn itself.
    """

    __slots__ = ("job", "over", "sessions")

    def __init__(self, sessions: tuple[str, ...], job: Job | None) -> None:
        self.sessions = sessions
        self.job = job
        self.over = False


_waits: contextvars.ContextVar[_Wait | None] = contextvars.ContextVar("llmgine_turns_waiting", default=None)


@contextmanager
def waited_for_by(sessions: Iterable[str]) -> Iterator[None]:
    """Within it, turns of these sessions wait for what runs, threads and tasks that it starts included."""
    wait = _Wait(tuple(sessions), current_job.get())
    token = _waits.set(wait)
    try:
        yield
    finally:
        wait.over = True
        _waits.reset(token)


def waiting_sessions() -> tuple[str, ...]:
    """The sessions whose turns wait for the running code, here or at the other end of the bus."""
    wait, job = _waits.get(), current_job.get()
    if wait is not None and wait.job is job:
        return () if wait.over else wait.sessions
    return () if job is None or job.answered else tuple(job.head.turns)
