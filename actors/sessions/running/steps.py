"""The steps of a turn at work: a model call with its stream, and the tools of one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from llmgine.actors.bus.handling.turns import waited_for_by
from llmgine.actors.sessions.context.store import (
    ContextStore,
    UniqueCalls,
    has_content,
    unanswered,
    with_unique_calls,
)
from llmgine.actors.sessions.context.window import Window
from llmgine.actors.sessions.errors import EngineFailed
from llmgine.actors.sessions.journal.keeping import Journal
from llmgine.actors.sessions.journal.records import (
    ApprovalAnswered,
    ContextChanged,
    ModelAnswered,
    ModelCalled,
    SteerRead,
    Streamed,
    ToolBegan,
    ToolEnded,
    ToolsAnswered,
)
from llmgine.actors.sessions.journal.recovery import Continuation
from llmgine.actors.sessions.options import RecoveryPolicy
from llmgine.actors.sessions.running.approvals import Approvals, Question, not_run
from llmgine.actors.sessions.running.clock import TurnClock
from llmgine.actors.sessions.running.engines import Engine, TurnView
from llmgine.actors.sessions.running.observer import ToolSummary, TurnObserver
from llmgine.actors.sessions.running.partial import Partial
from llmgine.actors.sessions.running.spans import ModelSpan, ToolSpan, TurnSpans
from llmgine.actors.sessions.tools.context import Chain
from llmgine.actors.sessions.tools.policy import Ask, ByApproval, Deny, ToolPolicy, decide
from llmgine.actors.sessions.tools.toolset import Toolset
from llmgine.actors.sessions.turns.events import Steered, ToolCalled, ToolProgress, ToolReturned, TurnEvent
from llmgine.actors.sessions.turns.limits import Limits
from llmgine.actors.sessions.turns.steering import Steering
from llmgine.actors.sessions.turns.turn import TurnRequest, TurnTally
from llmgine.providers.contracts import LLMRequest, LLMResponse, Message, ToolCallPart, ToolResultPart
from llmgine.providers.errors import ErrorKind, ProviderError
from llmgine.providers.events import Done, Failed, PartDone, Reset, StreamEvent, ToolCallStart
from llmgine.telemetry import TraceContext

# Seconds between two records of what a model call has said so far.
_PARTIAL_EVERY = 0.5


class ModelCaller(Protocol):
    """Calls models; the last event is exactly one `Done` or `Failed`, closing the iterator cancels."""

    def stream(
        self, request: LLMRequest, *, session: str, trace: TraceContext | None
    ) -> AsyncIterator[StreamEvent]: ...


def unknown_size(model: str) -> int | None:
    """How much a model holds where nobody knows."""
    return None


@dataclass(slots=True)
class Conversation:
    """What the turns of one session share; `holds` says how many tokens a model does, None where unknown."""

    session_id: str
    model: str
    context: ContextStore
    engine: Engine
    toolset: Toolset
    system: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    window: Window | None = None
    holds: Callable[[str], int | None] = unknown_size
    policy: ToolPolicy = field(default_factory=ByApproval)
    parallel_tools: int = 8
    recovery: RecoveryPolicy = "retry"


@dataclass(slots=True)
class Turn:
    """One turn while it runs.

    `mark` is the length of the conversation before it, `continuation` what is left of it where it was
    `resumed`, for it began in a process that died. `handed_over` are the calls that are left to whoever
    asked, once the turn ends with them.
    """

    request: TurnRequest
    emit: Callable[[TurnEvent], None]
    spans: TurnSpans
    view: TurnView
    mark: int
    clock: TurnClock
    limits: Limits
    handed_over: tuple[ToolCallPart, ...] = ()
    tally: TurnTally = field(default_factory=TurnTally)
    partial: Partial = field(default_factory=Partial)
    steering: Steering = field(default_factory=Steering)
    continuation: Continuation = field(default_factory=Continuation)
    resumed: bool = False

    @property
    def begins_call(self) -> bool:
        """Whether a model call is to be expected next, and not tools or the end."""
        return self.view.answer is None or self.view.results is not None


class Steps:
    """Executes the steps of one conversation's turns; what comes of them is in its context and journal."""

    def __init__(
        self,
        conversation: Conversation,
        models: ModelCaller,
        journal: Journal,
        observer: TurnObserver,
        approvals: Approvals,
    ) -> None:
        self._conversation = conversation
        self._models = models
        self._journal = journal
        self._observer = observer
        self._approvals = approvals

    def append(self, turn: Turn, message: Message) -> None:
        """Adds a message to the conversation; ContextError where it does not fit."""
        self._journal.append(ContextChanged(turn.request.turn_id, self._conversation.context.append(message)))

    def repair(self, turn_id: str, reason: str, leaving: Container[str] = ()) -> None:
        """Answers the calls that are open but for those of `leaving`, so that the conversation can go on."""
        entry = self._conversation.context.repair(reason, leaving)
        if entry is not None:
            self._journal.append(ContextChanged(turn_id, entry))

    def hear(self, turn: Turn) -> None:
        """What was said to the turn enters the conversation, once no call waits for its result."""
        context = self._conversation.context
        for steer, message in () if context.open_calls else turn.steering.waiting:
            sequence = context.append(message).sequence
            self._journal.append(SteerRead(turn.request.turn_id, steer, message, sequence))
            turn.steering.read(steer)
            turn.emit(Steered(message))

    async def call(self, turn: Turn, request: LLMRequest) -> LLMResponse:
        """The model's answer, appended; raises what the call failed with."""
        self.repair(turn.request.turn_id, "this call was not run")
        remaining = max(turn.clock.remaining, 0.001)
        if request.deadline is None or request.deadline > remaining:
            request = request.model_copy(update={"deadline": remaining})
        turn.emit(turn.tally.step(request.model))
        turn_id, step = turn.request.turn_id, turn.tally.steps
        self._journal.append(ModelCalled(turn_id, step, request.model))
        with turn.spans.model_call(request, step) as span:
            response = await self._streamed(turn, request, span)
            span.answered(response)
        message = with_unique_calls(response.message, self._conversation.context)
        if message is not response.message:
            response = response.model_copy(update={"message": message})
        sequence = self._conversation.context.append(message).sequence if has_content(message) else None
        self._journal.append(ModelAnswered(turn_id, step, response, sequence))
        turn.partial.clear()
        turn.tally.answered(response)
        return response

    async def _streamed(self, turn: Turn, request: LLMRequest, span: ModelSpan) -> LLMResponse:
        emit, partial = turn.emit, turn.partial
        partial.clear()
        calls = UniqueCalls(self._conversation.context)
        clock = asyncio.get_running_loop().time
        kept = clock()
        events = self._models.stream(request, session=self._conversation.session_id, trace=span.context)
        async with closing(events):
            async for event in events:
                match event:
                    case Done(response):
                        return response
                    case Failed(error, _, usage):
                        turn.tally.spent(usage, None)
                        span.used(usage)
                        raise error
                    case PartDone():
                        span.part()
                        partial.finished(event)
                    case Reset():
                        partial.clear()
                        self._journal.append(
                            Streamed(turn.request.turn_id, turn.tally.steps, (), restarted=True)
                        )
                        calls = UniqueCalls(self._conversation.context)
                        span.restarted()
                        emit(event)
                    case ToolCallStart(index, id_, name):
                        span.chunk()
                        emit(ToolCallStart(index, calls.name(id_), name))
                    case _:
                        span.chunk()
                        partial.add(event)
                        emit(event)
                        if (now := clock()) - kept >= _PARTIAL_EVERY:
                            kept = now
                            self._keep_partial(turn)
        raise ProviderError(
            "the model call ended without its last event", kind=ErrorKind.INTERNAL, model=request.model
        )

    def _keep_partial(self, turn: Turn) -> None:
        if pieces := turn.partial.take_new():
            self._journal.append(Streamed(turn.request.turn_id, turn.tally.steps, pieces))

    def say(self, turn: Turn) -> None:
        """What the turn was asked enters the conversation, as far as it has not."""
        for message in turn.request.messages[len(self._conversation.context) - turn.mark :]:
            self.append(turn, message)

    def hand_over(self, turn: Turn) -> bool:
        """Whether the turn ends here, because it is for whoever asked to run the calls that are left."""
        theirs = {tool.name for tool in turn.request.tools}
        calls = tuple(call for call in self._conversation.context.open_calls if call.name in theirs)
        if turn.view.results is None or not calls:
            return False
        if turn.steering.end():
            turn.handed_over = calls
            return True
        self.repair(turn.request.turn_id, "something else was said before it was run")
        return False

    async def run_tools(self, turn: Turn, calls: tuple[ToolCallPart, ...]) -> tuple[ToolResultPart, ...]:
        """What came of the calls, in their order and appended, also where the turn is cancelled meanwhile."""
        if not calls and turn.request.tools:
            return ()  # they are all for whoever asked
        asked, waiting = [call.id for call in calls], self._conversation.context.open_calls
        if not asked or len(asked) > len({*asked} & {call.id for call in waiting}):
            raise EngineFailed(
                "the engine asked for tools to run that the last answer does not call, or one of them twice"
            )
        results = {call: result for call, result in turn.continuation.results.items() if call in asked}
        left = [call for call in calls if call.id not in results]
        gate = asyncio.Semaphore(self._conversation.parallel_tools)
        tasks = [asyncio.create_task(self._run_tool(turn, call, gate, results)) for call in left]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for call in left:
                if call.id not in results:
                    self._returned(turn, unanswered(call, "the turn ended before it had returned"), results)
            ordered = tuple(results[call.id] for call in calls)
            entry = self._conversation.context.append(Message(role="tool", parts=ordered))
            self._journal.append(ToolsAnswered(turn.request.turn_id, tuple(asked), entry.sequence))
        return ordered

    async def _run_tool(
        self, turn: Turn, call: ToolCallPart, gate: asyncio.Semaphore, results: dict[str, ToolResultPart]
    ) -> None:
        shared = self._conversation
        unknown = turn.continuation.unknown.get(call.id)
        if unknown is not None:
            turn.emit(ToolCalled(call))
            self._returned(turn, unknown, results)
            return
        refusal = await self._refusal(turn, call)
        if refusal is not None:
            self._returned(turn, refusal, results)
            return
        async with gate:
            with turn.clock.working():
                idempotent = shared.toolset.is_idempotent(call.name)
                self._journal.append(ToolBegan(turn.request.turn_id, call, idempotent))
                if not idempotent or turn.resumed:  # one that kills its process is counted
                    await self._journal.flush()
                turn.emit(ToolCalled(call))
                began = asyncio.get_running_loop().time()
                with turn.spans.tool_call(call, shared.toolset.spec(call.name)) as span:
                    with waited_for_by((*turn.request.waiting, shared.session_id)):
                        result = await shared.toolset.run(
                            call,
                            turn.request.turn_id,
                            lambda data: self._progress(turn, call.id, span, data),
                            Chain(
                                span.context,
                                turn.request.waiting,
                                turn.clock.remaining,
                                lambda: self._journal.closed,
                            ),
                        )
                    span.returned(result)
        self._returned(turn, result, results)
        seconds = asyncio.get_running_loop().time() - began
        self._observer.tool_completed(
            ToolSummary(
                shared.session_id, turn.request.turn_id, call.id, call.name, not result.is_error, seconds
            )
        )

    def _progress(self, turn: Turn, call: str, span: ToolSpan, data: Any) -> None:
        span.progress()
        turn.emit(ToolProgress(call, data))

    async def _refusal(self, turn: Turn, call: ToolCallPart) -> ToolResultPart | None:
        """What the model is told where the call may not be run, after whoever may approve was asked."""
        question = self._question(turn, call)
        if question is None or isinstance(question, ToolResultPart):
            return question
        decision = await self._approvals.ask(question, turn.emit, turn.clock.waiting)
        self._journal.append(
            ApprovalAnswered(question.turn_id, question.id, call.id, decision.state, decision.note)
        )
        return None if decision.approved else not_run(call, decision, again=question.run > 1)

    def _question(self, turn: Turn, call: ToolCallPart) -> Question | ToolResultPart | None:
        """What somebody is to be asked before the call, or the refusal; None where it may be run."""
        turn_id, was = turn.request.turn_id, turn.continuation
        if call.id in was.asked:
            reason = "the process that ran it died, and it may have taken effect: may it be run again?"
            return Question(turn_id, call, reason, run=was.asked[call.id])
        if call.id in was.approved:
            return None
        if call.id in was.leave:
            return Question(turn_id, call, was.leave[call.id])
        tool = self._conversation.toolset.tools.get(call.name)
        if tool is None:
            return None
        match decide(self._conversation.policy, call, tool, turn.view):
            case Deny(reason):
                return unanswered(call, f"this call is not allowed: {reason}")
            case Ask(reason):
                return Question(turn_id, call, reason, tool.approval_expiry)
        return None

    def _returned(self, turn: Turn, result: ToolResultPart, results: dict[str, ToolResultPart]) -> None:
        results[result.call_id] = result
        turn.tally.returned(result)
        self._journal.append(ToolEnded(turn.request.turn_id, result))
        turn.emit(ToolReturned(result))


@asynccontextmanager
async def closing(events: AsyncIterator[StreamEvent]) -> AsyncIterator[None]:
    """Closes the iterator where it can be closed, which cancels the call at the provider."""
    try:
        yield
    finally:
        aclose = getattr(events, "aclose", None)
        if aclose is not None:
            await aclose()
