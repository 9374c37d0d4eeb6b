"""What the tests of sessions share: a scripted model and a session built around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest

from llmgine.actors.sessions.context.store import ContextStore
from llmgine.actors.sessions.context.window import Window
from llmgine.actors.sessions.journal.records import JournalRecord, TurnEnded
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.running.approvals import NobodyApproves
from llmgine.actors.sessions.running.engines import Engine, ToolChatEngine
from llmgine.actors.sessions.running.observer import ToolSummary, TurnObserver, TurnSummary
from llmgine.actors.sessions.running.runner import TurnRunner
from llmgine.actors.sessions.running.spans import TurnSpans
from llmgine.actors.sessions.running.steps import Conversation, unknown_size
from llmgine.actors.sessions.tools.toolset import Toolset
from llmgine.actors.sessions.turns.events import TurnDone, TurnEvent, TurnFailed
from llmgine.actors.sessions.turns.limits import Limits
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.providers.contracts import (
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    TextPart,
    ToolCallPart,
    Usage,
    UsageSource,
)
from llmgine.providers.errors import LlmgineError
from llmgine.providers.events import Done, PartDone, StreamEvent, TextDelta
from llmgine.telemetry import SpanRecorder, TraceContext


class Gate:
    """A script's step that tells "I am inside" and waits for "go on"."""

    def __init__(self) -> None:
        self.inside = asyncio.Event()
        self.go_on = asyncio.Event()

    async def wait(self) -> None:
        self.inside.set()
        await self.go_on.wait()


Item = StreamEvent | Gate | LlmgineError


def call(name: str, id_: str = "c1", **arguments: Any) -> ToolCallPart:
    return ToolCallPart(id=id_, name=name, arguments=arguments)


def says(*chunks: str, calls: tuple[ToolCallPart, ...] = (), **fields: Any) -> list[Item]:
    """The events of a model call that streams these chunks and then makes these calls."""
    text = "".join(chunks)
    parts: list[Any] = [TextPart(text=text)] if text else []
    events: list[Item] = [TextDelta(0, chunk) for chunk in chunks]
    events += [PartDone(index, part) for index, part in enumerate([*parts, *calls])]
    response: dict[str, Any] = {
        "message": Message(role="assistant", parts=(*parts, *calls)),
        "finish_reason": FinishReason.TOOL_CALLS if calls else FinishReason.STOP,
        "usage": Usage(input_tokens=3, output_tokens=2, source=UsageSource.REPORTED),
        "cost": Decimal("0.001"),
        "model": "scripted/test",
        "provider": "scripted",
    }
    return [*events, Done(LLMResponse(**{**response, **fields}))]


class ScriptedModels:
    """Plays one list of events per call, in order; keeps the requests and which calls were closed early."""

    def __init__(self, *script: list[Item]) -> None:
        self.script = list(script)
        self.requests: list[LLMRequest] = []
        self.traces: list[TraceContext | None] = []
        self.cut_short = 0

    async def stream(
        self, request: LLMRequest, *, session: str, trace: TraceContext | None
    ) -> AsyncIterator[StreamEvent]:
        self.requests.append(request)
        self.traces.append(trace)
        ended = False
        try:
            for item in self.script.pop(0):
                if isinstance(item, Gate):
                    await item.wait()
                elif isinstance(item, LlmgineError):
                    raise item
                else:
                    yield item
            ended = True
        finally:
            if not ended and not isinstance(item, Done):
                self.cut_short += 1


class Recorded(TurnObserver):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.tools: list[ToolSummary] = []
        self.turns: list[TurnSummary] = []

    def turn_started(self, session_id: str, turn_id: str) -> None:
        self.started.append(turn_id)

    def tool_completed(self, summary: ToolSummary) -> None:
        self.tools.append(summary)

    def turn_completed(self, summary: TurnSummary) -> None:
        self.turns.append(summary)


class RecordedJournal:
    """Keeps its records, and how many there were at each flush."""

    def __init__(self) -> None:
        self.closed = False
        self.records: list[JournalRecord] = []
        self.flushed: list[int] = []
        self.told: list[TurnEvent] = []

    def append(self, record: JournalRecord) -> None:
        self.records.append(record)

    def end(self, record: TurnEnded, event: TurnDone | TurnFailed) -> None:
        self.append(record)
        self.told.append(event)

    async def flush(self) -> None:
        self.flushed.append(len(self.records))


class Bench:
    """One conversation with a scripted model, and the runner of its turns."""

    def __init__(
        self,
        *script: list[Item],
        tools: tuple[Any, ...] = (),
        engine: Engine | None = None,
        window: Window | None = None,
        holds: Callable[[str], int | None] = unknown_size,
        **options: Any,
    ) -> None:
        self.options = SessionOptions(**options)
        self.models = ScriptedModels(*script)
        self.observer = Recorded()
        self.journal = RecordedJournal()
        self.recorder = SpanRecorder("test")
        self.context = ContextStore()
        self.conversation = Conversation(
            session_id="s1",
            model="scripted/test",
            context=self.context,
            engine=ToolChatEngine() if engine is None else engine,
            toolset=Toolset(tools, self.options),
            system="Be brief.",
            window=window,
            holds=holds,
            limits=Limits(steps=self.options.max_steps),
            parallel_tools=self.options.parallel_tools,
        )
        self.runner = TurnRunner(
            self.conversation,
            self.models,
            lambda request: TurnSpans(self.recorder, "s1", request),
            journal=self.journal,
            approvals=NobodyApproves(),
            observer=self.observer,
        )
        self.events: list[TurnEvent] = []
        self._grown = asyncio.Event()
        self._turns = 0

    def start(
        self, prompt: str | Message = "Hello", *, deadline: float = 60.0, **fields: Any
    ) -> asyncio.Task[None]:
        """A turn as a task; its events gather in `events`."""
        self._turns += 1
        said = Message.user(prompt) if isinstance(prompt, str) else prompt
        request = TurnRequest(turn_id=f"s1:{self._turns}", prompt=said, **fields)
        until = asyncio.get_running_loop().time() + deadline
        return asyncio.create_task(self.runner.run(request, self._emit, deadline=until))

    async def until(self, kind: type[Any]) -> None:
        """Waits for an event of this class."""
        while not any(isinstance(event, kind) for event in self.events):
            self._grown.clear()
            await self._grown.wait()

    def _emit(self, event: TurnEvent) -> None:
        self.events.append(event)
        self._grown.set()

    async def turn(self, prompt: str | Message = "Hello", **fields: Any) -> TurnEvent:
        """Runs a turn; its terminal event."""
        await self.start(prompt, **fields)
        return self.events[-1]

    @property
    def roles(self) -> list[str]:
        return [message.role for message in self.context.view()]


@pytest.fixture
def bench() -> Callable[..., Bench]:
    return Bench


@pytest.fixture
def script() -> Any:
    """The words to write a model's script with."""

    class Words:
        Gate = Gate
        says = staticmethod(says)
        call = staticmethod(call)

    return Words
