"""Calls that break after their first token."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.providers.catalogue.profiles import ModelProfile
from llmgine.providers.contracts import (
    Citation,
    LLMRequest,
    Message,
    OutputSchema,
    Reasoning,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.events import (
    Failed,
    PartDone,
    Reset,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)
from llmgine.providers.layers.recovery import Recovery
from tests.providers.inner import COST, Clock, Inner, answer, broken, call, done, drained, failed


def ask(mid_stream: str = "restart", **fields: Any) -> LLMRequest:
    told: dict[str, Any] = {"model": "p/m", "messages": (Message.user("Hi"),), "mid_stream": mid_stream}
    return LLMRequest(**{**told, **fields})


class Stage:
    """A recovery around an inner provider, on a clock of its own; each wait doubles from one second."""

    def __init__(self, *calls: list[StreamEvent], prefill: bool = False, limit: float = 100.0) -> None:
        self.inner = Inner(*calls)
        self.clock = Clock()
        self.recovery = Recovery(
            self.inner,
            limit,
            profile=lambda model: ModelProfile(prefill=prefill),
            backoff=lambda restarts: float(2**restarts),
            sleep=self.clock.sleep,
            clock=self.clock,
        )

    async def play(self, request: LLMRequest) -> list[StreamEvent]:
        return await drained(self.recovery.stream(request, session="s"))


def heard(events: list[StreamEvent]) -> dict[int, str]:
    """What a reader has at the end: the deltas since the last reset, by part."""
    texts: dict[int, str] = {}
    for event in events:
        if isinstance(event, Reset):
            texts.clear()
        elif isinstance(event, TextDelta):
            texts[event.index] = texts.get(event.index, "") + event.text
    return texts


async def test_each_try_has_an_idempotency_key_of_its_own() -> None:
    """The first try carries the caller's key, each later one a key that follows from it."""
    stage = Stage(broken("half"), broken("half"), answer("whole"))
    await stage.play(ask(idempotency_key="k"))
    assert [request.idempotency_key for request in stage.inner.requests] == ["k", "k-2", "k-3"]


async def test_a_call_that_goes_well_is_passed_on() -> None:
    """Nothing is added to a call that does not break."""
    stage = Stage(answer("all good"))
    assert await stage.play(ask()) == answer("all good")
    assert stage.inner.requests == [ask()]
    assert stage.inner.sessions == ["s"]


async def test_restart_begins_anew_after_a_reset() -> None:
    """What was said is taken back, the same request is made again, and the tries are told and summed."""
    stage = Stage(broken("Hello wo"), answer("Hello world"))
    events = await stage.play(ask())
    assert [type(event).__name__ for event in events] == [
        "TextDelta",
        "Reset",
        "TextDelta",
        "PartDone",
        "Done",
    ]
    assert heard(events) == {0: "Hello world"}
    response = done(events)
    assert [attempt.outcome for attempt in response.attempts] == ["connection", "done"]
    assert (response.usage.input_tokens, response.usage.output_tokens) == (20, 5)
    assert response.usage.source is UsageSource.PARTIAL
    assert response.cost is None  # what the broken call cost, nobody knows
    assert stage.clock.slept == [1.0]
    assert stage.inner.requests[1] == ask(deadline=99.0)


async def test_restarts_are_bounded() -> None:
    """After two restarts the call fails with what the last try had said."""
    stage = Stage(broken("a"), broken("b"), broken("c", kind=ErrorKind.TRUNCATED))
    last = failed(await stage.play(ask()))
    assert last.error.kind is ErrorKind.TRUNCATED
    assert last.partial == Message.assistant("c")
    assert [attempt.outcome for attempt in last.attempts] == ["connection", "connection", "truncated"]
    assert last.usage is not None
    assert last.usage.input_tokens == 30
    assert stage.clock.slept == [1.0, 2.0]


async def test_a_failed_restart_counts() -> None:
    """Once restarted, a failure before the first token is ours to retry too, after the time it names."""
    refused = broken(kind=ErrorKind.RATE_LIMIT, status=429, retry_after=7.0)
    stage = Stage(broken("a"), refused, answer("b"))
    events = await stage.play(ask())
    assert done(events).text == "b"
    assert sum(isinstance(event, Reset) for event in events) == 1
    assert stage.clock.slept == [1.0, 7.0]


