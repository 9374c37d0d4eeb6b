"""Requests that nobody would write: whatever stands where, the answer is a refusal."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgine.actors.gateway.vendor.chat.request import read_chat
from llmgine.actors.gateway.vendor.messages.request import read_messages
from llmgine.actors.gateway.vendor.reading import RequestRefused
from llmgine.actors.gateway.vendor.responses.request import read_responses
from llmgine.providers.contracts import Origin

FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "eA=="}}
CHAT = {
    "model": "m",
    "messages": [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,eA=="}}],
        },
        {"role": "assistant", "content": "x", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
    ],
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    "max_tokens": 3,
    "temperature": 1,
    "stop": ["x"],
    "reasoning_effort": "low",
    "stream": True,
    "stream_options": {"include_usage": True},
}
RESPONSES = {
    "model": "m",
    "instructions": "x",
    "input": [
        {"role": "user", "content": [{"type": "input_file", "file_data": "data:text/plain;base64,eA=="}]},
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "x"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
    ],
    "tools": [{"type": "function", **FUNCTION}],
    "tool_choice": {"type": "function", "name": "f"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
    "reasoning": {"effort": "low", "summary": "auto"},
    "conversation": {"id": "x"},
    "include": ["reasoning.encrypted_content"],
}
MESSAGES = {
    "model": "m",
    "max_tokens": 3,
    "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {"role": "user", "content": [IMAGE, {"type": "text", "text": "x"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [IMAGE]}]},
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "tool", "name": "f"},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "stop_sequences": ["x"],
}
READERS: dict[str, Any] = {
    "openai-chat": (read_chat, CHAT),
    "openai-responses": (read_responses, RESPONSES),
    "anthropic-messages": (read_messages, MESSAGES),
}
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [path, *(place for key in keys for place in places(value[key], (*path, key)))]


def put(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """The value with something else at a place."""
    if not path:
        return other
    whole = copy.deepcopy(value)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = other
    return whole


@pytest.mark.parametrize("api", READERS)
@given(data=st.data())
@settings(max_examples=150)
def test_whatever_stands_anywhere_is_read_or_refused(api: str, data: st.DataObject) -> None:
    """Nothing but a refusal ever comes out of reading a request."""
    read, body = READERS[api]
    spoken = data.draw(st.sampled_from([api, "scripted"]))
    changed = put(body, data.draw(st.sampled_from(places(body))), data.draw(ODD))
    with contextlib.suppress(RequestRefused):
        read(changed, Origin(provider="p", api=spoken, model="m"), {})
