"""Where OpenAI's Responses protocol is told what of a prompt is worth keeping."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.openai_settings import cache_key, cache_retention

_HOUR = 3600


@dataclass(frozen=True, slots=True)
class CachePlan:
    """The fields of the body, and what ends with a breakpoint: the system prompt, messages by number."""

    fields: dict[str, Any] = field(default_factory=dict)
    system: bool = False
    messages: frozenset[int] = frozenset()


def cache_plan(encoding: Encoding) -> CachePlan:
    """What becomes of the request's cache hints; what has no place is left out and noted."""
    cache = encoding.request.cache
    if cache is None:
        return CachePlan()
    if cache.content is not None:
        encoding.dropped("cache.content", "the Responses protocol names nothing that was cached beforehand")
    fields = cache_key(encoding, cache.key) | _time(encoding, cache.ttl)
    if not encoding.target.profile.cache_breakpoints:
        if cache.breakpoints:
            encoding.dropped(
                "cache.breakpoints", "this model takes none; OpenAI keeps what requests begin with"
            )
        return CachePlan(fields)
    count = len(encoding.request.messages)
    numbers: set[int] = set()
    for position, place in enumerate(cache.breakpoints):
        if isinstance(place, int):
            if not -count <= place < count:
                encoding.dropped(f"cache.breakpoints[{position}]", f"there is no message {place}")
            numbers.add(place % count)
        elif place == "tools":
            encoding.dropped(
                f"cache.breakpoints[{position}]", "tools take none; one after the system prompt keeps them"
            )
    return CachePlan(fields, "system" in cache.breakpoints, frozenset(numbers))


def _time(encoding: Encoding, ttl: float | None) -> dict[str, Any]:
    """The shortest time on offer that is long enough, else the longest."""
    if ttl is None or not encoding.target.profile.cache_breakpoints:
        return cache_retention(encoding, ttl)
    hours, name = (0.5, "30m") if ttl <= _HOUR / 2 else (12, "12h")
    if ttl != hours * _HOUR:
        encoding.changed("cache.ttl", f"it is kept for {hours:g} h, the nearest time that this model offers")
    return {"prompt_cache_options": {"ttl": name}}
