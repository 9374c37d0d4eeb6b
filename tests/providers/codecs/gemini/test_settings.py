from __future__ import annotations

from typing import Any

import pytest

from llmgine.providers.catalogue.profiles import ModelProfile
from llmgine.providers.contracts import (
    CacheHints,
    LLMRequest,
    Message,
    NamedTool,
    OutputSchema,
    Reasoning,
    ToolSpec,
)
from llmgine.providers.errors import InvalidRequest
from tests.providers.codecs.gemini.requests import (
    BUDGETS,
    CODEC,
    HI,
    LEVELS,
    OLD,
    SCHEMA,
    WEATHER,
    ask,
    encode,
    noted,
    refused,
    target,
)


def test_a_plain_request() -> None:
    """Text is a turn of the user's, and nothing is sent that was not asked for."""
    encoded = encode(ask())
    assert encoded.body == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert not encoded.adjustments


def test_everything_that_can_be_set() -> None:
    """Each setting has its field."""
    request = ask(
        Message.system("Be"),
        HI,
        system="Always",
        temperature=1.5,
        top_p=0.5,
        top_k=3,
        max_output_tokens=9,
        stop=("a", "b"),
        seed=7,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        extra_headers={"x-one": "1"},
        provider_options={"gemini": {"safetySettings": [], "generationConfig": {"candidateCount": 1}}},
    )
    encoded = encode(request)
    assert encoded.body == {
        "systemInstruction": {"parts": [{"text": "Always"}, {"text": "Be"}]},
        "generationConfig": {
            "temperature": 1.5,
            "topP": 0.5,
            "topK": 3,
            "maxOutputTokens": 9,
            "stopSequences": ["a", "b"],
            "seed": 7,
            "presencePenalty": 0.5,
            "frequencyPenalty": -0.5,
            "candidateCount": 1,
        },
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "safetySettings": [],
    }
    assert encoded.headers == {"x-one": "1"}


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("auto", None),
        ("required", {"mode": "ANY"}),
        ("none", {"mode": "NONE"}),
        (NamedTool(name="weather"), {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
    ],
)
def test_tools(choice: Any, config: Any) -> None:
    """Tools go with their whole JSON schema."""
    body = encode(ask(tools=(WEATHER,), tool_choice=choice)).body
    declared = {"name": "weather", "description": "The weather", "parametersJsonSchema": SCHEMA}
    assert body["tools"] == [{"functionDeclarations": [declared]}]
    assert body.get("toolConfig") == (config and {"functionCallingConfig": config})


