from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest

from llmgine.providers.codecs import OpenAIResponsesCodec, Target
from llmgine.providers.contracts import (
    Citation,
    FinishReason,
    LLMResponse,
    OpaquePart,
    Origin,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    UsageSource,
)
from llmgine.providers.events import (
    Done,
    Failed,
    PartDone,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)

TARGET = Target("openai", "gpt-5")
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 15,
}
Frame = dict[str, Any] | bytes


def codec() -> OpenAIResponsesCodec:
    numbers = itertools.count(1)
    return OpenAIResponsesCodec(new_id=lambda: f"made_{next(numbers)}")


def frame(kind: str, place: int | None = None, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}"} | ({} if place is None else {"output_index": place}) | fields


def added(place: int, kind: str, **fields: Any) -> dict[str, Any]:
    return frame("output_item.added", place, item={"type": kind, "status": "in_progress", **fields})


def done(place: int, kind: str, **fields: Any) -> dict[str, Any]:
    return frame("output_item.done", place, item={"type": kind, "status": "completed", **fields})


def text(words: str, place: int = 0) -> dict[str, Any]:
    return frame("output_text.delta", place, content_index=0, delta=words, logprobs=[])


def content(words: str, **fields: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": words, "annotations": [], **fields}


def end(status: str = "completed", output: Iterable[Any] = (), **fields: Any) -> dict[str, Any]:
    response = {"id": "r1", "model": "gpt-5-2025", "status": status, "output": list(output), **fields}
    return frame(status, response=response)


def play(frames: Iterable[Frame]) -> list[StreamEvent]:
    decoder = codec().decoder(TARGET)
    events: list[StreamEvent] = []
    for one in frames:
        events += decoder.feed("", one if isinstance(one, bytes) else json.dumps(one).encode())
    return events + decoder.end()


def response(*frames: Frame) -> LLMResponse:
    last = play(frames)[-1]
    assert isinstance(last, Done), last
    return last.response


def test_text_and_usage() -> None:
    """Deltas, the whole part, then the response with served model, ids, usage and extras."""
    events = play(
        [
            frame(
                "created",
                response={"id": "r1", "model": "gpt-5-2025", "instructions": "be kind", "output": []},
            ),
            frame("in_progress", response={"id": "r1", "model": "gpt-5-2025", "output": []}),
            added(0, "message", id="m1", role="assistant", content=[], phase="final_answer"),
            frame("content_part.added", 0, content_index=0, part=content("")),
            text("Hel"),
            text("lo"),
            frame("output_text.done", 0, content_index=0, text="Hello"),
            frame("content_part.done", 0, content_index=0, part=content("Hello")),
            done(0, "message", id="m1", role="assistant", content=[content("Hello")], phase="final_answer"),
            end(output=[], usage=USAGE, service_tier="default", instructions="be kind"),
        ]
    )
    part = TextPart(
        text="Hello",
        origin=Origin(provider="openai", api="openai-responses", model="gpt-5"),
        provider_data={"id": "m1", "phase": "final_answer"},
    )
    last = events.pop()
    assert events == [TextDelta(0, "Hel"), TextDelta(0, "lo"), PartDone(0, part)]
    assert isinstance(last, Done)
    answer = last.response
    assert answer.message.parts == (part,)
    assert (answer.finish_reason, answer.finish_reason_raw) == (FinishReason.STOP, "completed")
    assert (answer.model, answer.provider, answer.response_id) == ("gpt-5-2025", "openai", "r1")
    usage = answer.usage
    assert (usage.input_tokens, usage.output_tokens) == (10, 5)
    assert (usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens) == (4, 3, 2)
    assert (usage.source, usage.raw) == (UsageSource.REPORTED, USAGE)
    assert answer.provider_data == {"service_tier": "default"}


def test_missing_usage_is_absent() -> None:
    """Usage that never came is marked, not guessed."""
    assert response(text("a"), end(usage=None)).usage.source is UsageSource.ABSENT


def test_calls_have_the_id_that_results_name() -> None:
    """A call goes by its call id; the item's own id and what else it says are kept beside it."""
    events = play(
        [
            added(0, "function_call", id="fc1", call_id="c1", name="weather", arguments=""),
            frame("function_call_arguments.delta", 0, delta='{"city": '),
            added(1, "function_call", id="fc2", call_id="c2", name="time", arguments="", namespace="n"),
            frame("function_call_arguments.delta", 1, delta="{}"),
            frame("function_call_arguments.delta", 0, delta='"Köln"}'),
            frame("function_call_arguments.done", 0, arguments='{"city": "Köln"}'),
            done(0, "function_call", id="fc1", call_id="c1", name="weather", arguments='{"city": "Köln"}'),
            end(),
        ]
    )
    assert events[:5] == [
        ToolCallStart(0, "c1", "weather"),
        ToolCallDelta(0, '{"city": '),
        ToolCallStart(1, "c2", "time"),
        ToolCallDelta(1, "{}"),
        ToolCallDelta(0, '"Köln"}'),
    ]
    last = events[-1]
    assert isinstance(last, Done)
    answer = last.response
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert [(call.id, call.name, call.arguments, call.provider_data) for call in answer.tool_calls] == [
        ("c1", "weather", {"city": "Köln"}, {"id": "fc1"}),
        ("c2", "time", {}, {"id": "fc2", "namespace": "n"}),
    ]


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(
            [
                added(0, "function_call", id="fc", call_id="c", name="f", arguments=""),
                frame("function_call_arguments.done", 0, arguments='{"a":1}'),
                end(),
            ],
            id="no deltas",
        ),
        pytest.param(
            [
                added(0, "function_call", id="fc", call_id="c", name="f", arguments=""),
                frame("function_call_arguments.delta", 0, delta='{"a"'),
                done(0, "function_call", id="fc", call_id="c", name="f", arguments='{"a":1}'),
                end(),
            ],
            id="not all deltas",
        ),
        pytest.param(
            [done(0, "function_call", id="fc", call_id="c", name="f", arguments='{"a":1}'), end()],
            id="no beginning",
        ),
        pytest.param(
            [end(output=[{"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'}])],
            id="nothing but the end",
        ),
        pytest.param(
            [end(output=[{"type": "function_call", "id": "c", "name": "f", "arguments": {"a": 1}}])],
            id="arguments as object, one id for all",
        ),
        pytest.param(
            [
                frame("function_call_arguments.delta", 0, delta='{"a"'),
                done(0, "function_call", id="fc", call_id="c", name="f", arguments='{"a":1}'),
                end(),
            ],
            id="deltas before the beginning",
        ),
    ],
)
def test_calls_of_every_shape(frames: list[Frame]) -> None:
    """Whatever a server leaves out, the call comes out once and whole."""
    events = play(frames)
    last = events[-1]
    assert isinstance(last, Done)
    (call,) = last.response.tool_calls
    assert (call.id, call.name, call.arguments, call.id_source) == ("c", "f", {"a": 1}, "provider")
    assert "".join(event.arguments for event in events if isinstance(event, ToolCallDelta)) == '{"a":1}'


def test_a_call_without_any_id_gets_one() -> None:
    """A call must be answerable, so one without an id is named here, and says so."""
    (call,) = response(end(output=[{"type": "function_call", "name": "f", "arguments": ""}])).tool_calls
    assert (call.id, call.id_source, call.arguments) == ("made_1", "synthesised", {})


def test_a_custom_call_takes_text() -> None:
    """A custom tool's input is no JSON; it is kept as it came."""
    answer = response(
        added(0, "custom_tool_call", id="ct", call_id="c", name="shell", input=""),
        frame("custom_tool_call_input.delta", 0, delta="ls "),
        frame("custom_tool_call_input.delta", 0, delta="-l"),
        frame("custom_tool_call_input.done", 0, input="ls -l"),
        done(0, "custom_tool_call", id="ct", call_id="c", name="shell", input="ls -l"),
        end(),
    )
    (call,) = answer.tool_calls
    assert (call.name, call.arguments, call.raw_arguments) == ("shell", None, "ls -l")
    assert call.provider_data == {"id": "ct", "type": "custom_tool_call"}


def test_reasoning_summaries_are_one_part_with_what_is_encrypted() -> None:
    """Summaries are joined by blank lines; the encrypted reasoning is that of the finished item."""
    summary = [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}]
    events = play(
        [
            added(0, "reasoning", id="rs", summary=[], encrypted_content="early"),
            frame(
                "reasoning_summary_part.added", 0, summary_index=0, part={"type": "summary_text", "text": ""}
            ),
            frame("reasoning_summary_text.delta", 0, summary_index=0, delta="o"),
            frame("reasoning_summary_text.delta", 0, summary_index=0, delta="ne"),
            frame("reasoning_summary_text.done", 0, summary_index=0, text="one"),
            frame("reasoning_summary_part.done", 0, summary_index=0, part=summary[0]),
            frame("reasoning_summary_text.delta", 0, summary_index=1, delta="two"),
            done(0, "reasoning", id="rs", summary=summary, encrypted_content="final"),
            text("ok", 1),
            end(output=[{"type": "reasoning", "id": "rs", "summary": summary, "encrypted_content": "again"}]),
        ]
    )
    thoughts = [event.text for event in events if isinstance(event, ThinkingDelta)]
    assert thoughts == ["o", "ne", "\n\ntwo"]
    last = events[-1]
    assert isinstance(last, Done)
    thinking, said = last.response.message.parts
    assert isinstance(thinking, ThinkingPart)
    assert (thinking.text, thinking.encrypted) == ("one\n\ntwo", "final")
    assert thinking.provider_data == {"id": "rs", "summary": summary, "content": []}
    assert said.type == "text"
    assert "unknown_events" not in last.response.provider_data


def test_reasoning_that_is_shown_whole() -> None:
    """Servers of open models show the reasoning itself; missing deltas are taken from the item."""
    shown = [{"type": "reasoning_text", "text": "hmm"}]
    answer = response(
        added(0, "reasoning", id="rs", summary=[]),
        frame("reasoning_text.delta", 0, content_index=0, delta="hm"),
        frame("reasoning_text.delta", 0, content_index=0, delta="m"),
        frame("reasoning_text.done", 0, content_index=0, text="hmm"),
        done(0, "reasoning", id="rs", summary=[], content=shown),
        done(1, "reasoning", id="r2", summary=[{"type": "summary_text", "text": "short"}]),
        done(2, "message", id="m", content=[content("ok")]),
        end(),
    )
    first, second, _ = answer.message.parts
    assert isinstance(first, ThinkingPart)
    assert isinstance(second, ThinkingPart)
    assert (first.text, first.provider_data["content"]) == ("hmm", shown)
    assert (second.text, second.provider_data) == ("short", {"id": "r2"})


def test_refusal() -> None:
    """A refusal is its own part and its own reason."""
    frames = [
        added(0, "message", id="m", content=[]),
        frame("content_part.added", 0, content_index=0, part={"type": "refusal", "refusal": ""}),
        frame("refusal.delta", 0, content_index=0, delta="No"),
        frame("refusal.delta", 0, content_index=0, delta="."),
        frame("refusal.done", 0, content_index=0, refusal="No."),
        done(0, "message", id="m", content=[{"type": "refusal", "refusal": "No."}]),
        end(),
    ]
    answer = response(*frames)
    assert [event for event in play(frames) if isinstance(event, TextDelta)] == [
        TextDelta(0, "No"),
        TextDelta(0, "."),
    ]
    (part,) = answer.message.parts
    assert isinstance(part, RefusalPart)
    assert part.text == "No."
    assert (answer.finish_reason, answer.finish_reason_raw) == (FinishReason.REFUSAL, "completed")


def test_annotations_become_citations() -> None:
    """What a text rests on is told with its place in the text, and kept as it came."""
    link = {"type": "url_citation", "url": "https://x", "title": "X", "start_index": 0, "end_index": 2}
    file = {"type": "file_citation", "file_id": "f", "filename": "a.pdf", "index": 3}
    answer = response(
        added(0, "message", id="m", content=[]),
        text("so"),
        frame("output_text.annotation.added", 0, content_index=0, annotation_index=0, annotation=link),
        done(0, "message", id="m", content=[content("so", annotations=[link, file])]),
        end(),
    )
    (part,) = answer.message.parts
    assert isinstance(part, TextPart)
    assert part.citations == (
        Citation(url="https://x", title="X", start=0, end=2, raw=link),
        Citation(title="a.pdf", raw=file),
    )
    (early,) = play(
        [
            text(""),
            frame("output_text.annotation.added", 0, content_index=0, annotation_index=0, annotation=link),
        ]
    )[1:]
    assert isinstance(early, Failed)
    assert early.partial is not None
    (part,) = early.partial.parts
    assert isinstance(part, TextPart)
    assert [citation.raw for citation in part.citations] == [link]


def test_what_is_null_or_left_out_breaks_nothing() -> None:
    """Fields without a value, as compatible servers send them, do not cost the answer."""
    answer = response(
        frame("created", response=None),
        added(0, "reasoning", id="rs", summary=None),
        done(
            0, "reasoning", id="rs", summary=[{"type": "summary_text"}], content=None, encrypted_content=None
        ),
        added(1, "message", id="m", content=None, phase=None),
        text("so", 1),
        frame("output_text.annotation.added", 1, content_index=0, annotation=None),
        done(1, "message", id="m", content=[content("so", annotations=None, logprobs=None)], phase=None),
        frame("completed", response={"output": None, "usage": None, "incomplete_details": None}),
    )
    assert (answer.text, answer.finish_reason, answer.model) == ("so", FinishReason.STOP, "gpt-5")
    assert answer.message.parts[-1].provider_data == {"id": "m"}
    assert answer.provider_data == {}


def test_tools_of_the_provider_are_kept_whole() -> None:
    """An item of another type is an opaque part in its place, and frames about it are no surprise."""
    search = {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"query": "q"}}
    answer = response(
        added(0, "web_search_call", id="ws"),
        frame("web_search_call.in_progress", 0, item_id="ws"),
        frame("web_search_call.searching", 0, item_id="ws"),
        frame("output_item.done", 0, item=search),
        added(1, "message", id="m", content=[]),
        text("found", 1),
        end(),
    )
    opaque, said = answer.message.parts
    assert isinstance(opaque, OpaquePart)
    assert (opaque.kind, opaque.data) == ("web_search_call", search)
    assert isinstance(said, TextPart)
    assert answer.finish_reason is FinishReason.STOP
    assert answer.provider_data == {}


def test_content_that_is_not_known_is_kept_within_its_message() -> None:
    """A message's content of another type is an opaque part that knows its message."""
    sound = {"type": "output_sound", "data": "zz"}
    answer = response(done(0, "message", id="m", content=[content("a"), sound]), end())
    said, opaque = answer.message.parts
    assert isinstance(said, TextPart)
    assert isinstance(opaque, OpaquePart)
    assert (opaque.kind, opaque.data, opaque.provider_data) == ("output_sound", sound, {"id": "m"})


def test_unknown_events_and_logprobs_are_kept() -> None:
    """What has no place in the reply stands in `provider_data`."""
    surprise = {"type": "response.surprise", "x": 1}
    whole = {"type": "message", "id": "m", "content": [content("a", logprobs=[{"token": "a"}])]}
    frames = (surprise, {"type": "keepalive"}, frame("output_item.done", 0, item=whole), text("late"))
    data = response(*frames, end(output=[whole])).provider_data
    assert data == response(*frames, end()).provider_data
    assert [event["data"]["type"] for event in data["unknown_events"]] == [
        "response.surprise",
        "response.output_text.delta",
    ]
    assert data["logprobs"] == {"content": [{"token": "a"}]}


def test_a_message_keeps_its_place_before_a_later_call() -> None:
    """Parts stand in the order of their items, even where a later item is filled first."""
    answer = response(
        added(0, "message", id="m", content=[]),
        added(1, "function_call", id="fc", call_id="c", name="f", arguments=""),
        frame("function_call_arguments.delta", 1, delta="{}"),
        text("so", 0),
        end(),
    )
    assert [part.type for part in answer.message.parts] == ["text", "tool_call"]


def test_items_whose_id_changes_come_once() -> None:
    """A server that names an item anew each time does not make its text come twice."""
    answer = response(
        added(0, "reasoning", id="a1", summary=[]),
        added(1, "message", id="a2", content=[]),
        text("once", 1),
        added(2, "message", id="a3", content=[]),
        end(
            output=[
                {"type": "message", "id": "b2", "content": [content("once")]},
                {"type": "message", "id": "b3", "content": [content(", twice")]},
                {"type": "message", "id": "b4", "content": [content(", thrice")]},
            ]
        ),
    )
    assert answer.text == "once, twice, thrice"
    assert [part.provider_data["id"] for part in answer.message.parts[1:]] == ["b2", "b3", "b4"]


def test_one_place_for_all_items() -> None:
    """A server that gives every item the same place is read by their order."""
    answer = response(
        added(0, "reasoning", id="rs", summary=[]),
        done(0, "message", id="m1", content=[content("a")]),
        done(0, "message", id="m2", content=[content("b")]),
        end(),
    )
    assert [getattr(part, "text", "") for part in answer.message.parts] == ["", "a", "b"]


def test_what_was_shown_holds() -> None:
    """What a reader has seen is not changed by an end that says otherwise."""
    refusal = {"type": "refusal", "refusal": "no"}
    answer = response(
        text("so it is", 0),
        done(0, "message", id="m1", content=[content("so it was, and is")]),
        text("yes", 1),
        done(1, "message", id="m2", content=[refusal]),
        added(2, "function_call", call_id="c", name="f"),
        frame("function_call_arguments.delta", 2, delta="{}"),
        done(2, "function_call", call_id="d", name="g", arguments="{}"),
        end(output=[{"type": "message", "id": "m1", "content": [content("so it is, and was")]}]),
    )
    first, second, call = answer.message.parts
    assert isinstance(first, TextPart)
    assert isinstance(second, TextPart)
    assert isinstance(call, ToolCallPart)
    assert (first.text, second.text, call.id, call.name) == ("so it is", "yes", "c", "f")
    assert first.provider_data == {"id": "m1"}


def test_frames_without_a_place_go_by_id() -> None:
    """A server that leaves out `output_index` is read by the ids of its items."""
    answer = response(
        {"type": "response.output_item.added", "item": {"type": "message", "id": "m", "content": []}},
        {"type": "response.output_text.delta", "item_id": "m", "delta": "ok"},
        {
            "type": "response.output_item.done",
            "item": {"type": "message", "id": "m", "content": [content("ok")]},
        },
        end(output=[{"type": "message", "id": "m", "content": [content("ok")]}]),
    )
    assert answer.text == "ok"
