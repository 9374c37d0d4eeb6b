"""The log of a turn: every event once, from any offset, however late the reader."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.sessions.turns.events import Reply, StepStarted, ToolReturned, TurnDone, TurnEvent
from llmgine.actors.sessions.turns.limits import Limits
from llmgine.actors.sessions.turns.turn import REPLY_RESULTS_BYTES, TurnLog, TurnRequest, TurnTally
from llmgine.providers.contracts import (
    FinishReason,
    LLMResponse,
    Message,
    OutputSchema,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    Usage,
    UsageSource,
)
from llmgine.providers.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStart

DONE = TurnDone(
    Reply(
        text="",
        parts=(),
        model="m",
        finish_reason=FinishReason.STOP,
        turn_id="s:1",
        trace_id="",
        session_id="s",
    )
)


def test_late_reader_gets_longer_deltas() -> None:
    """Deltas that nobody has read yet come as one, and what was read does not come again."""
    log = TurnLog()
    for chunk in ("a", "b", "c"):
        log.append(TextDelta(0, chunk))
    assert list(log.read(0)) == [(3, TextDelta(0, "abc"))]
    assert list(log.read(1)) == [(3, TextDelta(0, "bc"))]
    log.append(DONE)
    assert list(log.read(2)) == [(3, TextDelta(0, "c")), (4, DONE)]
    assert list(log.read(4)) == []
    assert log.terminal is DONE


def test_different_parts_are_not_merged() -> None:
    """Deltas of another part, kind or step stand by themselves."""
    events: list[TurnEvent] = [
        StepStarted(1, "m"),
        TextDelta(0, "a"),
        TextDelta(1, "b"),
        ThinkingDelta(1, "c"),
        ToolCallStart(2, "c1", "t"),
        ToolCallDelta(2, "{"),
        ToolCallDelta(2, "}"),
        StepStarted(2, "m"),
        TextDelta(0, "d"),
    ]
    log = TurnLog()
    for event in events:
        log.append(event)
    assert [event for _, event in log.read(0)] == [*events[:5], ToolCallDelta(2, "{}"), *events[7:]]


def test_nothing_follows_the_end() -> None:
    """After its terminal event a log takes nothing more."""
    log = TurnLog()
    log.append(DONE)
    with pytest.raises(ValueError, match="has ended"):
        log.append(TextDelta(0, "x"))


events = st.one_of(
    st.builds(TextDelta, st.integers(0, 1), st.text(max_size=3)),
    st.builds(ToolCallDelta, st.integers(0, 1), st.text(max_size=3)),
    st.builds(StepStarted, st.integers(1, 2), st.just("m")),
)


def _merged(events: list[TurnEvent]) -> list[TurnEvent]:
    """Adjacent deltas of one part as one, by another road than the log's."""
    merged: list[TurnEvent] = []
    for event in events:
        last = merged[-1] if merged else None
        if isinstance(event, TextDelta) and isinstance(last, TextDelta) and last.index == event.index:
            merged[-1] = TextDelta(event.index, last.text + event.text)
        elif (
            isinstance(event, ToolCallDelta) and isinstance(last, ToolCallDelta) and last.index == event.index
        ):
            merged[-1] = ToolCallDelta(event.index, last.arguments + event.arguments)
        else:
            merged.append(event)
    return merged


@given(st.lists(events, max_size=20), st.data())
def test_reading_in_any_pieces_gives_everything_once(given: list[TurnEvent], data: st.DataObject) -> None:
    """However reads and appends interleave, and wherever a reader begins, it gets each event exactly once."""
    log = TurnLog()
    read: list[TurnEvent] = []
    offset = 0
    for event in given:
        log.append(event)
        if data.draw(st.booleans()):
            for following, got in log.read(offset):
                assert following > offset
                offset = following
                read.append(got)
    read += [event for _, event in log.read(offset)]
    assert _merged(read) == _merged(given)
    begin = data.draw(st.integers(0, len(given)))
    assert _merged([event for _, event in log.read(begin)]) == _merged(given[begin:])
    assert log.end == len(given)


