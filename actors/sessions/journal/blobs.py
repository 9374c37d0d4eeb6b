"""Large texts and media out of JSON and back: they are kept once, under the hash of what they are.

Only strings are large in what a session keeps; bytes are such by then. A value that was taken out
leaves an empty string, and its place is told apart from the value itself, so no content looks like one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

Place = list[str | int]


def take_out(value: Any, limit: int) -> tuple[Any, list[list[Any]], dict[str, bytes]]:
    """The value without its strings of more than `limit` bytes, `[place, hash]` of each, bodies by hash."""
    places: list[list[Any]] = []
    bodies: dict[str, bytes] = {}

    def walk(one: Any, place: Place) -> Any:
        if isinstance(one, dict):
            return {key: walk(item, [*place, key]) for key, item in one.items()}
        if isinstance(one, list):
            return [walk(item, [*place, number]) for number, item in enumerate(one)]
        if isinstance(one, str) and len(one) * 4 > limit:
            body = one.encode()
            if len(body) > limit:
                name = hashlib.sha256(body).hexdigest()
                bodies[name] = body
                places.append([place, name])
                return ""
        return one

    return walk(value, []), places, bodies


def put_back(value: Any, places: list[list[Any]], bodies: Mapping[str, bytes]) -> None:
    """Puts each string where it was; KeyError for one whose body is not there."""
    for place, name in places:
        *way, last = place
        at = value
        for step in way:
            at = at[step]
        at[last] = bodies[name].decode()
