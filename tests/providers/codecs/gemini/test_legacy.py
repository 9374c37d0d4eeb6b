"""The protocol as far as the end-of-life google-generativeai package can say it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgine.providers.clients import load
from llmgine.providers.codecs import Encoded, GeminiCodec, Target
from llmgine.providers.codecs.gemini.limits import LACKS
from llmgine.providers.contracts import (
    ImagePart,
    LLMRequest,
    Message,
    OpaquePart,
    Origin,
    OutputSchema,
    Reasoning,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)
from llmgine.providers.errors import ErrorKind, ProviderError

TARGET = Target("gemini", "gemini-x")
ORIGIN = Origin(provider="gemini", api="gemini", model="gemini-x")
CODEC = GeminiCodec(legacy=True)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
}
EITHER = {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}}
HI = Message.user("hi")


def ask(*messages: Message, **fields: Any) -> LLMRequest:
    return LLMRequest(model="gemini/gemini-x", messages=messages or (HI,), **fields)


def encode(request: LLMRequest) -> Encoded:
    """The request's body, which the package's own protocol buffers have read whole."""
    encoded = CODEC.encode(request, TARGET)
    load("gemini", "google-generativeai").protos.GenerateContentRequest.from_json(json.dumps(encoded.body))
    return encoded


def noted(encoded: Encoded) -> list[tuple[str, str]]:
    return [(one.field, one.action) for one in encoded.adjustments]


LACKING = {"seed": 7, "reasoning": Reasoning(effort="low")}


@pytest.mark.parametrize("name", sorted(LACKS))
def test_settings_that_it_lacks(name: str) -> None:
    """Each is an error that names the other transport, or with the caller's leave left out and told."""
    with pytest.raises(ProviderError, match="google-genai") as raised:
        CODEC.encode(ask(**{name: LACKING[name]}), TARGET)
    assert raised.value.kind is ErrorKind.UNSUPPORTED
    encoded = encode(ask(**{name: LACKING[name]}, on_unsupported="adjust"))
    assert noted(encoded) == [(name, "dropped")]
    assert "generationConfig" not in encoded.body


def test_settings_that_it_has() -> None:
    """All others go as ever."""
    request = ask(
        system="Be",
        temperature=0.5,
        top_p=0.5,
        top_k=3,
        max_output_tokens=9,
        stop=("a",),
        presence_penalty=0.5,
        frequency_penalty=0.5,
        tools=(ToolSpec(name="f", parameters=SCHEMA),),
        tool_choice="required",
    )
    encoded = encode(request)
    assert encoded.body["generationConfig"]["topK"] == 3
    assert encoded.body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}


def test_tools() -> None:
    """Parameters go in OpenAPI's terms; what these have no keyword for is told."""
    encoded = encode(ask(tools=(ToolSpec(name="f", description="d", parameters=SCHEMA, strict=True),)))
    (declared,) = encoded.body["tools"][0]["functionDeclarations"]
    assert declared["parameters"]["properties"]["city"] == {"type": "STRING"}
    assert "minimum" not in declared["parameters"]["properties"]["days"]
    assert noted(encoded) == [("tools[0].strict", "changed"), ("tools[0].parameters", "changed")]
    empty = ToolSpec(name="g", parameters={"type": "object", "properties": {}})
    assert encode(ask(tools=(empty,))).body["tools"][0]["functionDeclarations"] == [
        {"name": "g", "description": ""}
    ]


@pytest.mark.parametrize(
    "fields",
    [{"tools": (ToolSpec(name="f", parameters=EITHER),)}, {"output": OutputSchema(json_schema=EITHER)}],
)
def test_schemas_that_it_has_no_words_for(fields: dict[str, Any]) -> None:
    """They are refused, or with the caller's leave left out and told."""
    with pytest.raises(ProviderError, match="no words"):
        CODEC.encode(ask(**fields), TARGET)
    encoded = encode(ask(**fields, on_unsupported="adjust"))
    assert [action for _, action in noted(encoded)] == ["dropped"]
    assert "tools" not in encoded.body
    assert "responseSchema" not in encoded.body.get("generationConfig", {})


def test_structured_output() -> None:
    """A schema that it has words for goes as one of OpenAPI."""
    config = encode(ask(output=OutputSchema(json_schema=SCHEMA))).body["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseSchema"]["type"] == "OBJECT"


def test_seals_and_thinking_stay_behind() -> None:
    """It can carry neither, which is told; ids it can."""
    parts = (
        ThinkingPart(text="hm", signature="c2ln", origin=ORIGIN),
        TextPart(text="a", signature="c2ln", provider_data={"novelty": 1}, origin=ORIGIN),
        ToolCallPart(id="c", name="f", arguments={"n": 1}, signature="c2ln", origin=ORIGIN),
    )
    answer = Message(role="tool", parts=(ToolResultPart(call_id="c", content=(TextPart(text="b"),)),))
    encoded = encode(ask(HI, Message(role="assistant", parts=parts), answer))
    assert encoded.body["contents"][1]["parts"] == [
        {"text": "a"},
        {"functionCall": {"id": "c", "name": "f", "args": {"n": 1}}},
    ]
    assert noted(encoded) == [
        ("messages[1].parts[0]", "dropped"),
        ("messages[1].parts[1].signature", "dropped"),
        ("messages[1].parts[2].signature", "dropped"),
    ]


def test_calls_of_other_models_get_no_stand_in() -> None:
    """There is no room for a signature, real or not."""
    call = ToolCallPart(id="c", name="f", arguments={})
    assert not encode(ask(HI, Message(role="assistant", parts=(call,)))).adjustments


def test_media_in_results_follow_them() -> None:
    """A result is text."""
    call = ToolCallPart(id="c", name="f", arguments={}, origin=ORIGIN)
    answer = ToolResultPart(call_id="c", content=(ImagePart(data=b"abc"),))
    encoded = encode(ask(HI, Message(role="assistant", parts=(call,)), Message(role="tool", parts=(answer,))))
    assert [*encoded.body["contents"][2]["parts"][1]] == ["inlineData"]
    assert noted(encoded) == [("messages[2].parts[0].content[0]", "changed")]


def test_blocks_of_the_servers_tools() -> None:
    """Those that it knows with all their fields go back; others stay behind."""
    known = {"executableCode": {"language": "PYTHON", "code": "1"}}
    newer = {"executableCode": {"language": "PYTHON", "code": "1", "id": "x"}}
    other = {"toolCall": {"id": "x"}}
    parts = tuple(
        OpaquePart(kind=next(iter(data)), data=data, origin=ORIGIN) for data in (known, newer, other)
    )
    encoded = encode(ask(HI, Message(role="assistant", parts=parts)))
    assert encoded.body["contents"][1]["parts"] == [known]
    assert noted(encoded) == [("messages[1].parts[1]", "dropped"), ("messages[1].parts[2]", "dropped")]
