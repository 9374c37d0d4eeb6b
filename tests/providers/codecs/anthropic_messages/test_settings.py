"""How much a model thinks, says and chooses by chance, in the Messages protocol's terms."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.providers.catalogue.profiles import UNKNOWN_MODEL, ModelProfile
from llmgine.providers.codecs import AnthropicMessagesCodec, Target
from llmgine.providers.contracts import (
    LLMRequest,
    Message,
    NamedTool,
    Origin,
    Reasoning,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)
from llmgine.providers.errors import ErrorKind, ProviderError

CODEC = AnthropicMessagesCodec()
BUDGET = ModelProfile(reasoning="budget", budgets=(1024, 31_999), max_output=32_000)
EFFORT = ModelProfile(reasoning="effort", efforts=("none", "low", "medium", "high", "max"), max_output=64_000)
ALWAYS = ModelProfile(reasoning="effort", efforts=("low", "medium", "high", "max"))
NEVER = ModelProfile(reasoning="none", max_output=4096)
TOOL = ToolSpec(name="f", parameters={"type": "object"})


def encode(
    profile: ModelProfile = UNKNOWN_MODEL, **fields: Any
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    fields.setdefault("messages", (Message.user("hi"),))
    request = LLMRequest(model="anthropic/claude-x", **fields)
    encoded = CODEC.encode(request, Target("anthropic", "claude-x", profile))
    return encoded.body, [(note.field, note.action) for note in encoded.adjustments]


def enabled(budget: int, **more: Any) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": budget, **more}


ADAPTIVE = {"type": "adaptive"}
TOLD = [("reasoning", "changed")]


@pytest.mark.parametrize(
    ("profile", "reasoning", "thinking", "effort", "notes"),
    [
        (BUDGET, Reasoning(budget=4000), enabled(4000), None, []),
        (BUDGET, Reasoning(budget=4000, effort="low"), enabled(4000), None, []),
        (BUDGET, Reasoning(budget=10), enabled(1024), None, TOLD),
        (BUDGET, Reasoning(budget=90_000), enabled(31_999), None, TOLD),
        (BUDGET, Reasoning(effort="low"), enabled(2048), None, TOLD),
        (BUDGET, Reasoning(show=True), enabled(8192, display="summarized"), None, TOLD),
        (BUDGET, Reasoning(effort="none"), {"type": "disabled"}, None, []),
        (BUDGET, Reasoning(budget=0), {"type": "disabled"}, None, []),
        (EFFORT, Reasoning(effort="high"), ADAPTIVE, "high", []),
        (EFFORT, Reasoning(effort="minimal"), ADAPTIVE, "low", TOLD),
        (EFFORT, Reasoning(effort="xhigh"), ADAPTIVE, "high", TOLD),
        (EFFORT, Reasoning(budget=10_000), ADAPTIVE, "high", TOLD),
        (EFFORT, Reasoning(budget=10_000, effort="low"), ADAPTIVE, "low", [("reasoning.budget", "dropped")]),
        (ALWAYS, Reasoning(show=False), ADAPTIVE | {"display": "omitted"}, None, []),
        (EFFORT, Reasoning(show=False), None, None, []),
        (BUDGET, Reasoning(show=False), None, None, []),
        (EFFORT, Reasoning(effort="none"), {"type": "disabled"}, None, []),
        (ALWAYS, Reasoning(effort="none"), ADAPTIVE, "low", TOLD),
        (
            UNKNOWN_MODEL,
            Reasoning(effort="xhigh", show=True),
            ADAPTIVE | {"display": "summarized"},
            "xhigh",
            [],
        ),
        (UNKNOWN_MODEL, Reasoning(budget=2000), enabled(2000), None, []),
        (NEVER, Reasoning(effort="none"), None, None, []),
        (EFFORT, Reasoning(), None, None, []),
    ],
)
def test_a_model_is_told_how_much_to_think_in_its_own_terms(
    profile: ModelProfile,
    reasoning: Reasoning,
    thinking: Any,
    effort: str | None,
    notes: list[tuple[str, str]],
) -> None:
    """A level or a number of tokens becomes what the model takes, and the nearest one is noted."""
    body, noted = encode(profile, reasoning=reasoning)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort
    assert noted == notes


def test_a_model_that_does_not_think_is_not_asked_to() -> None:
    """Thinking of a model that cannot is an error."""
    with pytest.raises(ProviderError, match="does not think") as caught:
        encode(NEVER, reasoning=Reasoning(effort="low"))
    assert caught.value.kind is ErrorKind.UNSUPPORTED


@pytest.mark.parametrize(
    ("profile", "fields", "limit", "budget"),
    [
        (UNKNOWN_MODEL, {}, 16_000, None),
        (NEVER, {}, 4096, None),
        (NEVER, {"max_output_tokens": 9000}, 9000, None),
        (BUDGET, {"reasoning": Reasoning(budget=4000)}, 20_000, 4000),
        (BUDGET, {"reasoning": Reasoning(budget=31_000)}, 32_000, 31_000),
        (EFFORT, {"reasoning": Reasoning(effort="low")}, 32_000, None),
        (BUDGET, {"reasoning": Reasoning(budget=4000), "max_output_tokens": 3000}, 3000, 2250),
        (BUDGET, {"reasoning": Reasoning(budget=4000), "max_output_tokens": 1025}, 1025, 1024),
    ],
)
def test_the_limit_leaves_room_for_thinking(
    profile: ModelProfile, fields: dict[str, Any], limit: int, budget: int | None
) -> None:
    """A limit of ours grows by the thinking up to what the model can say; one that was asked for stays."""
    body, _ = encode(profile, **fields)
    assert body["max_tokens"] == limit
    assert body.get("thinking", {}).get("budget_tokens") == budget


def test_too_small_a_limit_for_any_thinking_is_an_error() -> None:
    """Where not even the least thinking fits, nothing is changed in silence."""
    with pytest.raises(ProviderError, match="max_output_tokens"):
        encode(BUDGET, reasoning=Reasoning(budget=2000), max_output_tokens=1024)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0.5),
        ("top_p", 0.5),
        ("top_k", 5),
    ],
)
def test_what_thinking_rules_out(field: str, value: Any) -> None:
    """Settings that do not go together with thinking are errors, and go without it."""
    for profile in (BUDGET, EFFORT):
        with pytest.raises(ProviderError, match=f"{field}: .*think"):
            encode(profile, reasoning=Reasoning(effort="low"), tools=(TOOL,), **{field: value})
        body, notes = encode(profile, tools=(TOOL,), **{field: value})
        assert field in body
        assert notes == []
    body, notes = encode(
        BUDGET,
        reasoning=Reasoning(budget=2000),
        tools=(TOOL,),
        on_unsupported="adjust",
        **{field: value},
    )
    assert field not in body
    assert notes == [(field, "dropped")]


@pytest.mark.parametrize("choice", ["required", NamedTool(name="f")])
def test_calls_that_are_forced(choice: Any) -> None:
    """Thinking by tokens rules them out, by effort it steps aside, which is told; some models refuse them."""
    fields: dict[str, Any] = {"tool_choice": choice, "tools": (TOOL,)}
    body, notes = encode(EFFORT, reasoning=Reasoning(effort="low"), **fields)
    assert body["tool_choice"]["type"] == ("any" if choice == "required" else "tool")
    assert (body["thinking"], notes) == (ADAPTIVE, TOLD)
    unforced = ModelProfile(forced_tools=False)
    for profile, asked in ((BUDGET, Reasoning(budget=2000)), (unforced, None)):
        with pytest.raises(ProviderError, match=r"tool_choice: .*cannot be made to call a tool"):
            encode(profile, reasoning=asked, **fields)
        body, notes = encode(profile, reasoning=asked, on_unsupported="adjust", **fields)
        assert "tool_choice" not in body
        assert notes == [("tool_choice", "dropped")]
    assert encode(unforced, tools=(TOOL,), tool_choice="none")[0]["tool_choice"] == {"type": "none"}


def test_what_goes_together_with_thinking() -> None:
    """A temperature of 1 and a wide top_p are what the model does anyway."""
    body, notes = encode(BUDGET, reasoning=Reasoning(budget=2000), temperature=1, top_p=0.95)
    assert (body["temperature"], body["top_p"], notes) == (1, 0.95, [])


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k"])
def test_a_model_without_sampling(field: str) -> None:
    """A model that takes no temperature is not sent one."""
    fields: dict[str, Any] = {field: 1}
    with pytest.raises(ProviderError, match=f"{field}: this model"):
        encode(ModelProfile(sampling=False), **fields)
    body, _ = encode(**fields)
    assert body[field] == 1


def test_a_turn_begun_without_thinking_is_gone_on_with_without_it() -> None:
    """Between calls and results that another model began, a model with a budget does not think."""
    call = ToolCallPart(id="a", name="f", arguments={})
    result = Message(role="tool", parts=(ToolResultPart(call_id="a", content=(TextPart(text="1"),)),))
    question = Message.user("q")
    origin = Origin(provider="anthropic", api="anthropic-messages", model="claude-x")
    thought = ThinkingPart(text="t", signature="s", origin=origin)
    foreign = Message(role="assistant", parts=(call,))
    own = Message(role="assistant", parts=(thought, call))
    fields = {"reasoning": Reasoning(budget=2000), "temperature": 0.5, "tools": (TOOL,)}
    body, notes = encode(BUDGET, messages=(question, foreign, result), **fields)
    assert ("thinking" in body, body["temperature"], notes) == (False, 0.5, TOLD)
    fields.pop("temperature")
    for messages in (
        (question, own, result),
        (question, own, result, foreign, result),
        (question, foreign, result, Message.assistant("1"), Message.user("and?")),
    ):
        body, notes = encode(BUDGET, messages=messages, **fields)
        assert (body.get("thinking"), notes) == (enabled(2000), [])
    body, _ = encode(EFFORT, messages=(question, foreign, result), reasoning=Reasoning(effort="low"))
    assert body["thinking"] == ADAPTIVE


def test_strict_tools() -> None:
    """A strict tool has its schema in the vendor's dialect; one that it has no words for goes as it is."""
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]}
    body, notes = encode(tools=(ToolSpec(name="f", parameters=schema, strict=True),))
    (tool,) = body["tools"]
    assert tool["strict"] is True
    assert tool["input_schema"]["additionalProperties"] is False
    assert notes
    assert set(notes) == {("tools[0].parameters", "changed")}
    endless = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    body, notes = encode(tools=(ToolSpec(name="f", parameters=endless, strict=True),))
    assert body["tools"] == [{"name": "f", "input_schema": endless}]
    assert notes == [("tools[0].strict", "changed")]
    body, notes = encode(tools=(ToolSpec(name="f", parameters=endless),))
    assert (body["tools"][0]["input_schema"], notes) == (endless, [])


def test_a_model_without_tools() -> None:
    """Tools for a model that has none are an error."""
    with pytest.raises(ProviderError, match="tools"):
        encode(ModelProfile(tools=False), tools=(TOOL,))


def test_the_idempotency_key_is_a_header() -> None:
    """It goes beside the request's own headers, which may name beta features."""
    request = LLMRequest(
        model="anthropic/claude-x",
        messages=(Message.user("hi"),),
        idempotency_key="k1",
        extra_headers={"anthropic-beta": "b"},
    )
    encoded = CODEC.encode(request, Target("anthropic", "claude-x"))
    assert encoded.headers == {"Idempotency-Key": "k1", "anthropic-beta": "b"}
