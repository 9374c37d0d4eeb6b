"""Deliberate bugs, for tests of the simulation only: each breaks one promise and must be noticed."""

from __future__ import annotations

from typing import Any

from llmgine.actors.sessions.hosting.host import SessionHost
from llmgine.actors.sessions.hosting.queue import TurnQueue
from llmgine.actors.sessions.journal.recovery import Continuation
from llmgine.actors.sessions.journal.state import SessionState
from llmgine.actors.sessions.journal.writing import StoreJournal
from llmgine.actors.sessions.running import resuming, steps
from llmgine.actors.sessions.tools.policy import Allow
from llmgine.actors.store.fencing import Fence
from llmgine.actors.store.memory import MemorySessions
from tests.simulation.deliberate import Bugs

BUGS = Bugs()


# The store


@BUGS.of(Fence, "_owned")
def no_fencing(right: Any, fence: Fence, operation: Any) -> Any:
    return fence.session(operation.session)


@BUGS.of(MemorySessions, "snapshot")
def lost_snapshot(right: Any, sessions: MemorySessions, session: str) -> Any:
    return None


# The journal


@BUGS.of(StoreJournal, "flush")
async def answer_before_journal(right: Any, journal: StoreJournal) -> None:
    return


@BUGS.of(StoreJournal, "_write")
def entries_out_of_order(right: Any, journal: StoreJournal) -> None:
    journal._records.reverse()
    right(journal)


@BUGS.of(StoreJournal, "_failed")
def fenced_and_deaf(right: Any, journal: StoreJournal, error: Any) -> None:
    """Goes on as if what was refused had been written."""
    journal._done(())


@BUGS.of(SessionState, "to_snapshot")
def snapshot_without_queue(right: Any, state: SessionState, blob_bytes: int) -> Any:
    queue, state.queue = state.queue, {}
    try:
        return right(state, blob_bytes)
    finally:
        state.queue = queue


# Turns


@BUGS.of(resuming, "continuation")
def run_again_although_not_idempotent(right: Any, progress: Any) -> Any:
    return Continuation(right(progress).results)


@BUGS.of(steps, "decide")
def run_without_leave(right: Any, *asked: Any) -> Any:
    return Allow()


@BUGS.of(TurnQueue, "resume")
def waiting_turns_dropped(right: Any, queue: TurnQueue, state: SessionState) -> None:
    begun = None if state.progress is None else state.progress.turn_id
    state.queue = {turn_id: one for turn_id, one in state.queue.items() if turn_id == begun}
    right(queue, state)


@BUGS.of(SessionHost, "_ended")
async def resent_turn_doubled(right: Any, host: SessionHost, turn_id: str) -> None:
    return None


@BUGS.of(TurnQueue, "resume")
def begun_turn_begun_anew(right: Any, queue: TurnQueue, state: SessionState) -> None:
    """What it had done already is done once more."""
    state.progress = None
    right(queue, state)
