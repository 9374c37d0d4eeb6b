"""What calls cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from llmgine.providers.catalogue.prices import PriceOptions, context_window, price, price_at, pricer
from llmgine.providers.contracts import (
    AnyPart,
    EmbeddingResponse,
    FinishReason,
    LLMResponse,
    Message,
    OpaquePart,
    TextPart,
    Usage,
    UsageSource,
)
from llmgine.providers.options import ProvidersOptions

MILLION = 1_000_000


def used(source: UsageSource = UsageSource.REPORTED, **fields: Any) -> Usage:
    return Usage(**{"input_tokens": MILLION, "output_tokens": MILLION, "source": source} | fields)


def answer(model: str, usage: Usage, *parts: AnyPart, **fields: Any) -> LLMResponse:
    message = Message(role="assistant", parts=parts or (TextPart(text="hi"),))
    return LLMResponse(
        message=message, finish_reason=FinishReason.STOP, usage=usage, model=model, provider="p", **fields
    )


@pytest.mark.parametrize(
    ("kind", "model", "input_price", "output_price"),
    [
        ("openai", "gpt-4o", "2.5", "10"),
        ("openai", "gpt-4o-mini-2024-07-18", "0.15", "0.6"),
        ("openai", "o3", "2", "8"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:house::1", "0.3", "1.2"),
        ("openai", "text-embedding-3-large", "0.13", "0"),
        ("anthropic", "claude-3-haiku-20240307", "0.25", "1.25"),
        ("anthropic", "claude-sonnet-4-5-20250929", "3", "15"),
        ("anthropic", "claude-opus-4-1", "15", "75"),
        ("gemini", "models/gemini-2.5-flash", "0.3", "2.5"),
        ("openrouter", "openai/gpt-4o", "2.5", "10"),
        ("gemini", "gemini-2.0-flash", "0.1", "0.4"),
        ("xai", "grok-4", "3", "15"),
        ("groq", "llama-3.3-70b-versatile", "0.59", "0.79"),
        ("mistral", "mistral-small-latest", "0.15", "0.6"),
    ],
)
def test_a_known_model_has_its_price(kind: str, model: str, input_price: str, output_price: str) -> None:
    """Names with and without a date cost what their vendors publish for a million tokens."""
    thousand = MILLION // 1000
    assert price(kind, model, used(input_tokens=thousand, output_tokens=0)) == Decimal(input_price) / 1000
    assert price(kind, model, used(input_tokens=0, output_tokens=thousand)) == Decimal(output_price) / 1000


def test_prices_are_exact() -> None:
    """One token is not rounded away."""
    assert price("openai", "gpt-4o", used(input_tokens=1, output_tokens=1)) == Decimal("0.0000125")


def test_cached_tokens_have_prices_of_their_own() -> None:
    """What was read from a cache costs less, what was written costs more, by how long it is kept."""
    usage = used(input_tokens=3000, output_tokens=10, cache_read_tokens=1000, cache_write_tokens=1000)
    plain = Decimal(1000 * 3 + 10 * 15) / MILLION
    cached = plain + Decimal("0.3") / 1000
    assert price("anthropic", "claude-sonnet-4-5", usage) == cached + Decimal("3.75") / 1000
    kept = {"ephemeral_5m_input_tokens": 600, "ephemeral_1h_input_tokens": 400}
    raw = usage.model_copy(update={"raw": {"cache_creation": kept}})
    written = Decimal(600) * Decimal("3.75") + 400 * 6
    assert price("anthropic", "claude-sonnet-4-5", raw) == cached + written / MILLION


def test_long_prompts_and_other_media_have_prices_of_their_own() -> None:
    """A prompt past a vendor's limit, and sound in it, are priced as the vendor does."""
    short, long = used(input_tokens=100_000, output_tokens=0), used(input_tokens=300_000, output_tokens=0)
    assert price("gemini", "gemini-2.5-pro", short) == Decimal("0.125")
    assert price("gemini", "gemini-2.5-pro", long) == Decimal("0.75")
    sound = [{"modality": "TEXT", "tokenCount": 0}, {"modality": "AUDIO", "tokenCount": MILLION}]
    usage = used(output_tokens=0, raw={"promptTokensDetails": sound})
    assert price("gemini", "gemini-2.5-flash", usage) == Decimal(1)


def test_the_service_tier_counts() -> None:
    """A tier has its own price; one without a known price makes the cost unknown."""
    assert price("openai", "gpt-5", used(), tier="default") == Decimal("11.25")
    assert price("openai", "gpt-5", used(), tier="flex") == Decimal("5.625")
    assert price("openai", "gpt-5", used(), tier="bespoke") is None
    assert price("anthropic", "claude-sonnet-4-5", used(raw={"service_tier": "priority"})) is None
    assert price("anthropic", "claude-sonnet-4-5", used(raw={"service_tier": "standard"})) is not None


