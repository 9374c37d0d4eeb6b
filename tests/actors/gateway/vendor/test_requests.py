"""Requests of the vendors' clients as calls in our words: field by field, and what is refused."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from llmgine.actors.gateway.vendor.chat.request import read_chat
from llmgine.actors.gateway.vendor.embeddings import read_embedding
from llmgine.actors.gateway.vendor.messages.request import read_messages
from llmgine.actors.gateway.vendor.reading import UNSUPPORTED, RequestRefused
from llmgine.actors.gateway.vendor.responses.request import read_responses
from llmgine.actors.gateway.vendor.seals import sealed
from llmgine.providers.contracts import (
    AudioPart,
    CacheHints,
    DocumentPart,
    ImagePart,
    LLMRequest,
    Message,
    NamedTool,
    OpaquePart,
    Origin,
    Reasoning,
    TextPart,
    ThinkingPart,
    ToolResultPart,
)

CHAT = Origin(provider="openai", api="openai-chat", model="gpt-4o")
RESPONSES = Origin(provider="openai", api="openai-responses", model="gpt-5")
CLAUDE = Origin(provider="anthropic", api="anthropic-messages", model="claude-sonnet-4-5")
ELSEWHERE = Origin(provider="scripted", api="scripted", model="echo")
PNG = base64.b64encode(b"png").decode()


def chat(target: Origin = ELSEWHERE, **fields: Any) -> LLMRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    return read_chat(body, target, {}).request


def responses(target: Origin = ELSEWHERE, **fields: Any) -> LLMRequest:
    return read_responses({"model": "m", "input": "Hi", **fields}, target, {}).request


def messages(target: Origin = ELSEWHERE, **fields: Any) -> LLMRequest:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return read_messages(body, target, {"anthropic-beta": "b-1"}).request


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"max_tokens": 5}, "max_output_tokens", 5),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_output_tokens", 6),
        ({"stop": "x"}, "stop", ("x",)),
        ({"stop": ["x", "y"]}, "stop", ("x", "y")),
        ({"temperature": 0}, "temperature", 0),
        ({"temperature": None}, "temperature", None),
        ({"seed": 4}, "seed", 4),
        ({"reasoning_effort": "low"}, "reasoning", Reasoning(effort="low")),
        ({"prompt_cache_key": "k"}, "cache", CacheHints(breakpoints=(), key="k")),
        ({"tool_choice": "required"}, "tool_choice", "required"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice",
            NamedTool(name="f"),
        ),
        ({"n": 1, "user": "u", "metadata": {"a": "b"}, "logprobs": False}, "provider_options", {}),
    ],
)
def test_chat_fields(given: dict[str, Any], field: str, value: Any) -> None:
    """Each has its place; null counts as left out, labels and defaults ask for nothing."""
    assert getattr(chat(**given), field) == value


def test_fields_of_the_vendors_own_go_along_to_it_alone() -> None:
    """Behind the same protocol they are options of the call; for any other model they are refused."""
    asked = chat(CHAT, logit_bias={"5": 1}, user="u", response_format={"type": "json_object"})
    assert asked.provider_options == {
        "openai-chat": {"logit_bias": {"5": 1}, "user": "u", "response_format": {"type": "json_object"}}
    }
    assert responses(RESPONSES, include=["message.output_text.logprobs"]).provider_options == {
        "openai-responses": {"include": ["message.output_text.logprobs"]}
    }
    asked = messages(CLAUDE, tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert asked.provider_options["anthropic-messages"]["tools"][0]["name"] == "web_search"
    assert asked.extra_headers == {"anthropic-beta": "b-1"}
    assert messages().extra_headers == {}


@pytest.mark.parametrize("read", [read_chat, read_responses, read_messages])
def test_what_a_model_does_not_take_is_left_out_where_the_client_says_so(read: Any) -> None:
    """By a header; other words than its two are refused."""
    said: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
    said = {"input": "Hi"} if read is read_responses else said
    body = {"model": "m", "max_output_tokens" if "input" in said else "max_tokens": 9, **said, "surprise": 1}
    assert read(body, ELSEWHERE, {UNSUPPORTED: "adjust"}).request.provider_options == {}
    for wanted in ("error", "perhaps"):
        with pytest.raises(RequestRefused):
            read(body, ELSEWHERE, {UNSUPPORTED: wanted})


@pytest.mark.parametrize(
    ("read", "given", "field"),
    [
        (chat, {"logit_bias": {"5": 1}}, "logit_bias"),
        (chat, {"messages": []}, "messages"),
        (chat, {"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        (
            chat,
            {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
            "messages[0].content[0].type",
        ),
        (chat, {"stream_options": {"include_usage": True}}, "stream_options"),
        (chat, {"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type"),
        (responses, {"background": True}, "background"),
        (responses, {"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        (responses, {"truncation": "auto"}, "truncation"),
        (responses, {"conversation": "a", "previous_response_id": "b"}, "previous_response_id"),
        (messages, {"max_tokens": None}, "max_tokens"),
        (
            messages,
            {"messages": [{"role": "user", "content": [{"type": "search_result"}]}]},
            "messages[0].content[0].type",
        ),
        (messages, {"container": "c"}, "container"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_place(read: Any, given: dict[str, Any], field: str) -> None:
    """The error names the field as the client wrote it."""
    with pytest.raises(RequestRefused) as raised:
        read(**given)
    assert raised.value.field == field


def test_chat_messages_become_parts() -> None:
    """Texts, media, calls and results in their order; results in a row are one message."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    content = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.jpg"}},
        {"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PNG}"}},
    ]
    asked = chat(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": content},
            {"role": "assistant", "content": None, "tool_calls": [call, {**call, "id": "c2"}]},
            {"role": "tool", "tool_call_id": "c1", "content": "one"},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "two"}]},
        ]
    )
    assert [message.role for message in asked.messages] == ["system", "user", "assistant", "tool"]
    assert asked.messages[1].parts == (
        TextPart(text="see"),
        ImagePart(data=b"png", media_type="image/png", detail="low"),
        ImagePart(url="https://x/y.jpg", media_type="image/jpeg"),
        AudioPart(data=b"png", media_type="audio/mp3"),
        DocumentPart(data=b"png", name="a.pdf"),
    )
    results: Any = asked.messages[3].parts
    assert [(one.call_id, one.name, one.text) for one in results] == [("c1", "f", "one"), ("c2", "f", "two")]


