"""What models can do, by their names."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from llmgine.providers.catalogue.profiles import (
    UNKNOWN_MODEL,
    ModelProfile,
    ProfileOptions,
    overridden,
    profile_of,
    profiler,
    table_of,
)
from llmgine.providers.contracts import Reasoning
from llmgine.providers.options import ProvidersOptions


@pytest.mark.parametrize(
    ("kind", "model", "expected"),
    [
        ("openai", "gpt-4o", {"reasoning": "none", "sampling": True, "output": "native", "audio": False}),
        ("openai", "gpt-4o-2024-05-13", {"output": "tool"}),
        ("openai", "gpt-4-0613", {"images": False, "output": "tool", "context": 8192}),
        ("openai", "gpt-4.1-mini", {"reasoning": "none", "context": 1_047_576}),
        ("openai", "gpt-4o-audio-preview", {"audio": True, "images": False}),
        ("openai", "o3-mini", {"efforts": ("low", "medium", "high"), "sampling": False, "images": False}),
        ("openai", "o1-mini", {"tools": False, "reasoning": "none"}),
        ("openai", "gpt-5-mini-2025-08-07", {"efforts": ("minimal", "low", "medium", "high")}),
        ("openai", "gpt-5-chat-latest", {"reasoning": "none", "efforts": (), "sampling": True}),
        ("openai", "gpt-5.1", {"efforts": ("none", "low", "medium", "high"), "sampling": True}),
        ("openai", "gpt-5.2-pro", {"efforts": ("medium", "high", "xhigh"), "sampling": False}),
        ("openai", "gpt-5.5", {"efforts": ("none", "low", "medium", "high", "xhigh"), "sampling": False}),
        ("openai", "gpt-5.6-sol", {"efforts": ("none", "low", "medium", "high", "xhigh", "max")}),
        ("openai", "gpt-6.1-sol", {"efforts": ("low", "medium", "high", "xhigh", "max")}),
        ("anthropic", "claude-3-haiku-20240307", {"reasoning": "none", "output": "tool", "prefill": True}),
        ("anthropic", "claude-3-7-sonnet-latest", {"reasoning": "budget", "budgets": (1024, 63_999)}),
        ("anthropic", "claude-opus-4-20250514", {"max_output": 32_000, "output": "tool"}),
        ("anthropic", "claude-sonnet-4-5-20250929", {"reasoning": "budget", "output": "native"}),
        ("anthropic", "claude-opus-4-6", {"reasoning": "effort", "prefill": False, "sampling": True}),
        ("anthropic", "claude-opus-4-7", {"reasoning": "effort", "sampling": False, "prefill": False}),
        ("anthropic", "claude-opus-5-5", {"efforts": ("low", "medium", "high", "xhigh", "max")}),
        ("anthropic", "claude-opus-5", {"late_system": True, "forced_tools": True}),
        ("anthropic", "claude-sonnet-5", {"late_system": False, "forced_tools": True}),
        ("anthropic", "claude-sonnet-5-5", {"late_system": False, "forced_tools": False}),
        ("anthropic", "claude-mythos-5-1", {"late_system": True, "forced_tools": False}),
        ("gemini", "gemini-2.0-flash", {"reasoning": "none", "output_with_tools": False}),
        ("gemini", "models/gemini-2.5-pro", {"reasoning": "budget", "budgets": (128, 32_768)}),
        ("gemini", "gemini-2.5-flash-lite", {"budgets": (0, 24_576)}),
        ("gemini", "gemini-3-pro-preview", {"efforts": ("low", "high"), "output_with_tools": True}),
        ("gemini", "gemma-3-27b-it", {"tools": False, "output": "prompt"}),
        ("mistral", "mistral-large-latest", {"audio": False, "reasoning": "none"}),
        ("deepseek", "deepseek-chat", {"output": "tool", "images": False}),
        ("vllm", "deepseek-ai/DeepSeek-V3", {"output": "native", "images": False}),
        ("ollama", "llama3.1:8b", {"images": False, "reasoning": "none"}),
        ("openrouter", "meta-llama/llama-3.2-11b-vision-instruct", {"images": True}),
        ("openrouter", "qwen/qwen2.5-vl-72b", {"images": True}),
        ("openrouter", "qwen/qwen3-32b", {"images": False}),
        ("openrouter", "qwen/qwen3.5-9b", {"images": True}),
        ("xai", "grok-3", {"reasoning": "none", "images": False}),
        ("xai", "grok-3-mini", {"efforts": ("none", "low", "high")}),
        ("xai", "grok-4-0709", {"reasoning": "none", "images": True}),
        ("xai", "grok-4.20-0309-reasoning", {"reasoning": "none"}),
        ("xai", "grok-4.3-latest", {"efforts": ("none", "low", "medium", "high")}),
        ("xai", "grok-4.6", {"efforts": ("low", "medium", "high")}),
        ("xai", "grok-4.7", {"efforts": ("low", "medium", "high", "xhigh")}),
        ("xai", "grok-5", {"reasoning": None}),
        ("mistral", "mistral-large-4-0", {"efforts": ("none", "high")}),
        ("mistral", "mistral-medium", {"efforts": ("none", "high")}),
        ("mistral", "mistral-medium-2508", {"reasoning": "none"}),
        ("deepseek", "deepseek-v4-flash", {"images": True, "efforts": ("none", "high", "max")}),
        ("groq", "openai/gpt-oss-20b", {"efforts": ("low", "medium", "high"), "sampling": True}),
        ("local", "smollm2", {"tools": True, "images": False, "reasoning": "none"}),
    ],
)
def test_what_a_name_tells(kind: str, model: str, expected: dict[str, Any]) -> None:
    """Each family, generation and size is known by what differs in calling it."""
    profile = profile_of(kind, model).model_dump()
    assert {name: profile[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("openai", "gpt-4o-mini"), ("openrouter", "openai/gpt-4o-mini")),
        (("openai", "gpt-4o-mini"), ("openai", "ft:gpt-4o-mini:house::1")),
        (("openai", "gpt-5.1"), ("openai", "gpt-5-1")),
        (("anthropic", "claude-sonnet-4-5"), ("openrouter", "anthropic/claude-sonnet-4.5")),
        (("anthropic", "claude-3-7-sonnet-latest"), ("openrouter", "anthropic/claude-3.7-sonnet:thinking")),
        (("gemini", "gemini-2.5-pro"), ("gemini", "models/Gemini-2.5-Pro-preview-06-05")),
    ],
)
def test_a_model_is_the_same_by_all_its_names(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Resellers' prefixes, dates, case and the two ways to write a version change nothing."""
    assert profile_of(*one) == profile_of(*other)