def response(text: str, cost: Decimal | None, *calls: ToolCallPart) -> LLMResponse:
    return LLMResponse(
        message=Message(role="assistant", parts=(TextPart(text=text), *calls)),
        finish_reason=FinishReason.STOP,
        usage=Usage(input_tokens=3, output_tokens=2, source=UsageSource.REPORTED),
        cost=cost,
        model="m-1",
        provider="p",
    )


def reply(tally: TurnTally) -> Reply:
    return tally.reply(turn_id="s:1", trace_id="t", session_id="s", model="p/m")


def test_reply_sums_the_turn() -> None:
    """A reply has the last message's text, and calls, usage and cost of the whole turn."""
    call = ToolCallPart(id="c1", name="t", arguments={"a": 1})
    result = ToolResultPart(call_id="c1", content=(TextPart(text="ok"),))
    tally = TurnTally()
    assert tally.step("p/m") == StepStarted(1, "p/m")
    tally.answered(response("let me see", Decimal("0.1"), call))
    tally.returned(result)
    tally.step("p/m")
    tally.answered(response("done", Decimal("0.2")))
    made = reply(tally)
    assert (made.text, made.model, made.steps, made.cost) == ("done", "p/m-1", 2, Decimal("0.3"))
    assert (made.usage.input_tokens, made.usage.source) == (6, UsageSource.REPORTED)
    assert [(item.id, item.result) for item in made.tool_calls] == [("c1", result)]


def test_unknown_cost_stays_unknown() -> None:
    """Where the price of one model call is unknown, the turn's cost is unknown, not too low."""
    tally = TurnTally()
    tally.answered(response("a", Decimal("0.1")))
    tally.answered(response("b", None))
    assert reply(tally).cost is None


def test_large_results_stay_out_of_the_reply() -> None:
    """Results that together outgrow a message are left out of the reply; their calls are not."""
    tally = TurnTally()
    tally.answered(response("a", None, ToolCallPart(id="c1", name="t", arguments={})))
    text = "x" * (REPLY_RESULTS_BYTES + 1)
    tally.returned(ToolResultPart(call_id="c1", content=(TextPart(text=text),)))
    (call,) = reply(tally).tool_calls
    assert (call.id, call.result) == ("c1", None)


def test_log_knows_its_size() -> None:
    """The size of a log grows with its results and its text, so that kept turns can be bounded."""
    log = TurnLog()
    log.append(ToolReturned(ToolResultPart(call_id="c1", content=(TextPart(text="x" * 10_000),))))
    log.append(TextDelta(0, "y" * 5_000))
    log.append(DONE)
    assert 15_000 < log.size < 17_000


def test_requests_cross_the_wire() -> None:
    """What was asked arrives unchanged."""
    request = TurnRequest(
        "s:1", Message.user("hi"), "p/m", 3.5, OutputSchema(json_schema={"type": "object"}), {"seed": 1}
    )
    assert TurnRequest.from_wire(request.to_wire()) == request
    limits = Limits(tokens=9, cost=Decimal("0.1"))
    bounded = replace(request, limits=limits, when_busy="interrupt", waiting=("a", "b"))
    assert TurnRequest.from_wire(bounded.to_wire()) == bounded
    results = Message(role="tool", parts=(ToolResultPart(call_id="c1", content=()),))
    tools = (ToolSpec(name="t", parameters={"type": "object"}),)
    theirs = TurnRequest("s:3", results, more=(Message.user("go on"),), system="Brief.", tools=tools)
    assert TurnRequest.from_wire(theirs.to_wire()) == theirs
    assert theirs.answers == {"c1"}
    plain = TurnRequest("s:2", Message.user("hi"))
    assert TurnRequest.from_wire(plain.to_wire()) == plain
