"""Where a Chat Completions server is told that a beginning of the prompt is worth keeping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmgine.providers.catalogue.quirks import Quirks
from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.openai_settings import cache_key, cache_retention

Block = dict[str, Any]

_MOST = 4
# The times on offer in seconds, and what else says that a block ends a beginning.
_TIMES = {
    "cache_control": ((300, "5m"), (3600, "1h")),
    "prompt_cache_breakpoint": ((1800, "30m"), (43_200, "12h")),
}
_MARKS: dict[str, Block] = {
    "cache_control": {"type": "ephemeral"},
    "prompt_cache_breakpoint": {"mode": "explicit"},
}


def cache_fields(
    encoding: Encoding, quirks: Quirks, system: Block | None, messages: Mapping[int, Block]
) -> dict[str, Any]:
    """Marks the messages at the request's breakpoints; gives the fields that say the rest of its hints.

    `messages` are what was sent for each message, by its number.
    """
    cache = encoding.request.cache
    if cache is None:
        return {}
    if cache.content is not None:
        encoding.dropped("cache.content", "the protocol knows nothing cached by name")
    _mark(encoding, quirks, _places(encoding, quirks, system, messages))
    return _key(encoding, quirks, cache.key) | _retention(encoding, quirks, cache.ttl)


def _places(
    encoding: Encoding, quirks: Quirks, system: Block | None, messages: Mapping[int, Block]
) -> dict[int, Block]:
    """The messages to mark, by their order."""
    cache, count = encoding.request.cache, len(encoding.request.messages)
    if cache is None or not cache.breakpoints:
        return {}
    if not _takes_marks(encoding, quirks):
        encoding.dropped("cache.breakpoints", "what is kept for this model is the server's own choice")
        return {}
    places: dict[int, Block] = {}
    for number, breakpoint_ in enumerate(cache.breakpoints):
        if breakpoint_ == "system":
            place, found = -1, system
        elif breakpoint_ == "tools":
            encoding.dropped(f"cache.breakpoints[{number}]", "tools are kept with the system prompt")
            continue
        else:
            place = breakpoint_ + count if breakpoint_ < 0 else breakpoint_
            found = messages.get(place)
            if found is None or not found["content"]:
                encoding.dropped(f"cache.breakpoints[{number}]", "there is no text that it could end")
        if found is not None and found["content"]:
            places[place] = found
    return places


def _mark(encoding: Encoding, quirks: Quirks, places: Mapping[int, Block]) -> None:
    if quirks.cache_marks is None or not places:
        return
    if len(places) > _MOST:
        encoding.changed("cache.breakpoints", f"of more than {_MOST} the last ones are sent")
    cache = encoding.request.cache
    mark = {quirks.cache_marks: _mark_for(encoding, quirks.cache_marks, cache.ttl if cache else None)}
    for place in sorted(places)[-_MOST:]:
        message = places[place]
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        message["content"] = [*blocks[:-1], blocks[-1] | mark]


def _takes_marks(encoding: Encoding, quirks: Quirks) -> bool:
    """Whether the server lets a request say what to keep; OpenAI does so for its later models."""
    if quirks.cache_marks == "prompt_cache_breakpoint":
        return encoding.target.profile.cache_breakpoints
    return quirks.cache_marks is not None


def _key(encoding: Encoding, quirks: Quirks, key: str | None) -> Block:
    if key is None or quirks.cache_key:
        return cache_key(encoding, key)
    encoding.dropped("cache.key", "the server knows no such field")
    return {}


def _retention(encoding: Encoding, quirks: Quirks, ttl: float | None) -> Block:
    """How long to keep what the server chooses; where marks are taken, they say it."""
    if ttl is None or _takes_marks(encoding, quirks):
        return {}
    if quirks.cache_marks is None:
        encoding.dropped("cache.ttl", "how long it is kept is the server's own choice")
        return {}
    return cache_retention(encoding, ttl)


def _mark_for(encoding: Encoding, name: str, ttl: float | None) -> Block:
    """The shortest time on offer that is long enough, else the longest."""
    if ttl is None:
        return _MARKS[name]
    times = _TIMES[name]
    seconds, word = next((one for one in times if one[0] >= ttl), times[-1])
    if ttl != seconds:
        encoding.changed("cache.ttl", f"it is kept for {seconds} s, the nearest that the server knows")
    return _MARKS[name] | {"ttl": word}
