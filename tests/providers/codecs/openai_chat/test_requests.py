from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from llmgine.providers.catalogue.quirks import OPENAI, PLAIN, Quirks
from llmgine.providers.codecs import OpenAIChatCodec, Target
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
from llmgine.providers.errors import InvalidRequest

TARGET = Target("openai", "gpt-4o")


WEATHER = ToolSpec(name="weather", description="Tells it", parameters={"type": "object", "properties": {}})


def codec(quirks: Quirks = OPENAI) -> OpenAIChatCodec:
    numbers = itertools.count(1)
    return OpenAIChatCodec(quirks, new_id=lambda: f"made_{next(numbers)}")


def ask(*messages: Message, **fields: Any) -> LLMRequest:
    return LLMRequest(model="openai/gpt-4o", messages=messages or (Message.user("hi"),), **fields)


def encode(request: LLMRequest, quirks: Quirks = OPENAI) -> dict[str, Any]:
    return codec(quirks).encode(request, TARGET).body


def test_body_order_and_settings() -> None:
    """The body has fixed field order and always asks for a stream with usage."""
    request = ask(
        system="be kind",
        tools=(WEATHER,),
        tool_choice=NamedTool(name="weather"),
        parallel_tool_calls=False,
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.9,
        stop=("END",),
        seed=4,
        provider_options={
            "openai-chat": {"reasoning_effort": "low"},
            "openai": {"stream_options": {"extra": 1}},
        },
        extra_headers={"x-a": "b"},
    )
    encoded = codec().encode(request, TARGET)
    assert encoded.headers == {"x-a": "b"}
    assert encoded.adjustments == ()
    assert json.dumps(encoded.body) == json.dumps(
        {
            "model": "gpt-4o",
            "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}],
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "weather",
                        "description": "Tells it",
                        "parameters": WEATHER.parameters,
                    },
                }
            ],
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
            "parallel_tool_calls": False,
            "max_completion_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 4,
            "stop": ["END"],
            "stream": True,
            "stream_options": {"include_usage": True, "include_obfuscation": False, "extra": 1},
            "reasoning_effort": "low",
        }
    )
    compatible = encode(request, PLAIN)
    assert compatible["max_tokens"] == 9
    assert "include_obfuscation" not in compatible["stream_options"]


def test_tool_conversation_and_images() -> None:
    """Calls, results and images take the protocol's form."""
    request = ask(
        Message(
            role="user",
            parts=(TextPart(text="look"), ImagePart(data=b"\x00"), ImagePart(url="https://x/y.png")),
        ),
        Message(
            role="assistant",
            parts=(
                ToolCallPart(id="a", name="f", arguments={"x": "é"}),
                ToolCallPart(id="b", name="g", arguments={}),
            ),
        ),
        Message(
            role="tool",
            parts=(
                ToolResultPart(call_id="a", content=(TextPart(text="1"),)),
                ToolResultPart(call_id="b", content=(TextPart(text="no"),), is_error=True),
            ),
        ),
    )
    encoded = codec().encode(request, TARGET)
    assert encoded.body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":"é"}'}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "Error: no"},
    ]
    assert [(note.field, note.action) for note in encoded.adjustments] == [
        ("messages[2].parts[1].is_error", "changed")
    ]


def test_output_schema_is_strict_where_it_can_be() -> None:
    """A closed schema is enforced; an open one is sent with a note that it is not."""
    closed = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    sent = encode(ask(output=OutputSchema(json_schema=closed, description="An a")))["response_format"]
    assert sent == {
        "type": "json_schema",
        "json_schema": {"name": "output", "description": "An a", "schema": closed, "strict": True},
    }
    encoded = codec().encode(ask(output=OutputSchema(json_schema={"type": "object"})), TARGET)
    assert encoded.body["response_format"]["json_schema"] == {"name": "output", "schema": {"type": "object"}}
    assert [note.field for note in encoded.adjustments] == ["output.json_schema"]


def test_tools_of_the_provider_come_after_the_others() -> None:
    """Tools in the options are added, everything else there is laid over the body."""
    own = {"type": "browser_search"}
    request = ask(tools=(WEATHER,), provider_options={"openai": {"tools": [own], "temperature": 1}})
    for _ in range(2):
        body = encode(request)
        assert [tool["type"] for tool in body["tools"]] == ["function", "browser_search"]
        assert body["temperature"] == 1


