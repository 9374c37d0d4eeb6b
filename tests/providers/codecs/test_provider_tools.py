"""Tools that run at the provider, which options bring."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.providers.codecs import (
    AnthropicMessagesCodec,
    Codec,
    GeminiCodec,
    OpenAIChatCodec,
    OpenAIResponsesCodec,
    Target,
)
from llmgine.providers.contracts import LLMRequest, Message, ToolSpec
from llmgine.providers.errors import InvalidRequest

TARGET = Target("p", "m")
CODECS = (OpenAIChatCodec(), OpenAIResponsesCodec(), AnthropicMessagesCodec(), GeminiCodec())
SEARCH = {"type": "search"}
WEATHER = ToolSpec(name="weather", parameters={"type": "object", "properties": {}})

each_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.api)


def body(codec: Codec, added: Any = (SEARCH,), **fields: Any) -> dict[str, Any]:
    options = {"p": {"tools": list(added)}}
    messages = (Message.user("hi"),)
    request = LLMRequest(model="p/m", messages=messages, provider_options=options, **fields)
    return codec.encode(request, TARGET).body


@each_codec
def test_they_stand_beside_the_requests_own(codec: Codec) -> None:
    """What is added takes no tool away."""
    own, added = body(codec, tools=(WEATHER,))["tools"]
    assert "weather" in str(own)
    assert added == SEARCH


@each_codec
def test_a_call_of_one_can_be_required_or_forbidden(codec: Codec) -> None:
    """They count as tools where no others are."""
    name = "toolConfig" if codec.api == "gemini" else "tool_choice"
    assert name not in body(codec)
    for choice, words in (("required", ("required", "any", "ANY")), ("none", ("none", "NONE"))):
        sent = body(codec, tool_choice=choice)
        assert sent["tools"] == [SEARCH]
        assert any(word in str(sent[name]) for word in words)


@each_codec
def test_no_call_is_required_where_there_is_no_tool(codec: Codec) -> None:
    """An empty list brings none."""
    with pytest.raises(InvalidRequest, match="tool_choice"):
        body(codec, (), tool_choice="required")
