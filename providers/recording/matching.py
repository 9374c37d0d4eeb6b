"""Which recorded request is the same as one that is made now, and how the nearest one differs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from llmgine.providers.recording.scrubbing import without_secrets

# They say who asks and how the answer travels, not what is asked.
_BESIDE_THE_POINT = frozenset(
    {"stream", "stream_options", "prompt_cache_key", "safety_identifier", "user", "metadata", "labels"}
)
_IDS = frozenset({"id", "call_id", "tool_call_id", "tool_use_id"})
# Values of a user's own: what is called an id in there is one of theirs.
_USERS_OWN = frozenset(
    {"args", "arguments", "parameters", "input_schema", "json_schema", "schema", "response"}
)
_GEMINI = re.compile(r"models/([^/]+):(\w+)$")
_PATHS = ("/chat/completions", "/responses", "/embeddings", "/messages")
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Route:
    """What is called: the end of a URL's path, and the model where the path names it."""

    path: str
    model: str = ""

    def __str__(self) -> str:
        return f"{self.path} of {self.model}" if self.model else self.path


def route_of(url: str) -> Route:
    """The route of a URL, the same whichever host and prefix serve it, streamed or not."""
    path = unquote(urlsplit(url).path)
    if found := _GEMINI.search(path):
        verb = "embedContent" if "mbed" in found[2] else "generateContent"
        return Route(f"/models:{verb}", found[1])
    return Route(next((known for known in _PATHS if path.endswith(known)), path))


def canonical(body: Any) -> Any:
    """The request's body without what differs from one time to the next.

    Ids of calls are replaced by their order, because those which a provider did not give are made here,
    and at random.
    """
    if not isinstance(body, dict):
        return body
    asked = {name: value for name, value in body.items() if name not in _BESIDE_THE_POINT}
    return _numbered(without_secrets(asked), {})


def fingerprint(body: Any) -> str:
    """Equal for bodies that are the same in canonical form."""
    return json.dumps(canonical(body), sort_keys=True, separators=(",", ":"))


def likeness(one: Any, other: Any) -> int:
    """How many values two bodies share in the same place."""
    others = dict(_leaves(canonical(other), ""))
    return sum(1 for path, value in _leaves(canonical(one), "") if others.get(path, others) == value)


def first_difference(asked: Any, recorded: Any) -> str:
    """Where two bodies first differ, fields in alphabetical order, and what stands there in either."""
    here, there = dict(_leaves(canonical(asked), "")), dict(_leaves(canonical(recorded), ""))
    for path in (*here, *there):
        if here.get(path, here) != there.get(path, there):
            return f"{path}: {_shown(here, path)} is asked, {_shown(there, path)} was recorded"
    return "nothing that counts"


def _numbered(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_numbered(one, ids) for one in value]
    if not isinstance(value, dict):
        return value
    numbered: dict[str, Any] = {}
    for name, held in sorted(value.items()):
        if name in _IDS and isinstance(held, str):
            numbered[name] = ids.setdefault(held, f"#{len(ids) + 1}")
        elif name in _USERS_OWN or (name == "input" and isinstance(held, dict)):
            numbered[name] = held
        else:
            numbered[name] = _numbered(held, ids)
    return numbered


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, held in value.items():
            yield from _leaves(held, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for number, held in enumerate(value):
            yield from _leaves(held, f"{path}[{number}]")
    else:
        yield path, value


def _shown(leaves: Mapping[str, Any], path: str) -> str:
    if path not in leaves:
        return "nothing"
    text = json.dumps(leaves[path], ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