def test_items_of_the_model_in_a_row_are_one_message() -> None:
    """Reasoning, calls and texts keep their order; what is sealed comes back as it was."""
    thought = ThinkingPart(text="hm", encrypted="e", origin=CLAUDE, provider_data={"x": 1})
    asked = responses(
        instructions="Be brief.",
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "hm"}],
                "encrypted_content": sealed(thought),
            },
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "ok"},
        ],
    )
    assert asked.system == "Be brief."
    assert [message.role for message in asked.messages] == ["user", "assistant", "tool"]
    assert asked.messages[1].parts[0] == thought
    own = responses(RESPONSES, input=[{"type": "reasoning", "id": "rs_1", "encrypted_content": "theirs"}])
    (part,) = own.messages[0].parts
    assert (part.origin, part.encrypted) == (RESPONSES, "theirs")  # type: ignore[union-attr]


def test_turns_of_the_messages_protocol_become_messages() -> None:
    """Results come before what the user says with them; what the target made goes back to it."""
    blocks = [
        {"type": "tool_result", "tool_use_id": "c1", "content": "ok", "is_error": True},
        {"type": "text", "text": "and?", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]
    asked = messages(
        CLAUDE,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
                    {"type": "server_tool_use", "id": "x", "name": "web_search", "input": {}},
                ],
            },
            {"role": "user", "content": blocks},
        ],
        thinking={"type": "enabled", "budget_tokens": 2000},
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
    )
    assert [message.role for message in asked.messages] == ["assistant", "tool", "user"]
    thinking, call, opaque = asked.messages[0].parts
    assert thinking == ThinkingPart(text="hm", signature="s", origin=CLAUDE)
    assert call.arguments == {"a": 1}  # type: ignore[union-attr]
    assert isinstance(opaque, OpaquePart)
    assert opaque.origin == CLAUDE
    (result,) = asked.messages[1].parts
    assert isinstance(result, ToolResultPart)
    assert (result.name, result.is_error) == ("f", True)
    assert asked.cache == CacheHints(breakpoints=("system", 2), ttl=3600)
    assert asked.reasoning == Reasoning(budget=2000, show=True)
    assert (asked.tool_choice, asked.parallel_tool_calls) == ("required", False)


def test_another_providers_seal_is_kept_from_a_model_of_others() -> None:
    """A signature that is not ours is only good behind the protocol that it came from."""
    turn = {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}
    asked = messages(messages=[turn, {"role": "user", "content": "x"}])
    assert asked.messages[0] == Message(
        role="assistant", parts=(ThinkingPart(text="hm", signature="s", origin=None),)
    )


def test_schemas_of_answers() -> None:
    """A schema is asked for as ours; JSON of any shape is asked for in words where it must be."""
    schema = {"type": "object", "properties": {}}
    format_ = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    for asked in (
        chat(response_format=format_),
        responses(text={"format": {"type": "json_schema", "name": "n", "schema": schema}}),
        messages(output_config={"format": {"type": "json_schema", "schema": schema}}),
    ):
        assert asked.output is not None
        assert (asked.output.json_schema, asked.output.repairs) == (schema, 0)
    asked = chat(response_format={"type": "json_object"})
    assert asked.output is not None
    assert asked.output.mode == "prompt"


def test_a_tool_of_responses_is_strict_unless_it_says_otherwise() -> None:
    """As with the vendor."""
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
    assert responses(tools=[tool]).tools[0].strict
    assert not responses(tools=[{**tool, "strict": False}]).tools[0].strict


def test_embeddings_take_texts() -> None:
    """Not their tokens, which are those of one vendor's models."""
    asked, packed = read_embedding({"model": "m", "input": "a", "encoding_format": "base64"})
    assert (asked.inputs, packed) == (("a",), True)
    with pytest.raises(RequestRefused):
        read_embedding({"model": "m", "input": [1, 2]})
