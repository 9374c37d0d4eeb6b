"""Where OpenAI's Responses protocol is told what of a prompt is worth keeping."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from llmgine.providers.codecs.encoding import Encoding

_LONGEST_KEY = 64
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
    fields = _key(encoding, cache.key) | _time(encoding, cache.ttl)
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
    system = "system" in cache.breakpoints
    if system and encoding.request.system is None:
        encoding.dropped("cache.breakpoints", "there is no system prompt to keep")
    return CachePlan(fields, system, frozenset(numbers))


def _key(encoding: Encoding, key: str | None) -> dict[str, Any]:
    if key is None:
        return {}
    if len(key) > _LONGEST_KEY:
        encoding.changed(
            "cache.key", f"keys have {_LONGEST_KEY} characters at most, so that its hash is sent"
        )
        key = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return {"prompt_cache_key": key}


def _time(encoding: Encoding, ttl: float | None) -> dict[str, Any]:
    """The shortest time on offer that is long enough, else the longest."""
    if ttl is None:
        return {}
    sent: dict[str, Any]
    if encoding.target.profile.cache_breakpoints:
        hours, name = (0.5, "30m") if ttl <= _HOUR / 2 else (12, "12h")
        sent = {"prompt_cache_options": {"ttl": name}}
    elif ttl > _HOUR:
        hours, sent = 24, {"prompt_cache_retention": "24h"}
    else:
        encoding.dropped("cache.ttl", "up to an hour OpenAI itself chooses how long it keeps a beginning")
        return {}
    if ttl != hours * _HOUR:
        encoding.changed("cache.ttl", f"it is kept for {hours:g} h, the nearest time that this model offers")
    return sent
