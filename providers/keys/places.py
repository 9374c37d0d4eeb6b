"""Where an endpoint's keys are found on the node that uses them: a file, the environment, a user's function.

Functions are asked by a `KeySource` alone, inside the provider actor.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from llmgine.providers.errors import MissingKey
from llmgine.providers.key_options import ONLY
from llmgine.providers.options import EndpointOptions

UNFIT = "not one line of plain characters"


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where one key is looked for, in this order; one without any place stands for calls without a key."""

    name: str
    file: Path | None = None
    function: str | None = None
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        places = [str(self.file)] if self.file else []
        places += [f"{self.function}()"] if self.function else []
        return " or ".join((*places, *self.variables))


@dataclass(frozen=True, slots=True)
class Found:
    """A key and the place that held it, with no text where none is needed; `holds_for` seconds, if told."""

    secret: SecretStr | None
    place: str = ""
    holds_for: float | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """Each place that was looked at, with what was wrong there."""

    looked: tuple[str, ...]


def key_places(endpoint: EndpointOptions) -> tuple[KeyPlace, ...]:
    """The keys of an endpoint, at least one: what needs none has one that is of no place."""
    if not endpoint.needs_key:
        names = [key.name for key in endpoint.keys] or [ONLY]
        return tuple(map(KeyPlace, names))
    if not endpoint.keys:
        return (KeyPlace(ONLY, endpoint.key_file, variables=endpoint.key_variables),)
    return tuple(
        KeyPlace(key.name, key.file, key.function, (key.env,) if key.env else ()) for key in endpoint.keys
    )


def look(place: KeyPlace, environment: Mapping[str, str] | None = None) -> Found | Missing:
    """The key, as far as it lies in a file or in this process's environment."""
    looked: list[str] = []
    for where, key, missing in _held(place, os.environ if environment is None else environment):
        if can_be_sent(key):
            return Found(SecretStr(key), where)
        looked.append(f"{where} ({UNFIT if key else missing})")
    if looked or place.function:
        return Missing(tuple(looked))
    return Found(None)


def find_key(
    name: str, endpoint: EndpointOptions, environment: Mapping[str, str] | None = None
) -> SecretStr | None:
    """The first of the endpoint's keys that is found, None where it needs none; else `MissingKey`.

    Functions are not asked.
    """
    looked: dict[str, tuple[str, ...]] = {}
    for place in key_places(endpoint):
        found = look(place, environment)
        if isinstance(found, Found):
            return found.secret
        looked[place.name] = found.looked or (f"function {place.function} (asked by provider actors only)",)
    raise missing_key(name, endpoint, looked)


def missing_key(name: str, endpoint: EndpointOptions, looked: Mapping[str, Iterable[str]]) -> MissingKey:
    """The error that says which node looked where, for each key by its name."""
    several = len(looked) > 1 or bool(endpoint.keys)
    told = "; ".join(
        (f"key {key}: " if several else "") + ", ".join(places) for key, places in looked.items()
    )
    return MissingKey(
        f"no key for {name} on node {socket.gethostname()}; looked at: {told}. {_mending(name, endpoint)}"
    )


def _mending(name: str, endpoint: EndpointOptions) -> str:
    """What to do about a missing key, by where the endpoint's keys are to come from."""
    places = key_places(endpoint)
    if places and all(place.function for place in places):
        return f"Mend the function, or set providers.endpoints.{name}.keys to other places"
    setting = "keys" if endpoint.keys else "key_file"
    return (
        f"Set the variable where Ray was started on that node, or providers.endpoints.{name}.{setting} "
        "to a file there"
    )


def can_be_sent(key: str) -> bool:
    """Whether a header can carry it."""
    return bool(key) and key.isascii() and key.isprintable() and " " not in key


def _held(place: KeyPlace, environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Each place that may hold the key: its name, what it holds, and why it holds nothing."""
    if place.file is not None:
        key, missing = "", "empty"
        try:
            key = place.file.expanduser().read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            missing = getattr(error, "strerror", None) or "not text"
        yield f"file {place.file}", key, missing
    for variable in place.variables:
        yield f"environment variable {variable}", environment.get(variable, "").strip(), "not set"
