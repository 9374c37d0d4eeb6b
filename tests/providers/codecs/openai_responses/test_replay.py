from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import TypeAdapter

from llmgine.providers.codecs import OpenAIResponsesCodec, Target
from llmgine.providers.codecs.codec import Encoded
from llmgine.providers.contracts import (
    AnyPart,
    AudioPart,
    Citation,
    ImagePart,
    LLMRequest,
    Message,
    OpaquePart,
    Origin,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

TARGET = Target("openai", "gpt-5")
HERE = Origin(provider="openai", api="openai-responses", model="gpt-5")
SIBLING = Origin(provider="openai", api="openai-responses", model="gpt-4o")
ELSEWHERE = Origin(provider="anthropic", api="anthropic-messages", model="claude")
PARAMS: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsStreaming)


def ask(*messages: Message, **fields: Any) -> LLMRequest:
    return LLMRequest(model="openai/gpt-5", messages=messages, **fields)


def encode(request: LLMRequest) -> Encoded:
    """Encoded; the SDK's own types must take the body."""
    encoded = OpenAIResponsesCodec().encode(request, TARGET)
    drain(PARAMS.validate_python(encoded.body))
    return encoded


def drain(value: Any) -> None:
    """Reads everything of a validated value: what is typed as an iterable is checked only when it is read."""
    if isinstance(value, dict):
        value = value.values()
    if not isinstance(value, str | bytes | int | float | None):
        for inner in value:
            drain(inner)


def items(*messages: Message) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = encode(ask(*messages)).body["input"]
    return found


def notes(encoded: Encoded) -> list[tuple[str, str]]:
    return [(note.field, note.action) for note in encoded.adjustments]


def said(*parts: AnyPart) -> Message:
    return Message(role="assistant", parts=parts)


def result(*content: Any, call_id: str = "c") -> Message:
    return Message(role="tool", parts=(ToolResultPart(call_id=call_id, content=content),))


def test_what_the_model_made_goes_back_as_it_came() -> None:
    """Reasoning, messages, calls and the provider's own items keep ids, order and every sealed byte."""
    search = {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"query": "q"}}
    link = {"type": "url_citation", "url": "https://x", "title": "X", "start_index": 0, "end_index": 2}
    summary = [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}]
    in_message = {"id": "m", "phase": "commentary"}
    reply = said(
        ThinkingPart(
            text="one\n\ntwo", encrypted="gA+/==", origin=HERE, provider_data={"id": "r1", "summary": summary}
        ),
        OpaquePart(kind="web_search_call", data=search, origin=HERE),
        ThinkingPart(text="three", encrypted="x", origin=HERE, provider_data={"id": "r2"}),
        TextPart(text="so", citations=(Citation(raw=link),), origin=HERE, provider_data=in_message),
        OpaquePart(kind="new", data={"type": "new"}, origin=HERE, provider_data=in_message),
        RefusalPart(text="no", origin=HERE, provider_data=in_message),
        TextPart(text="", origin=HERE, provider_data={"id": "n", "status": "incomplete"}),
        ToolCallPart(
            id="c",
            name="f",
            arguments={"a": 1},
            raw_arguments='{"a": 1}',
            origin=HERE,
            provider_data={"id": "fc", "namespace": "n", "created_by": "x"},
        ),
    )
    encoded = OpenAIResponsesCodec().encode(ask(Message.user("q"), reply, result()), TARGET)
    assert encoded.adjustments == ()
    assert encoded.body["input"][1:-1] == [
        {"type": "reasoning", "id": "r1", "summary": summary, "encrypted_content": "gA+/=="},
        search,
        {
            "type": "reasoning",
            "id": "r2",
            "summary": [{"type": "summary_text", "text": "three"}],
            "encrypted_content": "x",
        },
        {
            "type": "message",
            "id": "m",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "so", "annotations": [link]},
                {"type": "new"},
                {"type": "refusal", "refusal": "no"},
            ],
            "phase": "commentary",
        },
        {
            "type": "message",
            "id": "n",
            "role": "assistant",
            "status": "incomplete",
            "content": [{"type": "output_text", "text": "", "annotations": []}],
        },
        {
            "type": "function_call",
            "call_id": "c",
            "name": "f",
            "arguments": '{"a": 1}',
            "id": "fc",
            "namespace": "n",
        },
    ]