@pytest.mark.parametrize(
    ("kind", "model", "usage"),
    [
        ("openai", "house-model", used()),
        ("openai-compatible", "gpt-4o", used()),
        ("vllm", "gpt-4o", used()),
        ("gemini", "claude-2", used()),
        ("deepseek", "gpt-4o", used()),
        ("openai", "ft:gpt-4-0613:house::1", used()),
        ("mistral", "mistral-large-latest", used()),
        ("anthropic", "claude-opus-4-7", used(raw={"inference_geo": "us"})),
        ("openai", "gpt-4o", used(UsageSource.PARTIAL)),
        ("openai", "gpt-4o", used(UsageSource.ESTIMATED)),
        ("openai", "gpt-4o", Usage()),
    ],
)
def test_what_may_be_wrong_is_unknown(kind: str, model: str, usage: Usage) -> None:
    """A model of another seller, a tuned or a moving one, a place that costs more, or tokens that were not
    told to the end, have no price."""
    assert price(kind, model, usage) is None


def test_what_runs_here_is_free() -> None:
    """The local model and the scripted one cost nothing, whatever was counted."""
    assert price("local", "smollm2", Usage()) == price("scripted", "echo", used()) == 0


def test_openrouter_says_itself_what_it_took() -> None:
    """Its own word goes before the table; with the caller's own key the provider's bill comes on top."""
    assert price("openrouter", "some/new-model", used(raw={"cost": 0.00078})) == Decimal("0.00078")
    details = {"upstream_inference_cost": 0.01}
    own_key = used(raw={"cost": 0.0005, "is_byok": True, "cost_details": details})
    assert price("openrouter", "some/new-model", own_key) == Decimal("0.0105")
    assert price("openrouter", "some/new-model", used(raw={"cost": None})) is None


def test_xai_bills_reasoning_beside_the_answer() -> None:
    """Its completion tokens leave reasoning out; the total holds it."""
    usage = used(input_tokens=100, output_tokens=10, raw={"total_tokens": 150})
    assert price("xai", "grok-4", usage) == Decimal(100 * 3 + 50 * 15) / MILLION


def test_own_prices_go_first() -> None:
    """A price in the settings holds for its model at its endpoint, by the name that was asked."""
    options = ProvidersOptions.model_validate(
        {"prices": {"vllm/house": {"input": "0.1", "output": "0.2", "cache_read": "0.01"}}}
    )
    priced = pricer("vllm", "vllm", options.prices)
    usage = used(cache_read_tokens=500_000)
    assert priced("house", answer("house-awq", usage)) == Decimal("0.255")
    assert priced("other", answer("other", usage)) is None
    assert price_at(PriceOptions(input=Decimal(1)), used(UsageSource.PARTIAL)) is None
    assert ProvidersOptions.model_validate(options.model_dump(mode="json")) == options


def test_a_dated_name_that_is_new_has_the_price_of_its_family() -> None:
    """The model that answered is priced; where its dated name is unknown, the one that was asked."""
    priced = pricer("openai", "openai", {})
    assert priced("gpt-4o", answer("gpt-4o-2031-01-01", used())) == Decimal("12.50")
    assert priced("auto", answer("gpt-4o", used())) == Decimal("12.50")
    assert priced("gpt-4o", answer("house-model", used())) is None
    assert priced("gpt-4o", answer("gpt-4o-giant-2031-01-01", used())) is None


def test_tools_that_ran_at_the_vendor_make_the_cost_unknown() -> None:
    """A search that is billed by the call is not in the tokens."""
    assert pricer("openai", "openai", {})("gpt-4o", answer("gpt-4o-mini-search-preview", used())) is None
    searched = answer("gpt-4o", used(), OpaquePart(kind="web_search_call", data={}))
    assert pricer("openai", "openai", {})("gpt-4o", searched) is None
    data = {"groundingMetadata": {"webSearchQueries": ["tea"]}}
    grounded = answer("gemini-2.5-flash", used(), provider_data=data)
    assert pricer("gemini", "gemini", {})("gemini-2.5-flash", grounded) is None


def test_the_tier_that_served_is_the_one_that_is_priced() -> None:
    """The response says which tier it came from."""
    flex = answer("gpt-5", used(), provider_data={"service_tier": "flex"})
    assert pricer("openai", "openai", {})("gpt-5", flex) == Decimal("5.625")


def test_embeddings_have_prices() -> None:
    """The tokens of texts that became vectors are priced alike."""
    made = EmbeddingResponse(
        vectors=((1.0,),), usage=used(output_tokens=0), model="text-embedding-3-small", provider="openai"
    )
    assert pricer("openai", "openai", {})("text-embedding-3-small", made) == Decimal("0.02")


def test_how_much_a_model_holds() -> None:
    """The table's context windows are told where it has one."""
    assert context_window("openai", "gpt-4o") == 128_000
    assert context_window("vllm", "gpt-4o") is None
