"""Runs one turn: executes the engine's steps with a model and tools, and leaves the context whole.

What the context keeps of a turn: its prompt and every finished step. A turn that was cancelled, or
ran out of time, also keeps the text that its reader had seen, as the model's message. A call without
result is answered with the reason, but for those that are left to whoever asked: the turn ends with
them, they stay open, and the next turn brings their results. A turn in which nothing was answered leaves
no trace, so that the next prompt follows an answer, as every provider takes it. Results that are brought
again, since their turn failed after some of its steps, go on from these.

A turn that began in a process that died goes on from its last finished step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import ValidationError

from llmgine.actors.sessions.errors import (
    ContextError,
    EngineFailed,
    SessionMoved,
    TimeLimit,
    TurnCancelled,
    TurnDeadline,
)
from llmgine.actors.sessions.journal.keeping import Journal
from llmgine.actors.sessions.journal.records import ContextChanged, TurnBegan, TurnEnded
from llmgine.actors.sessions.journal.recovery import Continuation
from llmgine.actors.sessions.journal.state import Progress
from llmgine.actors.sessions.running.approvals import Approvals
from llmgine.actors.sessions.running.clock import TurnClock
from llmgine.actors.sessions.running.engines import CallModel, Finish, RunTools, Step, TurnView
from llmgine.actors.sessions.running.observer import TurnObserver, TurnSummary
from llmgine.actors.sessions.running.resuming import resume
from llmgine.actors.sessions.running.spans import TurnSpans
from llmgine.actors.sessions.running.steps import Conversation, ModelCaller, Steps, Turn
from llmgine.actors.sessions.running.telling import Telling
from llmgine.actors.sessions.running.views import Views
from llmgine.actors.sessions.turns.events import Reply, TurnDone, TurnEvent, TurnFailed
from llmgine.actors.sessions.turns.limits import Limits
from llmgine.actors.sessions.turns.steering import Steering
from llmgine.actors.sessions.turns.turn import TurnRequest, TurnTally, served_by
from llmgine.providers.contracts import Message, ToolCallPart, ToolSpec, Usage
from llmgine.providers.errors import InvalidRequest, LlmgineError
from llmgine.telemetry import error_type, names

# An engine of the user's own that never finishes is stopped here.
_ENGINE_STEPS = 10_000


class TurnRunner:
    """Runs the turns of one conversation, one at a time."""

    def __init__(
        self,
        conversation: Conversation,
        models: ModelCaller,
        spans: Callable[[TurnRequest], TurnSpans],
        *,
        journal: Journal,
        observer: TurnObserver,
        approvals: Approvals,
    ) -> None:
        self._conversation = conversation
        self._do = Steps(conversation, models, journal, observer, approvals)
        self._approvals = approvals
        self._views = Views(conversation, models, journal)
        self._spans = spans
        self._journal = journal
        self._observer = observer

    async def run(
        self,
        request: TurnRequest,
        emit: Callable[[TurnEvent], None],
        *,
        deadline: float,
        progress: Progress | None = None,
        steering: Steering | None = None,
        on_suspended: Callable[[bool], None] = lambda suspended: None,
    ) -> None:
        """Runs the turn to its terminal event; `deadline` is the loop's time.

        `progress` is how far it had come in a process that died, `steering` what is said to it. Cancelling
        this task cancels the turn: it still emits its terminal event and then returns. Where the journal is
        closed it returns without. `on_suspended` hears when the turn does nothing any more but wait for
        approvals, and when it goes on.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        limits = (request.limits or Limits()).over(self._conversation.limits)
        seconds = limits.seconds
        until = deadline if seconds is None else min(deadline, began + seconds)
        spans = self._spans(request)

        def suspended(suspended: bool) -> None:
            spans.suspended(suspended)
            on_suspended(suspended)

        clock = TurnClock(until, loop.time, suspended)
        turn: Turn | None = None
        try:
            with spans.standing():
                turn = self._begin(request, emit, spans, clock, limits, progress)
                turn.steering = steering or turn.steering
                await self._end(turn, await self._outcome(turn, until, deadline, seconds), began)
        except BaseException as error:
            kind = SessionMoved.__name__ if self._journal.closed else error_type(error)
            spans.end(TurnTally() if turn is None else turn.tally, kind)
            raise

    async def _outcome(
        self, turn: Turn, until: float, deadline: float, seconds: float | None
    ) -> LlmgineError | None:
        """Runs the turn's steps to their end; what they failed with."""
        clock = turn.clock
        error: LlmgineError | None = None
        try:
            async with clock.within():
                await self._steps(turn)
        except asyncio.CancelledError as cancel:
            _own_cancel()
            error = TurnCancelled(str(cancel) or "the turn was cancelled")
        except LlmgineError as raised:
            error = raised
        except Exception as raised:
            if clock.expired and until < deadline:
                error = TimeLimit(
                    f"the turn has run for its {seconds:g} seconds; raise limits=Limits(seconds=...)"
                )
            elif clock.expired:
                error = TurnDeadline(
                    "the turn's deadline has passed; raise deadline= or sessions.turn_deadline"
                )
            else:
                error = EngineFailed(f"the turn was ended by {type(raised).__name__}: {raised}")
        return error

    def _begin(
        self,
        request: TurnRequest,
        emit: Callable[[TurnEvent], None],
        spans: TurnSpans,
        clock: TurnClock,
        limits: Limits,
        progress: Progress | None,
    ) -> Turn:
        shared = self._conversation
        view = TurnView(
            model=request.model or shared.model,
            messages=(),
            system=request.system if shared.system is None else shared.system,
            output=request.output,
            options={**_inherited(shared.options, request), **request.options},
            max_steps=limits.steps,
        )
        if progress is not None:
            turn = Turn(request, emit, spans, view, progress.began.mark, clock, limits)
            resume(turn, progress)
            turn.emit = self._heard(emit, spans, request.turn_id)
            spans.event(names.EVENT_TURN_RESUMED)
            return turn
        self._observer.turn_started(shared.session_id, request.turn_id)
        stray = request.answers - {call.id for call in shared.context.open_calls}
        before = _said_before(shared.context.view(), request) if stray else None
        if not stray:
            reason = "no result of it had come before the next turn"
            self._do.repair(request.turn_id, reason, leaving=request.answers)
        mark = len(shared.context) if before is None else before
        recovery = request.recovery or shared.recovery
        self._journal.append(TurnBegan(request.turn_id, mark, recovery, spans.trace_id))
        turn = Turn(request, self._heard(emit, spans, request.turn_id), spans, view, mark, clock, limits)
        if stray and before is None:
            turn.continuation = Continuation(error=_no_such_call(min(stray)))
        return turn

    def _heard(
        self, emit: Callable[[TurnEvent], None], spans: TurnSpans, turn_id: str
    ) -> Callable[[TurnEvent], None]:
        return Telling(emit, self._observer, self._conversation.session_id, turn_id, spans.event)

    async def _steps(self, turn: Turn) -> None:
        if turn.continuation.error is not None:
            raise turn.continuation.error
        if turn.clock.remaining <= 0:
            await asyncio.sleep(0)  # its time was up before it could go on; it ends with what it had said
        turn.view = replace(turn.view, tools=_offered(await self._conversation.toolset.ready(), turn.request))
        self._do.say(turn)
        for _ in range(_ENGINE_STEPS):
            if self._do.hand_over(turn):
                return
            if turn.begins_call:
                self._do.hear(turn)
            turn.view = replace(turn.view, messages=await self._views.of(turn))
            match self._next(turn.view):
                case CallModel(request):
                    self._within_limits(turn)
                    answer = await self._do.call(turn, request)
                    turn.view = replace(turn.view, answer=answer, results=None, steps=turn.tally.steps)
                case RunTools(calls):
                    results = await self._do.run_tools(turn, _own(calls, turn.request))
                    turn.view = replace(turn.view, results=results)
                case Finish(error):
                    if error is not None:
                        raise error
                    if turn.steering.end():
                        return
                    # Something was said after the last answer: the engine is asked as before any.
                    self._do.repair(turn.request.turn_id, "this call was not run")
                    turn.view = replace(turn.view, answer=None, results=None)
        raise EngineFailed(f"the engine has not finished within {_ENGINE_STEPS} steps")

    def _within_limits(self, turn: Turn) -> None:
        tally = turn.tally
        reached = turn.limits.reached(tally.steps, tally.usage, tally.cost)
        if reached is not None:
            raise reached

    def _next(self, view: TurnView) -> Step:
        try:
            return self._conversation.engine.next(view)
        except ValidationError as error:
            # Without what was given: the text travels, and that may be a prompt or a secret.
            said = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            raise InvalidRequest(f"the model call cannot be made: {'; '.join(said)}") from None
        except LlmgineError:
            raise
        except Exception as error:
            raise EngineFailed(f"the engine raised {type(error).__name__}: {error}") from error

    # The end

    async def _end(self, turn: Turn, error: LlmgineError | None, began: float) -> None:
        turn.steering.close()
        partial = None if error is None else turn.partial.message()
        self._settle(turn, error, partial)
        told = TurnDone(self._reply(turn)) if error is None else TurnFailed(error, partial)
        self._journal.end(TurnEnded(turn.request.turn_id, outcome_of(error)), told)
        try:
            await self._journal.flush()
        except Exception as raised:  # what is not kept must not be told as done
            if error is None:
                error = (
                    raised
                    if isinstance(raised, LlmgineError)
                    else EngineFailed(f"the turn could not be kept: {type(raised).__name__}: {raised}")
                )
                told = TurnFailed(error)
        if self._journal.closed:
            turn.spans.end(turn.tally, SessionMoved.__name__)
            return
        self._approvals.withdraw(turn.request.turn_id)
        self._tell(turn, error, told, asyncio.get_running_loop().time() - began)

    def _tell(
        self, turn: Turn, error: LlmgineError | None, event: TurnDone | TurnFailed, seconds: float
    ) -> None:
        turn.emit(event)
        tally = turn.tally
        model = turn.view.model if tally.last is None else served_by(tally.last)
        kind = None if error is None else error_type(error)
        turn.spans.end(tally, kind)
        self._observer.turn_completed(
            TurnSummary(
                session_id=self._conversation.session_id,
                turn_id=turn.request.turn_id,
                model=model,
                steps=tally.steps,
                usage=tally.usage or Usage(),
                cost=tally.cost,
                seconds=seconds,
                error=kind,
            )
        )

    def _settle(self, turn: Turn, error: LlmgineError | None, partial: Message | None) -> None:
        """Leaves the context as the module promises."""
        context, turn_id = self._conversation.context, turn.request.turn_id
        kept = partial if isinstance(error, TurnCancelled | TurnDeadline | TimeLimit) else None
        told = context.view()[turn.mark :]
        if kept is None and all(message.role != "assistant" for message in told):
            if told:
                self._journal.append(ContextChanged(turn_id, context.rollback(turn.mark, to_open_calls=True)))
            return
        handed_over = {call.id for call in turn.handed_over}
        self._do.repair(turn_id, "the turn ended before it was run", leaving=handed_over)
        if kept is not None:
            self._do.append(turn, kept)

    def _reply(self, turn: Turn) -> Reply:
        reply = turn.tally.reply(
            turn_id=turn.request.turn_id,
            trace_id=turn.spans.trace_id,
            session_id=self._conversation.session_id,
            model=turn.view.model,
            open_calls=turn.handed_over,
        )
        last = turn.tally.last
        if turn.request.output is None or last is None:
            return reply
        return reply.model_copy(update={"output": last.output})


