"""What calls cost, by the prices that genai-prices ships, or by the caller's own. Nothing is fetched, ever.

A price that may be wrong is unknown: of a model that the table does not have under its own provider, of a
service tier or a built-in tool without a price there, of tokens that were not reported to the end.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from llmgine.providers.contracts import (
    EmbeddingResponse,
    LLMResponse,
    OpaquePart,
    Usage,
    UsageSource,
)

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

_PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "openrouter": "openrouter",
    "xai": "x-ai",
    "deepseek": "deepseek",
    "groq": "groq",
    "mistral": "mistral",
}
_FREE = frozenset({"local", "scripted"})
_ORDINARY = frozenset({"auto", "default", "standard", "on_demand", "global", "not_available", ""})
_DATE = re.compile(r"[-@](\d{8}|\d{3,4}|\d{4}-\d\d-\d\d|\d\d-\d{4}|\d\d-\d\d)")
_SEARCHES = re.compile(r"-search-(preview|api)")  # such a model searches at each call, which is billed apart
_BATCH = "batch"
_MILLION = 1_000_000
_REMEMBERED = 1024

Pricer = Callable[[str, LLMResponse | EmbeddingResponse], Decimal | None]


def unpriced(asked: str, response: LLMResponse | EmbeddingResponse) -> Decimal | None:
    """A pricer that knows no price."""
    return None


class PriceOptions(BaseModel):
    """What a model costs, in US dollars per million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Decimal = Field(ge=0, description="of the prompt")
    output: Decimal = Field(default=Decimal(0), ge=0, description="of the answer")
    cache_read: Decimal | None = Field(
        default=None, ge=0, description="of the prompt, read from a cache; None: as the rest of it"
    )
    cache_write: Decimal | None = Field(
        default=None, ge=0, description="of the prompt, written to a cache; None: as the rest of it"
    )
    batch: Decimal | None = Field(
        default=None, ge=0, description="what of these prices is paid in a batch, as 0.5; None: not known"
    )


def pricer(name: str, kind: str, own: Mapping[str, PriceOptions], *, batch: bool = False) -> Pricer:
    """What prices the answers of endpoint `name`, given the model that was asked; `own` prices go first.

    With `batch` they came in one, where other prices hold.
    """

    def priced(asked: str, response: LLMResponse | EmbeddingResponse) -> Decimal | None:
        answered = response.model
        options = own.get(f"{name}/{asked}") or own.get(f"{name}/{answered}")
        if options is not None:
            cost = price_at(options, response.usage)
            if not batch or cost is None:
                return cost
            return None if options.batch is None else cost * options.batch
        if _bills_more(response):
            return None
        tier = response.provider_data.get("service_tier")
        cost = price(kind, answered, response.usage, tier=tier, batch=batch)
        if cost is None and _is_dated(answered, asked):  # the table does not have the date yet
            cost = price(kind, asked, response.usage, tier=tier, batch=batch)
        return cost

    return priced


def price(kind: str, model: str, usage: Usage, *, tier: object = None, batch: bool = False) -> Decimal | None:
    """US dollars for this usage of a model behind an endpoint of this kind or preset; None where unknown."""
    if kind in _FREE:
        return Decimal(0)
    if usage.source is not UsageSource.REPORTED or usage.input_tokens is None:
        return None
    if kind == "openrouter" and (billed := _billed(usage.raw)) is not None:
        return billed
    found = _find(_PROVIDERS.get(kind, ""), model)
    if found is None:
        return None
    provider, info = found
    context = _context(usage.raw, tier)
    if batch:
        context = {name: value for name, value in context.items() if value != _BATCH} | {"processing": _BATCH}
    if any(not _has_variant(info, name, value) for name, value in context.items()):
        return None
    from genai_prices import Usage as Counts

    try:
        counts = Counts(**_counts(kind, usage))
        return info.calc_price(counts, provider, price_context=context or None).total_price
    except ValueError:  # it prices a kind of token that the provider did not count apart
        return None


def price_at(options: PriceOptions, usage: Usage) -> Decimal | None:
    """US dollars for this usage by the caller's own prices; None where it was not reported to the end."""
    if usage.source is not UsageSource.REPORTED or usage.input_tokens is None:
        return None
    read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    total = options.input * (usage.input_tokens - read - written)
    total += read * (options.input if options.cache_read is None else options.cache_read)
    total += written * (options.input if options.cache_write is None else options.cache_write)
    return (total + options.output * (usage.output_tokens or 0)) / _MILLION


def context_window(kind: str, model: str) -> int | None:
    """How many tokens a model holds, where the price table knows it."""
    found = _find(_PROVIDERS.get(kind, ""), model)
    return None if found is None else found[1].context_window


