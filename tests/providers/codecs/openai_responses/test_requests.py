from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import TypeAdapter

from llmgine.providers.catalogue.profiles import ModelProfile
from llmgine.providers.codecs import OpenAIResponsesCodec, Target
from llmgine.providers.codecs.codec import Encoded
from llmgine.providers.codecs.schema import openai_strict
from llmgine.providers.contracts import (
    AnyPart,
    AudioPart,
    CacheHints,
    DocumentPart,
    ImagePart,
    LLMRequest,
    Message,
    NamedTool,
    OutputSchema,
    Reasoning,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, InvalidRequest, ProviderError

TARGET = Target("openai", "gpt-5")
CLOSED = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}
WEATHER = ToolSpec(name="weather", description="Tells it", parameters=OPEN)
PARAMS: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsStreaming)


def ask(*messages: Message, **fields: Any) -> LLMRequest:
    return LLMRequest(model="openai/gpt-5", messages=messages or (Message.user("hi"),), **fields)


def encode(request: LLMRequest, **profile: Any) -> Encoded:
    """Encoded for a model of such a profile; the SDK's own types must take the body."""
    target = Target(TARGET.provider, TARGET.model, ModelProfile(**profile))
    encoded = OpenAIResponsesCodec().encode(request, target)
    drain(PARAMS.validate_python(encoded.body))
    return encoded


def drain(value: Any) -> None:
    """Reads everything of a validated value: what is typed as an iterable is checked only when it is read."""
    if isinstance(value, dict):
        value = value.values()
    if not isinstance(value, str | bytes | int | float | None):
        for inner in value:
            drain(inner)


def items(*messages: Message, **profile: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = encode(ask(*messages), **profile).body["input"]
    return found


def notes(encoded: Encoded) -> list[tuple[str, str]]:
    return [(note.field, note.action) for note in encoded.adjustments]


def said(*parts: AnyPart) -> Message:
    return Message(role="assistant", parts=parts)


def result(*content: Any, call_id: str = "c", **fields: Any) -> Message:
    return Message(role="tool", parts=(ToolResultPart(call_id=call_id, content=content, **fields),))


def test_body_order_and_settings() -> None:
    """The body has fixed field order, stores nothing and always asks for a stream."""
    request = ask(
        system="be kind",
        tools=(WEATHER,),
        tool_choice=NamedTool(name="weather"),
        parallel_tool_calls=False,
        max_output_tokens=99,
        temperature=0.5,
        top_p=0.9,
        reasoning=Reasoning(effort="low", show=True),
        idempotency_key="once",
        provider_options={
            "openai-responses": {"service_tier": "flex", "text": {"verbosity": "low"}},
            "openai": {"stream_options": {"extra": 1}},
        },
        extra_headers={"x-a": "b"},
    )
    encoded = encode(request)
    assert encoded.headers == {"Idempotency-Key": "once", "x-a": "b"}
    assert encoded.adjustments == ()
    assert json.dumps(encoded.body) == json.dumps(
        {
            "model": "gpt-5",
            "instructions": "be kind",
            "input": [{"role": "user", "content": "hi"}],
            "tools": [
                {
                    "type": "function",
                    "name": "weather",
                    "description": "Tells it",
                    "parameters": OPEN,
                    "strict": False,
                }
            ],
            "tool_choice": {"type": "function", "name": "weather"},
            "parallel_tool_calls": False,
            "max_output_tokens": 99,
            "temperature": 0.5,
            "top_p": 0.9,
            "reasoning": {"effort": "low", "summary": "auto"},
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "stream": True,
            "stream_options": {"include_obfuscation": False, "extra": 1},
            "service_tier": "flex",
            "text": {"verbosity": "low"},
        }
    )


def test_options_add_tools_and_includes() -> None:
    """Tools of the provider stand beside the request's, and what else to include beside our own."""
    options = {
        "tools": [{"type": "web_search"}],
        "include": ["web_search_call.action.sources", "reasoning.encrypted_content"],
        "store": True,
    }
    body = encode(ask(tools=(WEATHER,), provider_options={"openai": options})).body
    assert [tool["type"] for tool in body["tools"]] == ["function", "web_search"]
    assert body["include"] == ["reasoning.encrypted_content", "web_search_call.action.sources"]
    assert body["store"] is True


def test_tool_conversation_and_media() -> None:
    """Calls, results, images and documents take the protocol's form, in results too."""
    image, pdf = ImagePart(data=b"\x00", detail="low"), DocumentPart(data=b"%", name="a.pdf")
    request = ask(
        Message.system("be brief"),
        Message.user(
            "look", image, ImagePart(url="https://x/y.png"), pdf, DocumentPart(url="https://x/z.pdf")
        ),
        said(
            TextPart(text="let me "),
            TextPart(text="see"),
            ToolCallPart(id="a", name="f", arguments={"x": "é"}),
            ToolCallPart(id="b", name="g", arguments={}),
        ),
        Message(
            role="tool",
            parts=(
                ToolResultPart(call_id="a", content=(TextPart(text="1"), TextPart(text="2"))),
                ToolResultPart(call_id="b", content=(TextPart(text="no"), image), is_error=True),
            ),
        ),
    )
    encoded = encode(request)
    sent_image = {"type": "input_image", "detail": "low", "image_url": "data:image/png;base64,AA=="}
    assert encoded.body["input"] == [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "look"},
                sent_image,
                {"type": "input_image", "detail": "auto", "image_url": "https://x/y.png"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JQ=="},
                {"type": "input_file", "file_url": "https://x/z.pdf"},
            ],
        },
        {"role": "assistant", "content": "let me see"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": '{"x":"é"}'},
        {"type": "function_call", "call_id": "b", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "12"},
        {
            "type": "function_call_output",
            "call_id": "b",
            "output": [
                {"type": "input_text", "text": "Error: "},
                {"type": "input_text", "text": "no"},
                sent_image,
            ],
        },
    ]
    assert notes(encoded) == [("messages[3].parts[1].is_error", "changed")]
    failed = items(
        said(ToolCallPart(id="c", name="f", arguments={})), result(TextPart(text="no"), is_error=True)
    )
    assert failed[1]["output"] == "Error: no"