@pytest.mark.parametrize(
    ("request_", "call_"),
    [
        (ask("fail"), broken("a")),
        (ask("restart"), broken(kind=ErrorKind.RATE_LIMIT, status=429)),
        (ask("restart"), broken("a", kind=ErrorKind.CONTENT_FILTER)),
        (ask("restart", deadline=5.0), broken("a", retry_after=5.0)),
        (ask("restart"), broken("a", retry_after=200.0)),
    ],
)
async def test_what_is_not_restarted(request_: LLMRequest, call_: list[StreamEvent]) -> None:
    """Without leave, before the first token, for good reasons or beyond the deadline a failure stands."""
    stage = Stage(list(call_))
    assert await stage.play(request_) == call_
    assert stage.clock.slept == []


async def test_continue_goes_on_in_the_same_part() -> None:
    """The model is shown what it had said; its next words belong to the same part, and nothing is reset."""
    stage = Stage(broken("Hello wo"), answer("rld, again"))
    events = await stage.play(ask("continue"))
    assert not any(isinstance(event, Reset) for event in events)
    assert heard(events) == {0: "Hello world, again"}
    response = done(events)
    assert response.message.parts == (TextPart(text="Hello world, again"),)
    assert [event.part for event in events if isinstance(event, PartDone)] == list(response.message.parts)
    assert [note.field for note in response.adjustments] == ["mid_stream"]
    assert response.usage.input_tokens == 20
    first, second, told = stage.inner.requests[1].messages
    assert (first, second) == (Message.user("Hi"), Message.assistant("Hello wo"))
    assert "exactly where it stopped" in told.text


async def test_continue_by_prefill() -> None:
    """Where the model takes a begun answer it gets one, without the white space that none may end in."""
    stage = Stage(broken("Hello \n"), answer(" \nworld"), prefill=True)
    stage_two = Stage(broken("Hello "), answer(" world"), prefill=True)
    assert heard(await stage_two.play(ask("continue"))) == {0: "Hello world"}
    assert stage_two.inner.requests[1].messages == (Message.user("Hi"), Message.assistant("Hello"))
    events = await stage.play(ask("continue"))
    assert done(events).text == heard(events)[0]


async def test_a_prefill_without_its_last_part() -> None:
    """A last part of white space alone is not sent back."""
    stage = Stage(broken("a", " "), answer("b"), prefill=True)
    assert heard(await stage.play(ask("continue"))) == {0: "a", 1: " b"}
    assert stage.inner.requests[1].messages[1] == Message.assistant("a")


async def test_a_thinking_model_takes_no_prefill() -> None:
    """A model that is told to think is asked in words to go on."""
    stage = Stage(broken("a"), answer("b"), prefill=True)
    await stage.play(ask("continue", reasoning=Reasoning(effort="low")))
    assert stage.inner.requests[1].messages[-1].role == "user"


async def test_continue_twice() -> None:
    """Each piece goes on with all that was said before it; a failure tells the whole of it."""
    stage = Stage(broken("a"), broken("b"), answer("c"))
    events = await stage.play(ask("continue"))
    assert heard(events) == {0: "abc"}
    assert done(events).text == "abc"
    assert stage.inner.requests[2].messages[1] == Message.assistant("ab")
    gone = Stage(broken("a"), broken("b"), broken())
    last = failed(await gone.play(ask("continue")))
    assert last.partial == Message.assistant("ab")
    assert last.error.phase is ErrorPhase.MID_STREAM


async def test_continue_with_nothing_more() -> None:
    """A piece that says nothing leaves what was said as it was, whether it fails or not."""
    stage = Stage(broken("a"), broken(), answer())
    events = await stage.play(ask("continue"))
    assert [event.part for event in events if isinstance(event, PartDone)] == [TextPart(text="a")]
    assert done(events).message == Message.assistant("a")
    assert stage.inner.requests[2].messages[1] == Message.assistant("a")


async def test_continue_with_new_parts() -> None:
    """Parts after the broken text are new ones; so is a text that thinking comes before."""
    stage = Stage(broken("a"), answer("b", call("t", {})))
    events = await stage.play(ask("continue"))
    parts = done(events).message.parts
    assert [part.type for part in parts] == ["text", "tool_call"]
    assert [(event.index, event.part) for event in events if isinstance(event, PartDone)] == list(
        enumerate(parts)
    )
    stage = Stage(broken("a"), answer(ThinkingPart(text="hm"), "b"))
    events = await stage.play(ask("continue"))
    parts = done(events).message.parts
    assert [part.type for part in parts] == ["text", "thinking", "text"]
    assert [(event.index, event.part) for event in events if isinstance(event, PartDone)] == list(
        enumerate(parts)
    )


