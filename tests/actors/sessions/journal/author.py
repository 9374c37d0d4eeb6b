"""Writes what sessions write: any sequence of records that can come about, chosen move by move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from llmgine.actors.sessions.journal.records import (
    ApprovalAnswered,
    ApprovalAsked,
    CancelAsked,
    ContextChanged,
    JournalRecord,
    ModelAnswered,
    ModelCalled,
    Streamed,
    ToolBegan,
    ToolEnded,
    ToolsAnswered,
    TurnBegan,
    TurnEnded,
    TurnQueued,
)
from llmgine.actors.sessions.journal.state import SessionState
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.providers.contracts import (
    FinishReason,
    ImagePart,
    LLMResponse,
    Message,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
    UsageSource,
)

LONG = "long " * 300


def response(*parts: TextPart | ToolCallPart) -> LLMResponse:
    return LLMResponse(
        message=Message(role="assistant", parts=parts),
        finish_reason=FinishReason.STOP,
        usage=Usage(input_tokens=3, output_tokens=2, source=UsageSource.REPORTED),
        cost=Decimal("0.001"),
        model="scripted/test",
        provider="scripted",
    )


class Author:
    """One session at work; each move is a choice among those that are possible then."""

    def __init__(self) -> None:
        self.state = SessionState()
        self.records: list[JournalRecord] = []
        self._number = 0

    def write(self, choices: Iterable[int]) -> list[JournalRecord]:
        for choice in choices:
            moves = list(self._moves())
            for record in moves[choice % len(moves)]():
                self.state.apply(record)
                self.records.append(record)
        return self.records

    def _moves(self) -> Iterator[Callable[[], list[JournalRecord]]]:
        state, progress = self.state, self.state.progress
        yield self._queue
        if progress is None:
            if state.queue:
                yield self._begin
                yield self._drop
            return
        turn = progress.turn_id
        if len(state.context) == progress.began.mark:
            yield self._prompt
            return
        yield lambda: [CancelAsked(turn)]
        waiting = list(state.context.open_calls)
        if not waiting:
            step = len(progress.answers) + 1
            yield lambda: [ModelCalled(turn, step, "scripted/test")]
            yield lambda: [Streamed(turn, step, ((0, "He"), (1, LONG)))]
            yield lambda: [Streamed(turn, step, (), restarted=True)]
            yield self._answer
            yield self._answer_with_calls
            yield self._end
            return
        begun = [call for call in waiting if call.id not in progress.begun]
        running = [call for call in waiting if call.id in progress.begun and call.id not in progress.ended]
        if begun:
            yield lambda: [ToolBegan(turn, begun[0], self._number % 2 == 0)]
            yield lambda: [ApprovalAsked(turn, "a1", begun[0].id, "sure?")]
            yield lambda: [ApprovalAnswered(turn, "a1", begun[0].id, "approved", LONG)]
        if running:
            yield lambda: [ToolEnded(turn, self._result(running[-1]))]
        if all(call.id in progress.ended for call in waiting):
            calls = tuple(call.id for call in waiting)
            yield lambda: [ToolsAnswered(turn, calls, state.context.sequence + 1)]

    def _queue(self) -> list[JournalRecord]:
        self._number += 1
        picture = ImagePart(data=b"\x00\xff" * 700)
        prompt = Message.user("hi", picture) if self._number % 3 else Message.user(LONG)
        request = TurnRequest(f"s1:{self._number}", prompt, deadline=2.5, options={"n": [1, None]})
        return [TurnQueued(request, self._number, self._number + 10)]

    def _begin(self) -> list[JournalRecord]:
        turn = next(iter(self.state.queue))
        return [TurnBegan(turn, len(self.state.context), "ask", "0" * 32)]

    def _drop(self) -> list[JournalRecord]:
        return [TurnEnded(list(self.state.queue)[-1], "cancelled")]

    def _change(self, message: Message) -> JournalRecord:
        assert self.state.progress is not None
        copy = type(self.state.context).from_json(self.state.context.to_json())
        return ContextChanged(self.state.progress.turn_id, copy.append(message))

    def _prompt(self) -> list[JournalRecord]:
        assert self.state.progress is not None
        return [self._change(self.state.queue[self.state.progress.turn_id].request.prompt)]

    def _answered(self, *parts: TextPart | ToolCallPart) -> list[JournalRecord]:
        progress = self.state.progress
        assert progress is not None
        step, sequence = len(progress.answers) + 1, self.state.context.sequence + 1
        return [ModelAnswered(progress.turn_id, step, response(*parts), sequence)]

    def _answer(self) -> list[JournalRecord]:
        return self._answered(TextPart(text=LONG))

    def _answer_with_calls(self) -> list[JournalRecord]:
        at = self.state.context.sequence
        calls = (ToolCallPart(id=f"c{at}-{n}", name="pay", arguments={"to": LONG}) for n in range(2))
        return self._answered(TextPart(text="Well"), *calls)

    def _result(self, call: ToolCallPart) -> ToolResultPart:
        content = (TextPart(text="paid"), ImagePart(data=b"\x01" * 2000))
        return ToolResultPart(call_id=call.id, name=call.name, content=content)

    def _end(self) -> list[JournalRecord]:
        progress, context = self.state.progress, self.state.context
        assert progress is not None
        ended: JournalRecord = TurnEnded(progress.turn_id, "done")
        if len(context) > progress.began.mark + 1:
            return [ended]
        copy = type(context).from_json(context.to_json())
        return [ContextChanged(progress.turn_id, copy.rollback(progress.began.mark)), ended]