@pytest.mark.parametrize(
    ("part", "profile"),
    [
        (AudioPart(data=b"1"), {}),
        (ImagePart(data=b"1"), {"images": False}),
        (DocumentPart(data=b"1"), {"documents": False}),
        (DocumentPart(url="https://x/a.txt", media_type="text/plain"), {"documents": False}),
    ],
)
def test_media_that_cannot_be_sent(part: Any, profile: dict[str, Any]) -> None:
    """An error now, a note in an earlier turn or a result, and the same words to the model in each."""
    message, seen = Message.user("see", part), result(TextPart(text="see"), part)
    with pytest.raises(ProviderError, match=r"messages\[0\]\.parts\[.*on_unsupported") as caught:
        encode(ask(message), **profile)
    assert (caught.value.kind, caught.value.phase) == (ErrorKind.UNSUPPORTED, ErrorPhase.REQUEST)
    now = encode(ask(message, on_unsupported="adjust"), **profile)
    earlier = encode(ask(message, Message.assistant("ok"), Message.user("and?")), **profile)
    found = encode(ask(said(ToolCallPart(id="c", name="f", arguments={})), seen), **profile)
    words = [{"type": "input_text", "text": "see"}, {"type": "input_text", "text": f"[{part.type} left out]"}]
    assert now.body["input"][0]["content"] == earlier.body["input"][0]["content"] == words
    assert found.body["input"][1]["output"] == words
    assert notes(now) == [("messages[0].parts[1]", "dropped")]
    assert notes(earlier) == [("messages[0].parts[1]", "changed")]
    assert notes(found) == [("messages[1].parts[0].content[1]", "changed")]


def test_the_words_of_a_sound_stand_in_for_it() -> None:
    """What was said is known, so that it goes as text."""
    encoded = encode(ask(Message.user(AudioPart(data=b"1", transcript="hello"))))
    assert encoded.body["input"][0]["content"] == [{"type": "input_text", "text": "hello"}]
    assert notes(encoded) == [("messages[0].parts[0]", "changed")]


