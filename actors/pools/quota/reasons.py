"""What is told of a limit that a call waits for, and which setting it comes from."""

from __future__ import annotations

from typing import Final

from llmgine.actors.pools.quota.meters import DAY, MINUTE, Limit, Meter, Need, Of
from llmgine.actors.pools.quota.plan import SETTING_OF

_NAMES: Final[dict[Of, str]] = {
    "requests": "requests",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "tokens": "tokens",
    "concurrency": "calls at once",
    "trial": "unanswered calls at once while its limits are unknown",
    "dollars": "dollars",
}
_SPANS: Final = {MINUTE: "minute", 3600.0: "hour", DAY: "day"}


def allowance(meter: Meter, limit: Limit) -> str:
    """So much a minute, or at once."""
    amount = f"{limit.amount:,.2f}".removesuffix(".00")
    if meter.of in ("concurrency", "trial"):
        return f"{amount} {_NAMES[meter.of]}"
    return f"{amount} {_NAMES[meter.of]} a {_SPANS.get(limit.window, f'{limit.window:g} s')}"


def used_up(meter: Meter, limit: Limit | None) -> str:
    """Why a call waited in vain."""
    whom = f"key {meter.key}" + (f" with {meter.group}" if meter.group else "")
    if limit is None:
        return f"the provider has refused calls of {whom}, and the time that it named is not over"
    return f"{whom} may use {allowance(meter, limit)}, and no part of that was free in time"


def too_large(meter: Meter, limit: Limit, need: Need) -> str:
    """Why a call need not wait."""
    needs = f"{need.of(meter.of):,.2f}".removesuffix(".00")
    may_use = allowance(meter, limit)
    return f"the call needs about {needs} {_NAMES[meter.of]}, and key {meter.key} may use {may_use}"


def setting(pool: str, meter: Meter, limit: Limit | None, *, only: bool) -> str:
    """What changes the limit; `only` says that the endpoint's key is its only one, without a name."""
    endpoint = f"providers.endpoints.{pool}"
    place = f"{endpoint}.limits" if only else f"limits of key {meter.key} in {endpoint}.keys"
    if limit is None:
        return f"more keys in {endpoint}.keys share the calls"
    if limit.source == "settings" and meter.of in SETTING_OF:
        of_models = f", models {meter.group!r}," if meter.group else ""
        return f"{place}:{of_models} {SETTING_OF[meter.of]} sets it"
    if limit.source == "trial":
        return "pools.default.quota.trial sets with how many it begins"
    source = "it is guessed from refusals" if limit.source == "refusals" else "the provider tells of it"
    return f"{source}; {place} can set others, and learn there says whether it counts"