def test_strict_tools() -> None:
    """Arguments are forced to fit, and what the provider's subset changes is told."""
    schema = {**SCHEMA, "properties": {"city": {"type": "string", "pattern": "^K"}}}
    encoded = encode(ask(tools=(ToolSpec(name="weather", parameters=schema, strict=True),)))
    assert encoded.body["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert ("tools[0].parameters", "changed") in noted(encoded)
    apart = {"type": "object", "properties": {"a": {"not": {"type": "string"}}}}
    encoded = encode(ask(tools=(ToolSpec(name="weather", parameters=apart, strict=True),)))
    assert encoded.body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == apart
    assert "toolConfig" not in encoded.body
    assert noted(encoded) == [("tools[0].strict", "changed")]


def test_structured_output() -> None:
    """The schema goes with the type of JSON."""
    config = encode(ask(output=OutputSchema(json_schema=SCHEMA))).body["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"]["properties"] == SCHEMA["properties"]


@pytest.mark.parametrize(
    ("asked", "profile", "config", "differs"),
    [
        (Reasoning(effort="high"), LEVELS, {"thinkingLevel": "HIGH"}, False),
        (Reasoning(effort="medium"), LEVELS, {"thinkingLevel": "LOW"}, True),
        (Reasoning(effort="none"), LEVELS, {"thinkingLevel": "LOW"}, True),
        (Reasoning(budget=10_000), LEVELS, {"thinkingLevel": "HIGH"}, True),
        (Reasoning(effort="low", budget=5), LEVELS, {"thinkingLevel": "LOW"}, True),
        (Reasoning(show=True), LEVELS, {"includeThoughts": True}, False),
        (
            Reasoning(budget=500, show=False),
            BUDGETS,
            {"includeThoughts": False, "thinkingBudget": 500},
            False,
        ),
        (Reasoning(budget=50_000), BUDGETS, {"thinkingBudget": 20_000}, True),
        (Reasoning(effort="low"), BUDGETS, {"thinkingBudget": 2048}, True),
        (Reasoning(effort="none"), BUDGETS, {"thinkingBudget": 128}, True),
        (Reasoning(effort="none"), None, {"thinkingBudget": 0}, False),
        (Reasoning(effort="medium"), None, {"thinkingLevel": "MEDIUM"}, False),
        (Reasoning(effort="max"), None, {"thinkingLevel": "HIGH"}, True),
        (Reasoning(budget=500), None, {"thinkingBudget": 500}, False),
        (Reasoning(), None, None, False),
        (Reasoning(effort="none"), OLD, None, False),
    ],
)
def test_reasoning(asked: Reasoning, profile: ModelProfile | None, config: Any, differs: bool) -> None:
    """A model is told in its own terms; the nearest is sent and told where it differs."""
    encoded = encode(ask(reasoning=asked), profile)
    assert encoded.body.get("generationConfig", {}).get("thinkingConfig") == config
    assert bool(encoded.adjustments) == differs


@pytest.mark.parametrize(
    ("fields", "profile"),
    [
        ({"reasoning": Reasoning(effort="high")}, OLD),
        ({"temperature": 2.5}, None),
        ({"temperature": 0.5}, ModelProfile(sampling=False)),
        ({"top_k": 3}, ModelProfile(sampling=False)),
        ({"stop": tuple("abcdef")}, None),
        ({"tools": (WEATHER,), "parallel_tool_calls": False}, None),
        ({"tools": (WEATHER,)}, ModelProfile(tools=False)),
        ({"tools": (ToolSpec(name="1st", parameters=SCHEMA),)}, None),
        ({"tools": (WEATHER,), "output": OutputSchema(json_schema=SCHEMA)}, BUDGETS),
        ({"system": "Be", "cache": CacheHints(content="cachedContents/x")}, None),
        ({"tools": (WEATHER,), "cache": CacheHints(content="cachedContents/x")}, None),
    ],
)
def test_what_cannot_be_done(fields: dict[str, Any], profile: ModelProfile | None) -> None:
    """It is an error, or with the caller's leave left out and told."""
    assert "on_unsupported" in refused(ask(**fields), profile)
    encoded = encode(ask(**fields, on_unsupported="adjust"), profile)
    assert all(one.action == "dropped" for one in encoded.adjustments)
    assert encoded.adjustments


def test_cache_hints() -> None:
    """What was cached beforehand is named; other hints are left out and told."""
    encoded = encode(ask(cache=CacheHints(content="cachedContents/x", key="k", ttl=60)))
    assert encoded.body["cachedContent"] == "cachedContents/x"
    assert noted(encoded) == [("cache.ttl", "dropped"), ("cache.key", "dropped")]
    assert noted(encode(ask(cache=CacheHints()))) == [("cache", "dropped")]
    assert noted(encode(ask(idempotency_key="k"))) == [("idempotency_key", "dropped")]


@pytest.mark.parametrize(
    "request_",
    [
        ask(Message(role="user", parts=())),
        ask(Message.system("alone")),
        ask(HI, provider_options={"gemini": {"contents": []}}),
        ask(HI, tool_choice="required"),
    ],
)
def test_what_no_call_can_be_made_of(request_: LLMRequest) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(InvalidRequest):
        CODEC.encode(request_, target())


@pytest.mark.parametrize("model", ["", "../x", "a/../b", "a?key=b", "a b", "a/", "a:b", "."])
def test_names_that_lead_elsewhere(model: str) -> None:
    """A model's name becomes part of the URL and cannot change it."""
    with pytest.raises(InvalidRequest, match="model"):
        CODEC.encode(ask(), target(model=model))


def test_names_of_models() -> None:
    """Names with their kind before them are names too."""
    for model in ("gemini-2.5-flash", "models/gemini-x@1", "tunedModels/a_b-1"):
        assert CODEC.encode(ask(), target(model=model)).body


def test_a_named_tool_that_is_left_out() -> None:
    """With the tool goes the choice of it, which is told."""
    odd = ToolSpec(name="1st", parameters=SCHEMA)
    request = ask(tools=(odd, WEATHER), tool_choice=NamedTool(name="1st"), on_unsupported="adjust")
    encoded = encode(request)
    assert "toolConfig" not in encoded.body
    assert noted(encoded) == [("tools[0].name", "dropped"), ("tool_choice", "dropped")]
