"""Runs one turn: executes the engine's steps with a model and tools, and leaves the context whole.

What the context keeps of a turn: its prompt and every finished step. A turn that was cancelled, or
ran out of time, also keeps the text that its reader had seen, as the model's message. A call without
result is answered with the reason. A turn in which nothing was answered leaves no trace, so that the
next prompt follows an answer, as every provider takes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from pydantic import ValidationError
from pydantic_core import from_json

from llmgine.actors.sessions.context import ContextStore, has_content, unanswered, with_unique_calls
from llmgine.actors.sessions.engines import CallModel, Engine, Finish, RunTools, Step, TurnView
from llmgine.actors.sessions.errors import EngineFailed, TurnCancelled, TurnDeadline
from llmgine.actors.sessions.events import Reply, ToolCalled, ToolReturned, TurnDone, TurnEvent, TurnFailed
from llmgine.actors.sessions.journal import (
    ContextChanged,
    Journal,
    ModelCalled,
    ToolBegan,
    ToolEnded,
    TurnBegan,
    TurnEnded,
)
from llmgine.actors.sessions.observer import ToolSummary, TurnObserver, TurnSummary
from llmgine.actors.sessions.partial import Partial
from llmgine.actors.sessions.spans import ModelSpan, TurnSpans, error_kind
from llmgine.actors.sessions.toolset import Toolset
from llmgine.actors.sessions.turn import TurnRequest, TurnTally, served_by
from llmgine.providers.contracts import LLMRequest, LLMResponse, Message, ToolCallPart, ToolResultPart, Usage
from llmgine.providers.errors import ErrorKind, InvalidRequest, LlmgineError, ProviderError
from llmgine.providers.events import Done, Failed, PartDone, Reset, StreamEvent
from llmgine.telemetry import TraceContext

# An engine of the user's own that never finishes is stopped here.
_ENGINE_STEPS = 10_000


class ModelCaller(Protocol):
    """Calls models; the last event is exactly one `Done` or `Failed`, closing the iterator cancels."""

    def stream(
        self, request: LLMRequest, *, session: str, trace: TraceContext | None
    ) -> AsyncIterator[StreamEvent]: ...


@dataclass(slots=True)
class Conversation:
    """What the turns of one session share."""

    session_id: str
    model: str
    context: ContextStore
    engine: Engine
    toolset: Toolset
    system: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    max_steps: int = 16
    parallel_tools: int = 8


@dataclass(slots=True)
class _Turn:
    request: TurnRequest
    emit: Callable[[TurnEvent], None]
    spans: TurnSpans
    view: TurnView
    mark: int
    deadline: float
    tally: TurnTally = field(default_factory=TurnTally)
    partial: Partial = field(default_factory=Partial)


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
    ) -> None:
        self._conversation = conversation
        self._models = models
        self._spans = spans
        self._journal = journal
        self._observer = observer

    async def run(self, request: TurnRequest, emit: Callable[[TurnEvent], None], *, deadline: float) -> None:
        """Runs the turn to its terminal event; `deadline` is the loop's time.

        Cancelling this task cancels the turn: it still emits its terminal event and then returns.
        """
        began = asyncio.get_running_loop().time()
        turn = self._begin(request, emit, deadline)
        error: LlmgineError | None = None
        timer = asyncio.timeout_at(deadline)
        try:
            async with timer:
                await self._steps(turn)
        except asyncio.CancelledError:
            _own_cancel()
            error = TurnCancelled("the turn was cancelled")
        except LlmgineError as raised:
            error = raised
        except Exception as raised:
            if timer.expired():
                error = TurnDeadline(
                    "the turn's deadline has passed; raise deadline= or sessions.turn_deadline"
                )
            else:
                error = EngineFailed(f"the turn was ended by {type(raised).__name__}: {raised}")
        await self._end(turn, error, began)

    def _begin(self, request: TurnRequest, emit: Callable[[TurnEvent], None], deadline: float) -> _Turn:
        shared = self._conversation
        self._observer.turn_started(shared.session_id, request.turn_id)
        self._journal.append(TurnBegan(request))
        self._repair(request.turn_id, "the turn that made this call did not end")
        view = TurnView(
            model=request.model or shared.model,
            messages=(),
            system=shared.system,
            tools=shared.toolset.specs,
            output=request.output,
            options={**shared.options, **request.options},
            max_steps=shared.max_steps,
        )
        return _Turn(request, emit, self._spans(request), view, len(shared.context), deadline)

    async def _steps(self, turn: _Turn) -> None:
        self._append(turn, turn.request.prompt)
        for _ in range(_ENGINE_STEPS):
            turn.view = replace(turn.view, messages=self._conversation.context.view())
            match self._next(turn.view):
                case CallModel(request):
                    answer = await self._call(turn, request)
                    turn.view = replace(turn.view, answer=answer, results=None, steps=turn.tally.steps)
                case RunTools(calls):
                    results = await self._run_tools(turn, calls)
                    turn.view = replace(turn.view, results=results)
                case Finish(error):
                    if error is not None:
                        raise error
                    return
        raise EngineFailed(f"the engine has not finished within {_ENGINE_STEPS} steps")

    def _next(self, view: TurnView) -> Step:
        try:
            return self._conversation.engine.next(view)
        except ValidationError as error:
            raise InvalidRequest(f"the model call cannot be made: {error}") from None
        except LlmgineError:
            raise
        except Exception as error:
            raise EngineFailed(f"the engine raised {type(error).__name__}: {error}") from error

    # Model calls

    async def _call(self, turn: _Turn, request: LLMRequest) -> LLMResponse:
        self._repair(turn.request.turn_id, "this call was not run")
        remaining = max(turn.deadline - asyncio.get_running_loop().time(), 0.001)
        if request.deadline is None or request.deadline > remaining:
            request = request.model_copy(update={"deadline": remaining})
        turn.emit(turn.tally.step(request.model))
        self._journal.append(ModelCalled(turn.request.turn_id, turn.tally.steps, request))
        with turn.spans.model_call(request, turn.tally.steps) as span:
            response = await self._streamed(turn, request, span)
            span.answered(response)
        message = with_unique_calls(response.message, self._conversation.context)
        if message is not response.message:
            response = response.model_copy(update={"message": message})
        if has_content(message):
            self._append(turn, message)
        turn.partial.clear()
        turn.tally.answered(response)
        return response

    async def _streamed(self, turn: _Turn, request: LLMRequest, span: ModelSpan) -> LLMResponse:
        emit, partial = turn.emit, turn.partial
        partial.clear()
        clock = asyncio.get_running_loop().time
        began, is_first = clock(), True
        events = self._models.stream(request, session=self._conversation.session_id, trace=span.context)
        async with _closing(events):
            async for event in events:
                if is_first:
                    span.first_chunk(clock() - began)
                    is_first = False
                match event:
                    case Done(response):
                        return response
                    case Failed(error, _, usage):
                        turn.tally.spent(usage, None)
                        raise error
                    case PartDone():
                        partial.finished(event)
                    case Reset():
                        partial.clear()
                        emit(event)
                    case _:
                        partial.add(event)
                        emit(event)
        raise ProviderError(
            "the model call ended without its last event", kind=ErrorKind.INTERNAL, model=request.model
        )

    # Tools

    async def _run_tools(self, turn: _Turn, calls: tuple[ToolCallPart, ...]) -> tuple[ToolResultPart, ...]:
        waiting = {call.id for call in self._conversation.context.open_calls}
        if not calls or not waiting.issuperset(call.id for call in calls):
            raise EngineFailed("the engine asked for tools to run that the last answer does not call")
        results: dict[str, ToolResultPart] = {}
        gate = asyncio.Semaphore(self._conversation.parallel_tools)
        tasks = [asyncio.create_task(self._run_tool(turn, call, gate, results)) for call in calls]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for call in calls:
                if call.id not in results:
                    self._returned(turn, unanswered(call, "the turn ended before it had returned"), results)
            ordered = tuple(results[call.id] for call in calls)
            self._append(turn, Message(role="tool", parts=ordered))
        return ordered

    async def _run_tool(
        self, turn: _Turn, call: ToolCallPart, gate: asyncio.Semaphore, results: dict[str, ToolResultPart]
    ) -> None:
        shared = self._conversation
        async with gate:
            self._journal.append(ToolBegan(turn.request.turn_id, call))
            if not shared.toolset.is_idempotent(call.name):
                await self._journal.flush()
            turn.emit(ToolCalled(call))
            began = asyncio.get_running_loop().time()
            with turn.spans.tool_call(call) as span:
                result = await shared.toolset.run(call)
                span.returned(result)
        self._returned(turn, result, results)
        seconds = asyncio.get_running_loop().time() - began
        self._observer.tool_completed(
            ToolSummary(
                shared.session_id, turn.request.turn_id, call.id, call.name, not result.is_error, seconds
            )
        )

    def _returned(self, turn: _Turn, result: ToolResultPart, results: dict[str, ToolResultPart]) -> None:
        results[result.call_id] = result
        turn.tally.returned(result)
        self._journal.append(ToolEnded(turn.request.turn_id, result))
        turn.emit(ToolReturned(result))

    # The end

    async def _end(self, turn: _Turn, error: LlmgineError | None, began: float) -> None:
        partial = None if error is None else turn.partial.message()
        self._settle(turn, error, partial)
        self._journal.append(TurnEnded(turn.request.turn_id, outcome_of(error)))
        try:
            await self._journal.flush()
        except Exception as raised:  # what is not kept must not be told as done
            error = error or EngineFailed(f"the turn could not be kept: {type(raised).__name__}: {raised}")
        self._tell(turn, error, partial, asyncio.get_running_loop().time() - began)

    def _tell(self, turn: _Turn, error: LlmgineError | None, partial: Message | None, seconds: float) -> None:
        tally = turn.tally
        model = turn.view.model if tally.last is None else served_by(tally.last)
        kind = None if error is None else error_kind(error)
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
        turn.emit(TurnDone(self._reply(turn)) if error is None else TurnFailed(error, partial))

    def _settle(self, turn: _Turn, error: LlmgineError | None, partial: Message | None) -> None:
        """Leaves the context as the module promises."""
        context, turn_id = self._conversation.context, turn.request.turn_id
        self._repair(turn_id, "the turn ended before it was run")
        kept = partial if isinstance(error, TurnCancelled | TurnDeadline) else None
        if kept is not None:
            self._append(turn, kept)
        if len(context) == turn.mark + 1:
            self._journal.append(ContextChanged(turn_id, context.rollback(turn.mark)))

    def _reply(self, turn: _Turn) -> Reply:
        reply = turn.tally.reply(
            turn_id=turn.request.turn_id,
            trace_id=turn.spans.trace_id,
            session_id=self._conversation.session_id,
            model=turn.view.model,
        )
        if turn.request.output is None:
            return reply
        try:
            return reply.model_copy(update={"output": from_json(reply.text)})
        except ValueError:
            return reply  # whoever asked for a type says what does not fit it

    def _append(self, turn: _Turn, message: Message) -> None:
        self._journal.append(ContextChanged(turn.request.turn_id, self._conversation.context.append(message)))

    def _repair(self, turn_id: str, reason: str) -> None:
        entry = self._conversation.context.repair(reason)
        if entry is not None:
            self._journal.append(ContextChanged(turn_id, entry))


def outcome_of(error: LlmgineError | None) -> Literal["done", "failed", "cancelled"]:
    """How a turn with this error counts."""
    if error is None:
        return "done"
    return "cancelled" if isinstance(error, TurnCancelled) else "failed"


@asynccontextmanager
async def _closing(events: AsyncIterator[StreamEvent]) -> AsyncIterator[None]:
    """Closes the iterator where it can be closed, which cancels the call at the provider."""
    try:
        yield
    finally:
        aclose = getattr(events, "aclose", None)
        if aclose is not None:
            await aclose()


def _own_cancel() -> None:
    """The cancel has been taken as the turn's end; the task itself goes on to tell of it."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