def test_a_text_document_is_sent_as_text_where_there_are_no_documents() -> None:
    """A text is not lost on a model that reads nothing else."""
    note = DocumentPart(data="Grüße".encode(), media_type="text/plain", cite=True)
    encoded = encode(ask(Message.user("read", note)), documents=False)
    assert encoded.body["input"][0]["content"][1] == {"type": "input_text", "text": "Grüße"}
    assert notes(encoded) == [
        ("messages[0].parts[1].cite", "dropped"),
        ("messages[0].parts[1]", "changed"),
    ]
    linked = DocumentPart(url="data:text/plain;base64,aGk=", media_type="text/plain")
    told = encode(ask(Message.user(linked)), documents=False)
    assert told.body["input"][0]["content"] == [{"type": "input_text", "text": "hi"}]
    (item,) = items(Message.user(note))
    assert item["content"][0]["filename"] == "document.txt"


def test_output_schema_is_strict_where_it_can_be() -> None:
    """A schema is enforced as far as the dialect goes, and each difference is noted."""
    closed = encode(ask(output=OutputSchema(name="n", description="d", json_schema=CLOSED)))
    form = {"type": "json_schema", "name": "n", "description": "d", "schema": CLOSED, "strict": True}
    assert closed.body["text"] == {"format": form}
    assert closed.adjustments == ()
    opened = encode(ask(output=OutputSchema(json_schema=OPEN)))
    assert opened.body["text"]["format"]["schema"] != OPEN
    assert {field for field, _ in notes(opened)} == {"output.json_schema"}


def test_strict_tools() -> None:
    """A tool's arguments are forced to fit as far as the dialect goes; what it cannot say is sent as is."""
    free = {"type": "object", "additionalProperties": {"type": "string"}}
    tools = tuple(
        ToolSpec(name=f"t{number}", parameters=schema, strict=True)
        for number, schema in enumerate((CLOSED, OPEN, free))
    )
    encoded = encode(ask(tools=tools))
    assert [(tool["parameters"], tool["strict"]) for tool in encoded.body["tools"]] == [
        (CLOSED, True),
        (openai_strict(OPEN).schema, True),
        (free, False),
    ]
    assert set(notes(encoded)) == {("tools[1].parameters", "changed"), ("tools[2].strict", "changed")}


@pytest.mark.parametrize(
    ("asked", "profile", "sent", "noted"),
    [
        (Reasoning(), {}, None, []),
        (Reasoning(show=False), {}, None, []),
        (Reasoning(show=True), {}, {"summary": "auto"}, []),
        (Reasoning(effort="xhigh"), {}, {"effort": "xhigh"}, []),
        (Reasoning(effort="none"), {"efforts": ("minimal", "low")}, {"effort": "minimal"}, ["changed"]),
        (Reasoning(effort="max"), {"efforts": ("low", "high")}, {"effort": "high"}, ["changed"]),
        (Reasoning(budget=8000), {}, {"effort": "medium"}, ["changed"]),
        (Reasoning(budget=0), {}, {"effort": "none"}, []),
        (Reasoning(budget=0), {"efforts": ("low", "high")}, {"effort": "low"}, ["changed"]),
        (Reasoning(effort="low", budget=9), {}, {"effort": "low"}, ["dropped"]),
        (Reasoning(effort="none"), {"reasoning": "none"}, None, []),
        (Reasoning(show=True), {"reasoning": "none"}, None, ["dropped"]),
    ],
)
def test_reasoning(asked: Reasoning, profile: dict[str, Any], sent: Any, noted: list[str]) -> None:
    """How much to think is told by effort, by the nearest level that the model knows."""
    encoded = encode(ask(reasoning=asked), **profile)
    assert encoded.body.get("reasoning") == sent
    assert [action for _, action in notes(encoded)] == noted
    assert ("include" in encoded.body) is (profile.get("reasoning") != "none")