@pytest.mark.parametrize(
    ("model", "by_itself", "told_not_to_think"),
    [
        ("gpt-4o", True, True),
        ("gpt-5", False, False),
        ("gpt-5.2", True, True),
        ("gpt-5.5", False, True),
        ("gpt-5.5-pro", False, False),
        ("gpt-5.6-sol", False, True),
        ("gpt-6-luna", False, True),
        ("gpt-6.1-terra", False, True),
        ("gpt-6.1-sol", False, False),
        ("claude-opus-4-7", False, False),
    ],
)
def test_sampling_may_hang_on_thinking(model: str, by_itself: bool, told_not_to_think: bool) -> None:
    """Some models take a temperature only while they do not think."""
    profile = profile_of("openai", model)
    assert profile.samples(None) is profile.samples(Reasoning(effort="high")) is by_itself
    assert profile.samples(Reasoning(effort="none")) is told_not_to_think


def test_what_nobody_knows_is_possible() -> None:
    """An unknown model and a script can do everything."""
    assert profile_of("vllm", "house/our-own-model") == UNKNOWN_MODEL
    assert profile_of("scripted", "claude-opus-4-7") == UNKNOWN_MODEL


def test_settings_go_over_the_table() -> None:
    """What settings say of one model changes that and leaves the rest, at this endpoint only."""
    options = ProvidersOptions.model_validate(
        {"profiles": {"openrouter/openai/gpt-4o": {"tools": False, "efforts": ["low"]}}}
    )
    known = profile_of("openrouter", "openai/gpt-4o")
    there = profiler("openrouter", "openrouter", options.profiles)
    assert there("openai/gpt-4o") == known.model_copy(update={"tools": False, "efforts": ("low",)})
    assert there("openai/gpt-4o-mini").tools
    assert profiler("openai", "openai", options.profiles)("openai/gpt-4o").tools
    assert ProvidersOptions.model_validate(options.model_dump(mode="json")) == options


def test_nothing_said_changes_nothing() -> None:
    """No override, and an empty one, leave the profile as it is."""
    profile = ModelProfile(tools=False)
    assert overridden(profile, None) is overridden(profile, ProfileOptions()) is profile


def test_every_field_can_be_set() -> None:
    """A setting exists for each thing that a profile knows, and for nothing else."""
    assert ProfileOptions.model_fields.keys() == ModelProfile.model_fields.keys()
    with pytest.raises(ValidationError, match="Extra inputs"):
        ProvidersOptions.model_validate({"profiles": {"openai/x": {"tool": True}}})


@pytest.mark.parametrize("name", ["gpt-4o", "opnai/gpt-4o", "openai/", "openai"])
@pytest.mark.parametrize("field", ["profiles", "prices"])
def test_what_is_said_of_no_model_is_refused(field: str, name: str) -> None:
    """A setting for a model that no endpoint serves would change nothing, so it is an error."""
    said = {"input": 1} if field == "prices" else {"tools": False}
    with pytest.raises(ValidationError, match=f"{field} are kept by provider/model, and '{name}'"):
        ProvidersOptions.model_validate({field: {name: said}})


def test_the_context_is_found_among_the_prices() -> None:
    """How much a model holds is told where only the price table knows it."""
    assert profile_of("xai", "grok-4").context is None
    assert profiler("xai", "xai", {})("grok-4").context == 256_000
    assert profiler("house", "openai-compatible", {})("grok-4").context is None


def test_a_row_that_says_something_unknown_is_an_error() -> None:
    """A slip in the table is found when it is read."""
    with pytest.raises(ValidationError):
        table_of([{"match": "x", "tols": False}])
    with pytest.raises(re.error):
        table_of([{"match": "("}])
