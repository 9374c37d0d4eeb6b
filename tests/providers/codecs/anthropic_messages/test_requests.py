from __future__ import annotations

import json
from typing import Any

import pytest

from llmgine.providers.codecs import AnthropicMessagesCodec, Target
from llmgine.providers.contracts import (
    AudioPart,
    ImagePart,
    LLMRequest,
    Message,
    NamedTool,
    OpaquePart,
    Origin,
    OutputSchema,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, InvalidRequest, ProviderError

TARGET = Target("anthropic", "claude-x")


ORIGIN = Origin(provider="anthropic", api="anthropic-messages", model="claude-x")


CODEC = AnthropicMessagesCodec(new_id=lambda: "made")


WEATHER = ToolSpec(name="weather", parameters={"type": "object", "properties": {}})


CLOSED = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}


def ask(*messages: Message, **fields: Any) -> LLMRequest:
    return LLMRequest(model="anthropic/claude-x", messages=messages or (Message.user("hi"),), **fields)


def encode(request: LLMRequest) -> dict[str, Any]:
    return CODEC.encode(request, TARGET).body


def assistant(*parts: Any) -> Message:
    return Message(role="assistant", parts=parts)


def test_body_order_and_settings() -> None:
    """The body has fixed field order, a limit, and always asks for a stream."""
    request = ask(
        Message.system("second"),
        Message.user("hi"),
        system="first",
        tools=(WEATHER,),
        tool_choice=NamedTool(name="weather"),
        parallel_tool_calls=False,
        output=OutputSchema(json_schema=CLOSED),
        temperature=0.5,
        top_p=0.9,
        stop=("END",),
        provider_options={
            "anthropic": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}
        },
    )
    encoded = CODEC.encode(request, TARGET)
    assert encoded.adjustments == ()
    assert json.dumps(encoded.body) == json.dumps(
        {
            "model": "claude-x",
            "max_tokens": 16000,
            "system": [{"type": "text", "text": "first"}, {"type": "text", "text": "second"}],
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            "tools": [{"name": "weather", "input_schema": WEATHER.parameters}],
            "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
            "output_config": {
                "format": {"type": "json_schema", "schema": CLOSED},
                "effort": "low",
            },
            "temperature": 0.5,
            "top_p": 0.9,
            "stop_sequences": ["END"],
            "stream": True,
            "thinking": {"type": "adaptive"},
        }
    )
    assert encode(ask(system="s", max_output_tokens=5))["max_tokens"] == 5
    assert encode(ask(system="s"))["system"] == "s"


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({}, None),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
    ],
)
def test_tool_choice(fields: dict[str, Any], choice: Any) -> None:
    """Each choice takes the protocol's form."""
    assert encode(ask(tools=(WEATHER,), **fields)).get("tool_choice") == choice


@pytest.mark.parametrize(
    ("field", "value"),
    [("seed", 4), ("temperature", 1.5), ("presence_penalty", 0.5), ("frequency_penalty", 0.5)],
)
def test_what_the_protocol_cannot_do(field: str, value: Any) -> None:
    """It is an error that names the field, or with leave to adjust a note."""
    with pytest.raises(ProviderError, match=field) as caught:
        encode(ask(**{field: value}))
    assert (caught.value.kind, caught.value.phase) == (ErrorKind.UNSUPPORTED, ErrorPhase.REQUEST)
    encoded = CODEC.encode(ask(on_unsupported="adjust", **{field: value}), TARGET)
    assert field not in encoded.body
    assert [(note.field, note.action) for note in encoded.adjustments] == [(field, "dropped")]


def test_tool_conversation_with_images() -> None:
    """Results of one turn are blocks of one user message, with what the user says next."""
    png = ImagePart(data=b"\x00")
    source = {"type": "base64", "media_type": "image/png", "data": "AA=="}
    request = ask(
        Message(role="user", parts=(TextPart(text="look"), png, ImagePart(url="https://x/y.png"))),
        assistant(
            TextPart(text=""),
            ToolCallPart(id="a", name="f", arguments={"x": 1}),
            ToolCallPart(id="b", name="g", arguments={}),
        ),
        Message(role="tool", parts=(ToolResultPart(call_id="a", content=(TextPart(text="1"),)),)),
        Message(
            role="tool",
            parts=(ToolResultPart(call_id="b", content=(TextPart(text="2"), png)),),
        ),
        Message.user("and?"),
        Message.system("aside"),
        Message.user("data url"),
        Message(role="user", parts=(ImagePart(url="data:image/gif;base64,AA=="),)),
    )
    assert encode(request)["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image", "source": source},
                {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "b", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "1"},
                {
                    "type": "tool_result",
                    "tool_use_id": "b",
                    "content": [{"type": "text", "text": "2"}, {"type": "image", "source": source}],
                },
                {"type": "text", "text": "and?"},
                {"type": "text", "text": "<system>\naside\n</system>"},
                {"type": "text", "text": "data url"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "AA=="}},
            ],
        },
    ]


def test_ids_that_the_protocol_refuses() -> None:
    """They are replaced by the same accepted id in call and result, different ids by different ones."""
    ids = ("functions.f:0", "functions_f:0", "toolu_ok")
    request = ask(
        assistant(*(ToolCallPart(id=id_, name="f", arguments={}) for id_ in ids)),
        Message(role="tool", parts=tuple(ToolResultPart(call_id=id_, content=()) for id_ in ids)),
    )
    sent = encode(request)["messages"]
    used = [entry["id"] for entry in sent[0]["content"]]
    assert used == [entry["tool_use_id"] for entry in sent[1]["content"]]
    assert used[2] == "toolu_ok"
    assert len(set(used)) == 3
    assert all(id_.replace("_", "").replace("-", "").isalnum() for id_ in used)
    assert encode(request)["messages"] == sent