async def test_continue_keeps_citations_in_place() -> None:
    """Citations of the second piece point into the whole text."""
    cited = TextPart(
        text="def", citations=(Citation(start=0, end=3), Citation(url="u")), signature="of this piece only"
    )
    stage = Stage(broken("abc"), answer(cited))
    (part,) = done(await stage.play(ask("continue"))).message.parts
    assert part == TextPart(text="abcdef", citations=(Citation(start=3, end=6), Citation(url="u")))


@pytest.mark.parametrize(
    ("partial", "more"),
    [
        ((ThinkingPart(text="hm"), "a"), {}),
        ((ThinkingPart(text="hm"),), {}),
        ((" \n",), {}),
        (("a",), {"output": OutputSchema(json_schema={"type": "object"})}),
    ],
)
async def test_continue_restarts_what_it_cannot_go_on_with(
    partial: tuple[Any, ...], more: dict[str, Any]
) -> None:
    """Only text alone is gone on with, and no JSON that a grammar made; all else begins anew."""
    stage = Stage(broken(*partial), answer("whole"))
    events = await stage.play(ask("continue", **more))
    assert any(isinstance(event, Reset) for event in events)
    assert done(events).text == "whole"
    assert done(events).adjustments == ()
    assert stage.inner.requests[1].messages == ask().messages


SEALED = (
    Message.user("Hi"),
    Message(
        role="assistant",
        parts=(
            ThinkingPart(text="hm", signature="seal"),
            TextPart(text="hello", signature="seal"),
            ToolCallPart(id="c", name="t", arguments={}),
        ),
    ),
    Message(role="assistant", parts=(ThinkingPart(encrypted="x"),)),
    Message.user("and?"),
)


async def test_refused_signatures_are_left_out_once() -> None:
    """A history whose seals are refused is sent once more without them, which the response tells."""
    refused = broken(kind=ErrorKind.INVALID_REQUEST, status=400, code="signature_invalid")
    stage = Stage(refused, answer("ok"))
    response = done(await stage.play(ask("fail", messages=SEALED)))
    assert [note.field for note in response.adjustments] == ["messages"]
    assert [attempt.outcome for attempt in response.attempts] == ["invalid_request", "done"]
    assert response.cost == COST  # a refused request costs nothing
    sent = stage.inner.requests[1].messages
    kinds = [[part.type for part in message.parts] for message in sent]
    assert kinds == [["text"], ["text", "tool_call"], ["text"]]
    assert all(part.signature is None for message in sent for part in message.parts)
    stubborn = Stage(refused, refused)
    assert failed(await stubborn.play(ask("fail", messages=SEALED))).error.code == "signature_invalid"
    assert len(stubborn.inner.requests) == 2


async def test_no_seals_no_second_try() -> None:
    """Where nothing could be left out the refusal stands, and so does one after the first token."""
    refused = broken(kind=ErrorKind.INVALID_REQUEST, status=400, code="signature_invalid")
    stage = Stage(refused)
    assert failed(await stage.play(ask("fail"))).attempts == ()
    late = Stage(broken("a", kind=ErrorKind.INVALID_REQUEST, code="signature_invalid"))
    assert failed(await late.play(ask("fail", messages=SEALED))).error.phase is ErrorPhase.MID_STREAM


async def test_closing_reaches_the_inner_stream_at_once() -> None:
    """A reader that leaves ends the inner call before `aclose` returns."""
    stage = Stage(answer("a b c"))
    source = stage.recovery.stream(ask())
    await anext(source)
    assert stage.inner.closed == 0
    await source.aclose()
    assert stage.inner.closed == 1