def load() -> None:
    """Read the table now: it takes a tenth of a second, which no call should wait for."""
    _find("openai", "gpt-4o")


@functools.lru_cache(maxsize=_REMEMBERED)
def _find(provider_id: str, model: str) -> tuple[Provider, ModelInfo] | None:
    if not provider_id:
        return None
    from genai_prices.data_snapshot import get_snapshot

    try:
        provider, info = get_snapshot().find_provider_model(
            model.removeprefix("models/"), None, provider_id, None
        )
    except LookupError:
        return None
    # It may look further, among the models of another provider, whose prices need not hold here; a tuned
    # model has not the price of the one that it was made from; and Mistral's aliases move on.
    moves = provider_id == "mistral" and model.endswith("-latest") and info.id != model
    tuned = model.startswith("ft:") and not info.id.startswith("ft:")
    own = any(info is one for one in provider.models)
    return (provider, info) if own and not tuned and not moves else None


def _counts(kind: str, usage: Usage) -> dict[str, int]:
    """Tokens by the table's names, of which the more special are parts of the others."""
    raw = usage.raw
    output = usage.output_tokens or 0
    if kind == "xai":  # its completion tokens leave reasoning out, its total does not
        output = max(output, (_number(raw.get("total_tokens")) or 0) - (usage.input_tokens or 0))
    written = _mapping(raw.get("cache_creation"))
    searches = _mapping(raw.get("server_tool_use")).get("web_search_requests")
    counts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": output,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_write_5m_tokens": _number(written.get("ephemeral_5m_input_tokens")),
        "cache_write_1h_tokens": _number(written.get("ephemeral_1h_input_tokens")),
        "web_searches": _number(searches),
        **_media(raw),
    }
    return {name: count for name, count in counts.items() if count}


def _media(raw: Mapping[str, Any]) -> dict[str, int | None]:
    """Tokens of other media than text, which some models bill apart."""
    counts: dict[str, int | None] = {
        "input_audio_tokens": _number(_mapping(raw.get("prompt_tokens_details")).get("audio_tokens")),
        "output_audio_tokens": _number(_mapping(raw.get("completion_tokens_details")).get("audio_tokens")),
    }
    for field, name in _MODALITIES.items():
        details = raw.get(field)
        for one in details if isinstance(details, list) else ():
            modality = str(_mapping(one).get("modality", "")).lower()
            if modality in ("audio", "image", "video"):
                counts[name.format(modality)] = _number(one.get("tokenCount"))
    return counts


_MODALITIES = {
    "promptTokensDetails": "input_{}_tokens",
    "cacheTokensDetails": "cache_{}_read_tokens",
    "candidatesTokensDetails": "output_{}_tokens",
}


def _context(raw: Mapping[str, Any], tier: object) -> dict[str, str]:
    """What of the call has a price of its own: its place in the queue, how fast and where it was served."""
    given = {name: raw.get(name) for name in ("service_tier", "speed", "inference_geo")}
    given["service_tier"] = tier or given["service_tier"]
    said = {name: str(value or "").lower() for name, value in given.items()}
    return {name: value for name, value in said.items() if value not in _ORDINARY}


def _has_variant(info: ModelInfo, name: str, value: str) -> bool:
    return any(variant.when == {name: value} for variant in info.price_variants or ())


def _billed(raw: Mapping[str, Any]) -> Decimal | None:
    """What OpenRouter says that it took, and with the caller's own key also what its provider will."""
    cost = raw.get("cost")
    if not _is_amount(cost):
        return None
    upstream = _mapping(raw.get("cost_details")).get("upstream_inference_cost")
    own_key = raw.get("is_byok") is True
    return Decimal(str(cost)) + (Decimal(str(upstream)) if own_key and _is_amount(upstream) else 0)


def _bills_more(response: LLMResponse | EmbeddingResponse) -> bool:
    """Whether tools ran at the provider that it bills by the call and not in tokens."""
    if isinstance(response, EmbeddingResponse):
        return False
    if _SEARCHES.search(response.model):
        return True
    grounding = _mapping(response.provider_data.get("groundingMetadata"))
    parts = response.message.parts
    return bool(grounding.get("webSearchQueries")) or any(
        isinstance(part, OpaquePart) and part.kind.endswith("_call") for part in parts
    )


def _is_dated(answered: str, asked: str) -> bool:
    return answered.startswith(asked) and _DATE.fullmatch(answered[len(asked) :]) is not None


def _is_amount(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < float("inf")  # type: ignore[operator]


def _number(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