def test_thinking_goes_back_to_its_model_only() -> None:
    """Signed and redacted thinking is replayed verbatim to the model that made it, and to no other."""
    message = assistant(
        ThinkingPart(text="t", signature="s", origin=ORIGIN),
        ThinkingPart(redacted="r", origin=ORIGIN),
        ThinkingPart(text="unsigned", origin=ORIGIN),
        TextPart(text="ok", origin=ORIGIN),
    )
    request = ask(Message.user("q"), message, Message.user("r"))
    same = CODEC.encode(request, TARGET)
    assert same.body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "redacted_thinking", "data": "r"},
        {"type": "text", "text": "ok"},
    ]
    assert [note.field for note in same.adjustments] == ["messages[1].parts[2]"]
    other = CODEC.encode(request, Target("anthropic", "claude-y"))
    assert other.body["messages"][1]["content"] == [{"type": "text", "text": "ok"}]
    assert len(other.adjustments) == 3


def test_parts_of_other_providers() -> None:
    """A refusal becomes text, unreadable arguments an object; seals, strange blocks stay behind; all told."""
    origin = Origin(provider="openai", api="openai-chat", model="gpt")
    message = assistant(
        RefusalPart(text="no", origin=origin),
        TextPart(text="", signature="theirs", origin=origin),
        ToolCallPart(id="a", name="f", arguments=None, raw_arguments="{x", signature="theirs", origin=origin),
        AudioPart(data=b"a", transcript="so", signature="theirs", origin=origin),
        OpaquePart(kind="audio", data={}, origin=origin),
    )
    encoded = CODEC.encode(ask(Message.user("q"), message), TARGET)
    assert encoded.body["messages"][1]["content"] == [
        {"type": "text", "text": "no"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"raw_arguments": "{x"}},
        {"type": "text", "text": "so"},
    ]
    assert [(note.field, note.action) for note in encoded.adjustments] == [
        ("messages[1].parts[0]", "changed"),
        ("messages[1].parts[1].signature", "dropped"),
        ("messages[1].parts[2].signature", "dropped"),
        ("messages[1].parts[2]", "changed"),
        ("messages[1].parts[3].signature", "dropped"),
        ("messages[1].parts[3]", "changed"),
        ("messages[1].parts[4]", "dropped"),
    ]


@pytest.mark.parametrize("data", ["text", {"kind": "x"}])
def test_a_block_that_is_none_stays_behind(data: Any) -> None:
    """What was made by hand and is no block is left out, which is told."""
    message = assistant(OpaquePart(kind="x", data=data, origin=ORIGIN))
    encoded = CODEC.encode(ask(Message.user("q"), message), TARGET)
    assert len(encoded.body["messages"]) == 1
    assert [note.action for note in encoded.adjustments] == ["dropped"]


@pytest.mark.parametrize("messages", [(Message.user(""),), (Message.system("only"),)])
def test_messages_that_cannot_be_sent(messages: tuple[Message, ...]) -> None:
    """A request without anything to answer is refused before it is sent."""
    with pytest.raises(InvalidRequest, match="messages"):
        encode(ask(*messages))


def test_a_turn_of_reasoning_alone_is_not_sent_back() -> None:
    """A turn that the limit ended while the model was thinking leaves a conversation that can go on."""
    thinking = ThinkingPart(text="Hm", signature="s", origin=ORIGIN)
    messages = (
        Message.user("a"),
        assistant(thinking),
        Message.user("b"),
        assistant(TextPart(text="So"), thinking),
        Message.user("c"),
    )
    encoded = CODEC.encode(ask(*messages), TARGET)
    assert [
        (message["role"], [block["text"] for block in message["content"]])
        for message in encoded.body["messages"]
    ] == [("user", ["a", "b"]), ("assistant", ["So"]), ("user", ["c"])]
    assert [one.field for one in encoded.adjustments] == ["messages[1]", "messages[3]"]


def test_reasoning_before_calls_is_kept() -> None:
    """Reasoning that leads to a call stays before it."""
    thinking = ThinkingPart(text="Hm", signature="s", origin=ORIGIN)
    call = ToolCallPart(id="c1", name="weather", arguments={})
    result = ToolResultPart(call_id="c1", content=(TextPart(text="sun"),))
    body = encode(ask(Message.user("a"), assistant(thinking, call), Message(role="tool", parts=(result,))))
    assert [block["type"] for block in body["messages"][1]["content"]] == ["thinking", "tool_use"]


def test_blank_text_is_left_out() -> None:
    """Text of nothing but white space, which the protocol refuses, is not sent."""
    body = encode(ask(Message.user("a"), assistant(TextPart(text="\n\n")), Message.user("b"), system=" "))
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    ]
    assert "system" not in body


@pytest.mark.parametrize(
    ("name", "sent"), [("", "unnamed"), ("no such tool!", "no_such_tool_"), ("a" * 100, "a" * 64)]
)
def test_a_name_that_a_model_made_up_is_sent_as_one_that_is_taken(name: str, sent: str) -> None:
    """A call of a tool that cannot exist does not spoil the conversation."""
    call = ToolCallPart(id="c1", name=name, arguments={})
    encoded = CODEC.encode(ask(Message.user("a"), assistant(call)), TARGET)
    assert encoded.body["messages"][1]["content"][0]["name"] == sent
    assert [(one.field, one.action) for one in encoded.adjustments] == [
        ("messages[1].parts[0].name", "changed")
    ]
