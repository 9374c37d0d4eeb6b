"""A turn whose process died, as far as it had come: what readers were told, and where its engine stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from llmgine.actors.sessions.journal.records import (
    ModelAnswered,
    ModelCalled,
    SteerRead,
    ToolBegan,
    ToolEnded,
)
from llmgine.actors.sessions.journal.recovery import continuation
from llmgine.actors.sessions.journal.state import Progress
from llmgine.actors.sessions.running.steps import Turn
from llmgine.actors.sessions.turns.events import Steered, ToolCalled, ToolReturned, TurnEvent
from llmgine.providers.contracts import LLMResponse, TextPart, ThinkingPart, ToolCallPart
from llmgine.providers.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStart


def resume(turn: Turn, progress: Progress) -> None:
    """Brings a turn that has just begun to where it was; its readers are told its finished steps."""
    calls: dict[str, ToolCallPart] = {}
    unanswered = False
    model = turn.view.model
    for record in progress.records:
        match record:
            case ModelCalled(model=called):
                model = called
            case ModelAnswered(response=response):
                turn.emit(turn.tally.step(model))
                for event in _told(response):
                    turn.emit(event)
                turn.tally.answered(response)
                unanswered = False
            case SteerRead(message=message):
                turn.emit(Steered(message))
                unanswered = True
            case ToolBegan(call=call):
                calls[call.id] = call
            case ToolEnded(result=result):
                if result.call_id in calls:
                    turn.emit(ToolCalled(calls[result.call_id]))
                turn.emit(ToolReturned(result))
                turn.tally.returned(result)
    last = progress.answers[-1].response if progress.answers else None
    if unanswered and progress.results is None:
        last = None  # What was said after its last answer is answered first.
    turn.view = replace(turn.view, answer=last, results=progress.results, steps=turn.tally.steps)
    turn.partial.restore(progress.pieces)
    turn.continuation = continuation(progress)
    turn.resumed = True


def _told(response: LLMResponse) -> Iterator[TurnEvent]:
    for index, part in enumerate(response.message.parts):
        match part:
            case TextPart(text=text) if text:
                yield TextDelta(index, text)
            case ThinkingPart(text=text) if text:
                yield ThinkingDelta(index, text)
            case ToolCallPart():
                yield ToolCallStart(index, part.id, part.name)
                yield ToolCallDelta(index, part.raw_arguments or json.dumps(part.arguments))