@pytest.mark.parametrize(
    ("fields", "profile"),
    [
        ({"stop": ("END",)}, {}),
        ({"seed": 0}, {}),
        ({"top_k": 3}, {}),
        ({"presence_penalty": 0.0}, {}),
        ({"frequency_penalty": 1.0}, {}),
        ({"temperature": 0.0}, {"sampling": False}),
        ({"top_p": 0.5}, {"sampling": False}),
        ({"tools": (WEATHER,)}, {"tools": False}),
        ({"tool_choice": "required", "tools": (WEATHER,)}, {"forced_tools": False}),
        ({"reasoning": Reasoning(effort="low")}, {"reasoning": "none"}),
        ({"reasoning": Reasoning(budget=9)}, {"reasoning": "none"}),
    ],
)
def test_settings_that_cannot_be_sent(fields: dict[str, Any], profile: dict[str, Any]) -> None:
    """A setting that protocol or model does not know is refused by name, or left out and listed."""
    name = next(iter(fields))
    with pytest.raises(ProviderError, match=f"^openai/gpt-5: {name}: ") as caught:
        encode(ask(**fields), **profile)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    encoded = encode(ask(**fields, on_unsupported="adjust"), **profile)
    assert notes(encoded) == [(name, "dropped")]
    assert name not in encoded.body
    assert encoded.body.keys() - {"include", "tools"} == encode(ask()).body.keys() - {"include"}


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": "required"},
        {"provider_options": {"openai-responses": {"stream": False}}},
        {"provider_options": {"openai-responses": {"input": "x"}}},
        {"provider_options": {"openai": {"instructions": "x"}}},
        {"messages": (Message(role="user", parts=(ThinkingPart(text="x"),)),)},
        {"messages": (said(TextPart(text="")),)},
    ],
)
def test_requests_that_make_no_sense(fields: dict[str, Any]) -> None:
    """The caller's mistakes are refused before anything is sent."""
    with pytest.raises(InvalidRequest):
        encode(LLMRequest(**{"model": "openai/gpt-5", "messages": (Message.user("hi"),), **fields}))


def test_cache_hints_of_most_models() -> None:
    """A key and a long time are passed on; OpenAI keeps beginnings by itself, so breakpoints stay behind."""
    encoded = encode(ask(system="s", cache=CacheHints(key="k", ttl=90_000, content="c")))
    assert encoded.body["prompt_cache_key"] == "k"
    assert encoded.body["prompt_cache_retention"] == "24h"
    assert encoded.body["instructions"] == "s"
    assert notes(encoded) == [
        ("cache.content", "dropped"),
        ("cache.ttl", "changed"),
        ("cache.breakpoints", "dropped"),
    ]
    long = encode(ask(cache=CacheHints(key="k" * 65, ttl=300, breakpoints=())))
    assert len(long.body["prompt_cache_key"]) == 64
    assert "prompt_cache_retention" not in long.body
    assert notes(long) == [("cache.key", "changed"), ("cache.ttl", "dropped")]


def test_cache_breakpoints_of_models_that_take_them() -> None:
    """What a breakpoint ends is marked: the system prompt, a message, a tool's result."""
    mark = {"mode": "explicit"}
    conversation = (
        Message.user("a"),
        said(ToolCallPart(id="c", name="f", arguments={})),
        Message(
            role="tool",
            parts=(
                ToolResultPart(call_id="c", content=(TextPart(text="0"),)),
                ToolResultPart(call_id="c", content=(TextPart(text="1"),)),
            ),
        ),
        Message.user("b", ImagePart(url="https://x")),
    )
    hints = CacheHints(breakpoints=("tools", "system", 0, 1, 2, -1, 9), ttl=1800)
    encoded = encode(ask(*conversation, system="s", cache=hints), cache_breakpoints=True)
    assert "instructions" not in encoded.body
    system, first, _, plain, answered, last = encoded.body["input"]
    assert plain["output"] == "0"
    assert system["content"] == [{"type": "input_text", "text": "s", "prompt_cache_breakpoint": mark}]
    assert first["content"] == [{"type": "input_text", "text": "a", "prompt_cache_breakpoint": mark}]
    assert answered["output"] == [{"type": "input_text", "text": "1", "prompt_cache_breakpoint": mark}]
    assert ["prompt_cache_breakpoint" in block for block in last["content"]] == [False, True]
    assert encoded.body["prompt_cache_options"] == {"ttl": "30m"}
    assert {note.action for note in encoded.adjustments} == {"dropped"}
    assert [note.field for note in encoded.adjustments] == [
        "cache.breakpoints[0]",
        "cache.breakpoints[6]",
        "cache.breakpoints",
    ]
    longer = encode(ask(cache=CacheHints(ttl=7200)), cache_breakpoints=True)
    assert longer.body["prompt_cache_options"] == {"ttl": "12h"}
    assert notes(longer) == [("cache.ttl", "changed")]
