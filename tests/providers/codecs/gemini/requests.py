"""Requests of the tests of Gemini's codec, read by the official package's own types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.genai import types
from pydantic import TypeAdapter

from llmgine.providers.catalogue.profiles import ModelProfile
from llmgine.providers.codecs import Encoded, GeminiCodec, Target
from llmgine.providers.contracts import (
    LLMRequest,
    Message,
    Origin,
    ToolSpec,
)
from llmgine.providers.errors import ErrorKind, ProviderError

LEVELS = ModelProfile(reasoning="effort", efforts=("low", "high"))
BUDGETS = ModelProfile(reasoning="budget", budgets=(128, 20_000), output_with_tools=False)
OLD = ModelProfile(reasoning="none")
ORIGIN = Origin(provider="gemini", api="gemini", model="gemini-x")
FOREIGN = Origin(provider="openai", api="openai-responses", model="gpt-x")
CODEC = GeminiCodec()
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolSpec(name="weather", description="The weather", parameters=SCHEMA)
HI = Message.user("hi")


def ask(*messages: Message, **fields: Any) -> LLMRequest:
    return LLMRequest(model="gemini/gemini-x", messages=messages or (HI,), **fields)


def target(profile: ModelProfile | None = None, model: str = "gemini-x") -> Target:
    return Target("gemini", model) if profile is None else Target("gemini", model, profile)


def encode(request: LLMRequest, profile: ModelProfile | None = None) -> Encoded:
    """The request's body, which the official package's own types have read without complaint."""
    encoded = CODEC.encode(request, target(profile))
    valid(encoded.body)
    return encoded


def valid(body: dict[str, Any]) -> None:
    kinds: dict[str, Any] = {
        "contents": list[types.Content],
        "systemInstruction": types.Content,
        "tools": list[types.Tool],
        "toolConfig": types.ToolConfig,
        "generationConfig": types.GenerationConfig,
    }
    for name, kind in kinds.items():
        if name in body:
            TypeAdapter(kind).validate_json(json.dumps(body[name]))


def contents(*messages: Message, profile: ModelProfile | None = None, **fields: Any) -> list[dict[str, Any]]:
    body: list[dict[str, Any]] = encode(ask(*messages, **fields), profile).body["contents"]
    return body


def noted(encoded: Encoded) -> list[tuple[str, str]]:
    return [(one.field, one.action) for one in encoded.adjustments]


def refused(request: LLMRequest, profile: ModelProfile | None = None) -> str:
    with pytest.raises(ProviderError) as raised:
        CODEC.encode(request, target(profile))
    assert raised.value.kind is ErrorKind.UNSUPPORTED
    return raised.value.message