def test_a_custom_call_goes_back_as_it_came_wherever_arguments_must_be_json() -> None:
    """Its text is no JSON, and is not changed for that."""
    origin = Origin(provider="openai", api="openai-chat", model="gpt-4o")
    call = ToolCallPart(
        id="c1",
        name="shell",
        arguments=None,
        raw_arguments="ls",
        origin=origin,
        provider_data={"type": "custom"},
    )
    message = Message(role="assistant", parts=(call,))
    encoded = codec(PLAIN).encode(ask(Message.user("a"), message), TARGET)
    assert encoded.body["messages"][1]["tool_calls"] == [
        {"id": "c1", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    ]
    assert encoded.adjustments == ()


@pytest.mark.parametrize("quirks", [OPENAI, PLAIN])
def test_seals_that_stay_behind_are_told(quirks: Quirks) -> None:
    """Text, refusal, speech and call go along without the seal of the model that made them."""
    origin = Origin(provider="gemini", api="gemini", model="g")
    parts = (
        TextPart(text="", signature="s", origin=origin),
        RefusalPart(text="no", signature="s", origin=origin),
        AudioPart(data=b"1", transcript="!", signature="s", origin=origin),
        ToolCallPart(id="c", name="f", arguments={}, signature="s", origin=origin),
    )
    encoded = codec(quirks).encode(ask(Message.user("q"), Message(role="assistant", parts=parts)), TARGET)
    told = [note.field for note in encoded.adjustments if note.field.endswith(".signature")]
    assert told == [f"messages[1].parts[{position}].signature" for position in range(4)]
    assert '"s"' not in json.dumps(encoded.body)


def test_long_and_repeated_ids_are_replaced_alike_in_call_and_result() -> None:
    """An id that the server would refuse has one stand-in for the call and its result."""
    long = "x" * 60
    turn = (
        Message(role="assistant", parts=(ToolCallPart(id=long, name="f", arguments={}),)),
        Message(role="tool", parts=(ToolResultPart(call_id=long, content=()),)),
    )
    sent = encode(ask(*turn, *turn))["messages"]
    ids = [sent[0]["tool_calls"][0]["id"], sent[2]["tool_calls"][0]["id"]]
    assert [sent[1]["tool_call_id"], sent[3]["tool_call_id"]] == ids
    assert len(set(ids)) == 2
    assert all(len(id_) <= 40 for id_ in ids)
    assert encode(ask(*turn))["messages"] == sent[:2]


def test_foreign_parts_stay_behind() -> None:
    """Reasoning and unknown blocks of another provider are left out, and the reply says so."""
    origin = Origin(provider="anthropic", api="anthropic-messages", model="claude")
    message = Message(
        role="assistant",
        parts=(
            ThinkingPart(text="t", signature="s", origin=origin),
            OpaquePart(kind="server_tool_use", data={}, origin=origin),
            TextPart(text="ok", origin=origin),
        ),
    )
    encoded = codec().encode(ask(Message.user("q"), message), TARGET)
    assert encoded.body["messages"][1] == {"role": "assistant", "content": "ok"}
    assert [note.field for note in encoded.adjustments] == ["messages[1].parts[0]", "messages[1].parts[1]"]


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": "required"},
        {"tool_choice": "required", "provider_options": {"openai-chat": {"tools": []}}},
        {"tool_choice": NamedTool(name="absent"), "tools": (WEATHER,)},
        {"provider_options": {"openai-chat": {"stream": False}}},
        {"provider_options": {"openai-chat": {"n": 2}}},
        {"messages": (Message(role="user", parts=(ThinkingPart(text="x"),)),)},
        {"messages": (Message(role="assistant", parts=(ThinkingPart(text="x"),)),), "system": "s"},
        {"messages": (Message(role="tool", parts=(TextPart(text="x"),)),)},
    ],
)
def test_requests_that_make_no_sense(fields: dict[str, Any]) -> None:
    """The caller's mistakes are refused before anything is sent."""
    request = LLMRequest(**{"model": "openai/gpt-4o", "messages": (Message.user("hi"),), **fields})
    with pytest.raises(InvalidRequest):
        encode(request)


def test_a_name_that_a_model_made_up_is_sent_as_one_that_is_taken() -> None:
    """A call of a tool that cannot exist does not spoil the conversation."""
    call = ToolCallPart(id="c1", name="no such tool!", arguments={})
    encoded = codec().encode(ask(Message.user("a"), Message(role="assistant", parts=(call,))), TARGET)
    assert encoded.body["messages"][1]["tool_calls"][0]["function"]["name"] == "no_such_tool_"
    assert [one.field for one in encoded.adjustments] == ["messages[1].parts[0].name"]


@pytest.mark.parametrize(
    ("quirks", "sent"), [(OPENAI, '{"city": "Par'), (PLAIN, '{"raw_arguments":"{\\"city\\": \\"Par"}')]
)
def test_arguments_that_are_no_object_can_be_read_back(quirks: Quirks, sent: str) -> None:
    """Servers that parse what they get still take a conversation in which a call was cut off."""
    call = ToolCallPart(id="c1", name="weather", arguments=None, raw_arguments='{"city": "Par')
    body = encode(ask(Message.user("a"), Message(role="assistant", parts=(call,))), quirks)
    assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == sent
