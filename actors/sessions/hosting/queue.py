"""The turns of a session that are not over: one runs, the others wait in the order of their coming.

Each is in the journal from its acceptance to its end, so that the same queue stands again wherever the
session wakes. What ended is kept for late readers, bounded by number and bytes.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import get_args

from llmgine.actors.sessions.errors import (
    EngineFailed,
    SessionBusy,
    SessionClosed,
    SessionMoved,
    SessionOverloaded,
    TurnCancelled,
    TurnDeadline,
)
from llmgine.actors.sessions.hosting.live import LiveTurn
from llmgine.actors.sessions.journal.records import (
    CancelAsked,
    SteerAsked,
    TurnEnded,
    TurnQueued,
    WaitBegan,
    WaitEnded,
)
from llmgine.actors.sessions.journal.state import Progress, SessionState
from llmgine.actors.sessions.journal.writing import StoreJournal
from llmgine.actors.sessions.options import RecoveryPolicy, SessionOptions
from llmgine.actors.sessions.running.observer import TurnObserver
from llmgine.actors.sessions.running.runner import TurnRunner, outcome_of
from llmgine.actors.sessions.turns.events import TurnFailed
from llmgine.actors.sessions.turns.steering import Steering
from llmgine.actors.sessions.turns.turn import TurnRequest, WhenBusy
from llmgine.providers.contracts import Message
from llmgine.providers.errors import InvalidRequest, LlmgineError

log = logging.getLogger(__name__)


class TurnQueue:
    """Runs the turns of one session, one at a time; `wall` is the time in nanoseconds since 1970."""

    def __init__(
        self,
        session_id: str,
        epoch: int,
        runner: TurnRunner,
        journal: StoreJournal,
        options: SessionOptions,
        wall: Callable[[], int],
        observer: TurnObserver,
        when_busy: WhenBusy = "queue",
    ) -> None:
        self.closing: str | None = None
        self.counts = {"submitted": 0, "done": 0, "failed": 0, "cancelled": 0, "refused": 0}
        self.running: LiveTurn | None = None
        self.waiting: deque[LiveTurn] = deque()
        self._session_id = session_id
        self._epoch = epoch
        self._runner = runner
        self._journal = journal
        self._options = options
        self._wall = wall
        self._when_busy: WhenBusy = when_busy
        self._observer = observer
        self._turns: dict[str, LiveTurn] = {}
        self._finished: deque[LiveTurn] = deque()
        self._finished_bytes = 0
        self._worker: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def is_idle(self) -> bool:
        """Whether nothing happens until somebody asks for it, or answers what a turn waits for."""
        if self._telling:
            return False
        if self.running is None:
            return not self.waiting
        return self.running.state == "suspended"

    def get(self, turn_id: str) -> LiveTurn | None:
        """The turn of that id where it has not ended, or not long ago."""
        return self._turns.get(turn_id)

    def submit(self, request: TurnRequest) -> LiveTurn:
        """Takes a turn on, or finds it where its id is known; raises why it is refused."""
        known = self._turns.get(request.turn_id)
        if known is not None:
            return known
        request = replace(request, when_busy=request.when_busy or self._when_busy)
        try:
            self._admit(request)
        except LlmgineError:
            self.counts["refused"] += 1
            raise
        seconds = self._options.turn_deadline if request.deadline is None else request.deadline
        now = self._wall()
        queued = TurnQueued(request, now, now + round(seconds * 1e9))
        self._journal.append(queued)
        turn = self._enqueue(LiveTurn(request, self._until(queued), self._epoch))
        if request.when_busy == "interrupt" and self.running is not None:
            self.cancel(
                self.running, f"the turn was cancelled, because turn {request.turn_id} took its place"
            )
        self._start()
        return turn

    def resume(self, state: SessionState) -> None:
        """Takes up the turns that the session had not ended, each with the time that is left of it."""
        progress = state.progress
        begun = None if progress is None else progress.turn_id
        for queued in sorted(state.queue.values(), key=lambda one: one.request.turn_id == begun):
            request = queued.request
            how_far = progress if request.turn_id == begun else None
            if how_far is not None and how_far.waits_since is not None:
                self._journal.append(WaitEnded(request.turn_id, self._wall()))
            steering = Steering(state.steering.get(request.turn_id))
            until = self._until(queued, how_far)
            self._enqueue(LiveTurn(request, until, self._epoch, how_far, steering))
        self._start()

    def cancel(self, turn: LiveTurn, reason: str = "the turn was cancelled") -> bool:
        """Cancels a turn that has not ended; False where it has."""
        if turn in self.waiting:
            self.waiting.remove(turn)
            self._fail(turn, TurnCancelled(f"{reason} before it began"))
            return True
        has_ended = turn.request.turn_id not in self._journal.state.queue  # its readers may not know yet
        if has_ended or turn.task is None:
            return False
        if not turn.cancelling:  # a second one would cut short what the first one leaves in order
            turn.cancelling = True
            self._journal.append(CancelAsked(turn.request.turn_id))
            turn.task.cancel(reason)
        return True

    def steer(self, turn: LiveTurn, steer: str, message: Message) -> bool:
        """Says something to a turn that has not ended, once for each id; False where it never reads it."""
        if turn.steering.knows(steer):
            return True
        if turn.log.terminal is not None or turn.cancelling or not turn.steering.take(steer, message):
            return False
        self._journal.append(SteerAsked(turn.request.turn_id, steer, message))
        return True

    async def end(self, reason: str, grace: float) -> None:
        """Takes no more turns, lets those that it has end, and cancels what is left after `grace` seconds."""
        self.closing = self.closing or reason
        if self._worker is not None:
            await asyncio.wait({self._worker}, timeout=grace)
        for turn in list(self._turns.values()):
            if turn.log.terminal is None:
                self.cancel(turn, f"the session ended ({reason})")
        if self._worker is not None:
            await self._worker
        if self._telling:
            await asyncio.wait(self._telling)

    async def leave(self, reason: str) -> None:
        """Stops where it stands, without a word to the journal: the turns go on elsewhere, or sleep."""
        for turn in self._turns.values():
            if turn.log.terminal is None:
                turn.leave(reason)
        self.waiting.clear()
        if self.running is not None and self.running.task is not None:
            self.running.task.cancel()
        if self._worker is not None:
            await self._worker

    def _until(self, queued: TurnQueued, progress: Progress | None = None) -> float:
        """When its time is up, on the loop's clock; what it waited for approvals is none of its own."""
        waited = 0 if progress is None else progress.waited
        return asyncio.get_running_loop().time() + (queued.deadline + waited - self._wall()) / 1e9

    def _enqueue(self, turn: LiveTurn) -> LiveTurn:
        if turn.progress is None:
            turn.expiry = asyncio.get_running_loop().call_at(turn.deadline, self._expire, turn)
        self._turns[turn.request.turn_id] = turn
        if turn.request.when_busy == "interrupt" or turn.progress is not None:
            self.waiting.appendleft(turn)
        else:
            self.waiting.append(turn)
        self.counts["submitted"] += 1
        return turn

    def _start(self) -> None:
        if self._worker is None and self.waiting:
            self._worker = asyncio.create_task(self._work(), name=f"turns of {self._session_id}")

    def _admit(self, request: TurnRequest) -> None:
        if self._journal.closed:
            raise SessionMoved(f"session {self._session_id!r} is not in this process any more")
        if self.closing is not None:
            raise SessionClosed(f"session {self._session_id!r} has ended ({self.closing})")
        _check_messages(request)
        if request.deadline is not None and not 0 < request.deadline < math.inf:
            raise InvalidRequest(f"deadline= is a number of seconds above 0, not {request.deadline!r}")
        if request.recovery not in (None, *get_args(RecoveryPolicy)):
            known = ", ".join(get_args(RecoveryPolicy))
            raise InvalidRequest(f"recovery= is one of {known}, not {request.recovery!r}")
        if request.when_busy not in get_args(WhenBusy):
            known = ", ".join(get_args(WhenBusy))
            raise InvalidRequest(f"when_busy= is one of {known}, not {request.when_busy!r}")
        if request.when_busy == "refuse" and (self.running is not None or self.waiting):
            raise SessionBusy(
                f"a turn runs in session {self._session_id!r}; ask once it has ended, or with "
                "when_busy='queue' or 'interrupt'"
            )
        if self._journal.trouble is not None:
            raise self._journal.trouble
        if len(self.waiting) >= self._options.queue:
            raise SessionOverloaded(
                f"{len(self.waiting)} turns wait in session {self._session_id!r} (sessions.queue); "
                "await some of them before submitting more"
            )

    async def _work(self) -> None:
        while self.waiting:
            turn = self.running = self.waiting.popleft()
            await self._run(turn)
            self.running = None
        self._worker = None

    async def _run(self, turn: LiveTurn) -> None:
        if turn.expiry is not None:
            turn.expiry.cancel()
        turn.state = "running"
        turn.task = asyncio.create_task(
            self._runner.run(
                turn.request,
                turn.emit,
                deadline=turn.deadline,
                progress=turn.progress,
                steering=turn.steering,
                on_suspended=partial(self._suspended, turn),
            ),
            name=f"turn {turn.request.turn_id}",
        )
        await asyncio.wait({turn.task})
        if self._journal.closed:
            if not turn.task.cancelled() and turn.task.exception() is not None:
                log.warning("turn %s was left: %s", turn.request.turn_id, turn.task.exception())
            return
        if turn.log.terminal is None:
            error: LlmgineError = TurnCancelled("the turn was cancelled")
            if not turn.task.cancelled():
                broke = turn.task.exception()
                log.error("turn %s broke", turn.request.turn_id, exc_info=broke)
                error = EngineFailed(f"the turn broke: {broke!r}")
            await self._tell(turn, self._end(turn, error))
            return
        self._retire(turn)

    def _suspended(self, turn: LiveTurn, suspended: bool) -> None:
        """It only waits for approvals from now on, or goes on; in between its deadline stands still."""
        if turn.log.terminal is not None:
            return
        turn_id, now = turn.request.turn_id, self._wall()
        turn.state = "suspended" if suspended else "running"
        self._journal.append(WaitBegan(turn_id, now) if suspended else WaitEnded(turn_id, now))
        self._journal.turn_is(turn_id, turn.state)
        if suspended:
            self._observer.turn_suspended(self._session_id, turn_id)

    def _expire(self, turn: LiveTurn) -> None:
        if turn in self.waiting:
            self.waiting.remove(turn)
            self._fail(
                turn, TurnDeadline("the turn's deadline passed while it waited for the turns before it")
            )

    def _fail(self, turn: LiveTurn, error: LlmgineError) -> None:
        if turn.expiry is not None:
            turn.expiry.cancel()
        event = self._end(turn, error)
        telling = asyncio.create_task(self._tell(turn, event), name=f"end {turn.request.turn_id}")
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    def _end(self, turn: LiveTurn, error: LlmgineError) -> TurnFailed:
        """Ends a turn that did not end itself, in the journal; what its readers are to be told."""
        turn.steering.close()
        event = TurnFailed(error)
        self._journal.end(TurnEnded(turn.request.turn_id, outcome_of(error)), event)
        return event

    async def _tell(self, turn: LiveTurn, event: TurnFailed) -> None:
        """Tells the end of a turn once it is kept."""
        try:
            await self._journal.flush()
        except LlmgineError as error:
            log.warning("the end of turn %s is not kept: %s", turn.request.turn_id, error)
        if not self._journal.closed:
            turn.emit(event)
            self._retire(turn)

    def _retire(self, turn: LiveTurn) -> None:
        """Counts a turn that has ended and keeps its events, bounded by number and bytes."""
        self.counts[turn.state] += 1
        turn.progress = None
        self._finished.append(turn)
        self._finished_bytes += turn.log.size
        while len(self._finished) > 1 and (
            len(self._finished) > self._options.finished_turns
            or self._finished_bytes > self._options.finished_bytes
        ):
            oldest = self._finished.popleft()
            self._finished_bytes -= oldest.log.size
            del self._turns[oldest.request.turn_id]


def _check_messages(request: TurnRequest) -> None:
    """A prompt is the user's, or what came of calls that an earlier turn has left open."""
    if request.prompt.role not in ("user", "tool"):
        raise InvalidRequest(f"a prompt is a message of role user, not {request.prompt.role}")
    if any(message.role not in ("user", "system") for message in request.more):
        raise InvalidRequest("after a prompt only the user and the system speak")