@given(st.text(min_size=1), st.lists(st.integers(min_value=1, max_value=8), max_size=2), st.booleans())
async def test_any_break_gives_the_whole_text(text: str, cuts: list[int], prefill: bool) -> None:
    """Wherever a text breaks, a model that goes on where it stopped makes the whole of it."""
    pieces, rest = [], text
    for cut in cuts:
        if len(rest) > cut and rest[:cut].strip():
            pieces.append(rest[:cut])
            rest = rest[cut:]
    stage = Stage(*(broken(piece) for piece in pieces), answer(rest), prefill=prefill)
    events = await stage.play(ask("continue"))
    if prefill:  # the white space at the end of a piece may be said twice, and is then left out once
        assert done(events).text == heard(events)[0]
    else:
        assert done(events).text == heard(events)[0] == text


async def test_a_refusal_that_goes_on_with_a_text() -> None:
    """What was heard as one part is one part, though the model declines in the midst of it."""
    stage = Stage(broken("Well, "), answer(RefusalPart(text="no.")))
    events = await stage.play(ask("continue"))
    assert heard(events) == {0: "Well, no."}
    assert done(events).message.parts == (RefusalPart(text="Well, no."),)


async def test_white_space_is_left_out_within_a_text_alone() -> None:
    """A text that does not go on with the broken one keeps its beginning."""
    stage = Stage(broken("a "), answer(ThinkingPart(text="hm"), " b"), prefill=True)
    events = await stage.play(ask("continue"))
    assert heard(events) == {0: "a ", 2: " b"}
    assert [part.type for part in done(events).message.parts] == ["text", "thinking", "text"]


async def test_a_half_written_call_is_not_lost() -> None:
    """A call that breaks off in a later piece is in what is given up, after the text before it."""
    half = call("t", None, '{"a')
    error = failed(broken("x")).error
    last = Failed(error, Message(role="assistant", parts=(half,)))
    begun: list[StreamEvent] = [ToolCallStart(0, "c1", "t"), ToolCallDelta(0, '{"a'), last]
    stage = Stage(broken("a"), begun, broken("b"), broken("c"))
    events = await stage.play(ask("continue", deadline=2.0))
    partial = failed(events).partial
    assert partial is not None
    assert partial.parts == (TextPart(text="a"), half)


_TEXTS = st.sampled_from(["a", "b ", " ", "", "xyz"])
_PARTS = st.one_of(
    st.builds(TextPart, text=_TEXTS),
    st.builds(ThinkingPart, text=_TEXTS),
    st.builds(RefusalPart, text=_TEXTS),
    st.just(call("t", {}, "{}")),
)


@given(
    st.lists(st.tuples(st.lists(_PARTS, max_size=3), st.integers(min_value=0, max_value=8)), max_size=2),
    st.lists(_PARTS, max_size=3),
    st.sampled_from(["restart", "continue"]),
    st.booleans(),
)
async def test_what_was_heard_is_the_answer(
    pieces: list[tuple[list[Any], int]], whole: list[Any], policy: str, prefill: bool
) -> None:
    """Since the last reset, deltas and finished parts make up the response, however the calls broke."""
    calls = [_cut(answer(*parts)[:-1], at) for parts, at in pieces]
    events = await Stage(*calls, answer(*whole), prefill=prefill).play(ask(policy))
    if isinstance(events[-1], Failed):  # it broke before its first token, which is the caller's to retry
        return
    response = done(events)
    after = max((at for at, event in enumerate(events) if isinstance(event, Reset)), default=-1) + 1
    finished = [event for event in events[after:] if isinstance(event, PartDone)]
    assert [event.part for event in sorted(finished, key=_index)] == list(response.message.parts)
    texts = {
        event.index: event.part.text
        for event in finished
        if isinstance(event.part, TextPart | RefusalPart) and event.part.text
    }
    assert heard(events[after:]) == texts


def _index(event: PartDone) -> int:
    return event.index


def _cut(events: list[StreamEvent], at: int) -> list[StreamEvent]:
    """A call that breaks after so many events, told with the texts and parts that had come."""
    kept, parts = events[:at], dict[int, Any]()
    for event in kept:
        if isinstance(event, PartDone):
            parts[event.index] = event.part
        elif isinstance(event, TextDelta):
            parts[event.index] = TextPart(text=event.text)
        elif isinstance(event, ThinkingDelta):
            parts[event.index] = ThinkingPart(text=event.text)
    phase = ErrorPhase.MID_STREAM if kept else ErrorPhase.PRE_TOKEN
    error = ProviderError("it broke", kind=ErrorKind.CONNECTION, phase=phase)
    return [*kept, Failed(error, Message(role="assistant", parts=tuple(parts.values())) if parts else None)]