def outcome_of(error: LlmgineError | None) -> Literal["done", "failed", "cancelled"]:
    """How a turn with this error counts."""
    if error is None:
        return "done"
    return "cancelled" if isinstance(error, TurnCancelled) else "failed"


def _own_cancel() -> None:
    """The cancel has been taken as the turn's end; the task itself goes on to tell of it."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


def _offered(own: tuple[ToolSpec, ...], request: TurnRequest) -> tuple[ToolSpec, ...]:
    """The session's tools and those of whoever asks."""
    names = {tool.name for tool in own}
    for tool in request.tools:
        if tool.name in names:
            raise InvalidRequest(f"the session has a tool {tool.name!r} itself; give yours another name")
    return (*own, *request.tools)


def _own(calls: tuple[ToolCallPart, ...], request: TurnRequest) -> tuple[ToolCallPart, ...]:
    """The calls that the session runs itself."""
    theirs = {tool.name for tool in request.tools}
    return tuple(call for call in calls if call.name not in theirs)


def _said_before(messages: tuple[Message, ...], request: TurnRequest) -> int | None:
    """Where what is asked stands already, unanswered: its turn had failed after some of its steps."""
    if not messages or messages[-1].role == "assistant":
        return None
    said = request.messages
    places = reversed(range(len(messages) - len(said) + 1))
    return next((at for at in places if messages[at : at + len(said)] == said), None)


def _no_such_call(call_id: str) -> ContextError:
    return ContextError(
        f"no call {call_id!r} waits for its result in this session; give results of the calls that its last "
        "turn has left open"
    )


def _inherited(options: Mapping[str, Any], request: TurnRequest) -> dict[str, Any]:
    """The session's options for the turn; its fallbacks stand behind its own model alone."""
    return {name: value for name, value in options.items() if request.model is None or name != "fallbacks"}