def test_another_model_of_the_provider_gets_what_needs_no_reasoning() -> None:
    """Where no reasoning is lost, a turn of another model goes back as it came, too."""
    reply = said(
        TextPart(text="so", origin=SIBLING, provider_data={"id": "m"}),
        OpaquePart(kind="web_search_call", data={"id": "ws"}, origin=SIBLING),
        ToolCallPart(id="c", name="f", arguments={}, origin=SIBLING, provider_data={"id": "fc"}),
    )
    encoded = OpenAIResponsesCodec().encode(ask(Message.user("q"), reply, result()), TARGET)
    assert [item.get("id") for item in encoded.body["input"]] == [None, "m", "ws", "fc", None]
    assert encoded.adjustments == ()


def test_another_model_gets_what_it_can_read() -> None:
    """Without its reasoning a turn goes back without ids, which belong to it; each loss is noted."""
    reply = said(
        ThinkingPart(encrypted="x", origin=SIBLING, provider_data={"id": "r"}),
        OpaquePart(kind="web_search_call", data={"id": "ws"}, origin=SIBLING),
        TextPart(
            text="so ",
            citations=(Citation(url="u"),),
            origin=SIBLING,
            provider_data={"id": "m", "phase": "p"},
        ),
        RefusalPart(text="no", origin=SIBLING, provider_data={"id": "m", "phase": "p"}),
        ToolCallPart(id="c", name="f", arguments={}, origin=SIBLING, provider_data={"id": "fc"}),
    )
    encoded = OpenAIResponsesCodec().encode(ask(Message.user("q"), reply, result()), TARGET)
    assert encoded.body["input"][1:-1] == [
        {"role": "assistant", "content": "so no", "phase": "p"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    ]
    assert notes(encoded) == [
        ("messages[1].parts[0]", "dropped"),
        ("messages[1].parts[1]", "dropped"),
        ("messages[1].parts[2].citations", "dropped"),
        ("messages[1].parts[3]", "changed"),
    ]


def test_foreign_parts_are_converted_or_stay_behind() -> None:
    """What another provider made is sent as text where it is text, and noted where it is not."""
    reply = said(
        ThinkingPart(text="t", signature="s", origin=ELSEWHERE),
        OpaquePart(kind="server_tool_use", data={}, origin=ELSEWHERE),
        TextPart(text="ok", origin=ELSEWHERE, provider_data={"id": "theirs"}),
        AudioPart(data=b"1", transcript="!", origin=ELSEWHERE),
        ImagePart(data=b"1", origin=ELSEWHERE),
        TextPart(text="", origin=ELSEWHERE),
    )
    encoded = encode(ask(Message.user("q"), reply))
    assert encoded.body["input"][1:] == [{"role": "assistant", "content": "ok!"}]
    assert sorted(notes(encoded)) == [
        ("messages[1].parts[0]", "dropped"),
        ("messages[1].parts[1]", "dropped"),
        ("messages[1].parts[3]", "changed"),
        ("messages[1].parts[4]", "dropped"),
    ]


def test_seals_that_stay_behind_are_told() -> None:
    """Text, refusal, speech and call go along without the seal of the model that made them."""
    reply = said(
        TextPart(text="", signature="s", origin=ELSEWHERE),
        RefusalPart(text="no", signature="s", origin=ELSEWHERE),
        AudioPart(data=b"1", transcript="!", signature="s", origin=ELSEWHERE),
        ToolCallPart(id="c", name="f", arguments={}, signature="s", origin=ELSEWHERE),
    )
    encoded = encode(ask(Message.user("q"), reply))
    told = [field for field, _ in notes(encoded) if field.endswith(".signature")]
    assert sorted(told) == [f"messages[1].parts[{position}].signature" for position in range(4)]
    assert '"s"' not in json.dumps(encoded.body)


def test_reasoning_that_only_the_store_knows() -> None:
    """Reasoning without its encrypted content goes back only where answers are stored."""
    reply = said(
        ThinkingPart(text="hm", origin=HERE, provider_data={"id": "r"}),
        TextPart(text="ok", origin=HERE, provider_data={"id": "m"}),
    )
    encoded = encode(ask(Message.user("q"), reply))
    assert encoded.body["input"][1:] == [{"role": "assistant", "content": "ok"}]
    assert notes(encoded) == [("messages[1].parts[0]", "dropped")]
    stored = encode(ask(Message.user("q"), reply, provider_options={"openai": {"store": True}}))
    assert [item.get("id") for item in stored.body["input"]] == [None, "r", "m"]
    assert stored.adjustments == ()


def test_reasoning_that_is_shown_whole_goes_back() -> None:
    """A server of an open model gets the reasoning that it showed."""
    shown = [{"type": "reasoning_text", "text": "hm"}]
    data = {"id": "r", "summary": [], "content": shown}
    _, reasoning, _ = items(
        Message.user("q"), said(ThinkingPart(text="hm", origin=HERE, provider_data=data), TextPart(text="ok"))
    )
    assert reasoning == {"type": "reasoning", "id": "r", "summary": [], "content": shown}


def test_reasoning_that_led_to_nothing_is_left_out() -> None:
    """A turn that was cut off while the model thought does not spoil the conversation."""
    reply = said(TextPart(text="a"), ThinkingPart(encrypted="x", origin=HERE, provider_data={"id": "r"}))
    for rest in ((), (Message.user("go on"),)):
        encoded = encode(ask(Message.user("q"), reply, *rest))
        roles = [item["role"] for item in encoded.body["input"]]
        assert roles == ["user", "assistant", *(message.role for message in rest)]
        assert notes(encoded) == [("messages[1].parts[1]", "dropped")]


def test_custom_calls_and_their_results_have_types_of_their_own() -> None:
    """A custom tool's call is replayed as one, and its result answers it as one."""
    call = ToolCallPart(
        id="c",
        name="shell",
        arguments=None,
        raw_arguments="ls",
        origin=HERE,
        provider_data={"id": "ct", "type": "custom_tool_call"},
    )
    _, sent, answered = items(Message.user("q"), said(call), result(TextPart(text="a.txt")))
    assert sent == {"type": "custom_tool_call", "call_id": "c", "name": "shell", "input": "ls", "id": "ct"}
    assert answered == {"type": "custom_tool_call_output", "call_id": "c", "output": "a.txt"}


def test_long_and_repeated_ids_are_replaced_alike_in_call_and_result() -> None:
    """An id that the server would refuse has one stand-in for the call and its result."""
    long = "x" * 65
    turn = (said(ToolCallPart(id=long, name="no such tool!", arguments={})), result(call_id=long))
    sent = items(*turn, *turn)
    ids = [item["call_id"] for item in sent]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert all(len(id_) <= 64 for id_ in ids)
    assert sent[0]["name"] == "no_such_tool_"
    assert items(*turn) == sent[:2]


ORIGINS = st.sampled_from([None, HERE, SIBLING, ELSEWHERE])
IDS = st.sampled_from([{}, {"id": "one"}, {"id": "two", "phase": "commentary"}])
PARTS: st.SearchStrategy[Any] = st.one_of(
    st.builds(TextPart, text=st.sampled_from(["", "a"]), origin=ORIGINS, provider_data=IDS),
    st.builds(RefusalPart, text=st.just("no"), origin=ORIGINS, provider_data=IDS),
    st.builds(
        ThinkingPart,
        text=st.sampled_from(["", "t"]),
        encrypted=st.sampled_from([None, "e"]),
        origin=ORIGINS,
        provider_data=IDS,
    ),
    st.builds(
        ToolCallPart,
        id=st.sampled_from(["c", "d" * 70]),
        name=st.just("f"),
        arguments=st.just({}),
        origin=ORIGINS,
    ),
    st.builds(
        OpaquePart, kind=st.just("k"), data=st.just({"type": "item_reference", "id": "k"}), origin=ORIGINS
    ),
)
TURNS = st.lists(
    st.tuples(
        st.builds(lambda parts: said(*parts), st.lists(PARTS, max_size=5)),
        st.sampled_from([Message.user("q"), result(TextPart(text="r")), result(call_id="d" * 70)]),
    ),
    max_size=4,
)


@given(TURNS)
def test_a_longer_conversation_begins_with_the_shorter_one(turns: list[tuple[Message, Message]]) -> None:
    """Whatever the history, it is sent in the same bytes each time, and earlier turns never change."""
    messages = (Message.user("start"), *itertools.chain(*turns))
    whole = encode(ask(*messages)).body["input"]
    for length in range(1, len(messages) + 1, 2):
        shorter = encode(ask(*messages[:length])).body["input"]
        assert json.dumps(whole[: len(shorter)]) == json.dumps(shorter)


@given(TURNS)
def test_nothing_is_lost_in_silence(turns: list[tuple[Message, Message]]) -> None:
    """Each part of a reply is in the body, or in a note."""
    for reply, _ in turns:
        encoded = encode(ask(Message.user("q"), reply))
        text = json.dumps(encoded.body["input"])
        noted = {field for field, _ in notes(encoded)}
        for position, part in enumerate(reply.parts):
            if f"messages[1].parts[{position}]" in noted:
                continue
            match part:
                case ThinkingPart():
                    assert '"encrypted_content": "e"' in text
                case ToolCallPart():
                    assert '"function_call"' in text
                case OpaquePart():
                    assert '"item_reference"' in text
                case RefusalPart():
                    assert '"refusal": "no"' in text
                case TextPart(text="a"):
                    assert '"text": "a"' in text or '"content": "' in text
