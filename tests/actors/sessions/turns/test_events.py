"""Events of turns and errors cross processes unchanged."""

from __future__ import annotations

import inspect
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgpack
import pytest

import llmgine.actors.sessions.errors as session_errors
from llmgine.actors.sessions.errors import TurnError, error_from_wire, error_to_wire
from llmgine.actors.sessions.turns.events import (
    ApprovalNeeded,
    ApprovalSettled,
    Reply,
    Steered,
    StepStarted,
    ToolCall,
    ToolCalled,
    ToolProgress,
    ToolReturned,
    TurnDone,
    TurnEvent,
    TurnFailed,
    TurnReset,
    from_wire,
    is_terminal,
    to_wire,
)
from llmgine.providers.contracts import FinishReason, Message, TextPart, ToolCallPart, ToolResultPart, Usage
from llmgine.providers.errors import ErrorKind, LlmgineError, ProviderError, UnknownModel
from llmgine.providers.events import Reset, TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStart

CALL = ToolCallPart(id="c1", name="t", arguments={"a": 1}, raw_arguments='{"a": 1}')
RESULT = ToolResultPart(call_id="c1", name="t", content=(TextPart(text="ok"),))
REPLY = Reply(
    text="hi",
    parts=(TextPart(text="hi"),),
    output={"a": 1},
    tool_calls=(ToolCall(id="c1", name="t", arguments={"a": 1}, result=RESULT),),
    usage=Usage(input_tokens=1),
    cost=Decimal("0.000012"),
    model="scripted/test",
    finish_reason=FinishReason.STOP,
    turn_id="s1:1",
    trace_id="0" * 32,
    session_id="s1",
)

EVENTS: list[TurnEvent] = [
    TextDelta(0, "hé"),
    ThinkingDelta(1, "hm"),
    ToolCallStart(2, "c1", "t"),
    ToolCallDelta(2, "{}"),
    Reset("restart"),
    StepStarted(2, "scripted/test"),
    ApprovalNeeded("a-1", CALL, "it costs money", datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
    ApprovalNeeded("a-1", CALL, "", None),
    ApprovalSettled("a-1", "c1", "denied", "ann", "too much"),
    ToolCalled(CALL),
    ToolProgress("c1", {"done": [1, None, "é"]}),
    ToolReturned(RESULT),
    Steered(Message.user("in French")),
    TurnReset("it moved"),
    TurnDone(REPLY),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_cross_the_wire(event: TurnEvent) -> None:
    """Each event comes back equal from its wire form."""
    assert from_wire(msgpack.unpackb(msgpack.packb(to_wire(event)))) == event
    assert is_terminal(event) == (event.type == "done")


@pytest.mark.parametrize("partial", [None, Message.assistant("so far")])
def test_failures_cross_the_wire(partial: Message | None) -> None:
    """A failed turn arrives with its error and what had been said."""
    error = ProviderError("busy", kind=ErrorKind.OVERLOADED, retry_after=2.0)
    event = from_wire(msgpack.unpackb(msgpack.packb(to_wire(TurnFailed(error, partial)))))
    assert isinstance(event, TurnFailed)
    assert isinstance(event.error, ProviderError)
    assert (event.error.kind, event.error.retry_after, event.partial) == (ErrorKind.OVERLOADED, 2.0, partial)
    assert is_terminal(event)


def test_foreign_codes_are_refused() -> None:
    """A code that this version does not know, or that is of a model call, is no event of a turn."""
    for wire in ([99], [6, b"{}"], [4, 0, b'{"type":"text","text":"x"}']):
        with pytest.raises(ValueError, match=r".+"):
            from_wire(wire)


ERRORS: list[type[LlmgineError]] = [
    kind
    for _, kind in inspect.getmembers(session_errors, inspect.isclass)
    if issubclass(kind, LlmgineError) and kind.__module__ == session_errors.__name__
]


def an_error(kind: type[LlmgineError]) -> LlmgineError:
    arguments: tuple[Any, ...] = ("f", "why") if kind.__name__ == "ToolDefinitionError" else ("why",)
    return kind(*arguments)


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_survive_pickling(kind: type[LlmgineError]) -> None:
    """Each error keeps class, text and attributes through pickle."""
    error = an_error(kind)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.__dict__) == (kind, str(error), error.__dict__)


@pytest.mark.parametrize("kind", [kind for kind in ERRORS if issubclass(kind, TurnError)] + [UnknownModel])
def test_errors_cross_the_wire(kind: type[LlmgineError]) -> None:
    """Each error that a turn may end with arrives as its own class with its text."""
    copy = error_from_wire(msgpack.unpackb(msgpack.packb(error_to_wire(kind("why")))))
    assert (type(copy), str(copy)) == (kind, "why")


def test_users_errors_arrive_as_what_they_are_based_on() -> None:
    """An error class that is only known over there arrives as its nearest known base, with its own name."""

    class Refused(TurnError):
        pass

    copy = error_from_wire(error_to_wire(Refused("why")))
    assert (type(copy), str(copy)) == (TurnError, "Refused: why")
    assert str(error_from_wire({"class": "FromTheFuture", "text": "why"})) == "FromTheFuture: why"
