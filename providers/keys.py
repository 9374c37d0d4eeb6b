"""Finding an endpoint's key on the node that uses it: first its file, then this process's environment."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping

from pydantic import SecretStr

from llmgine.providers.errors import MissingKey
from llmgine.providers.options import EndpointOptions


def find_key(
    name: str, endpoint: EndpointOptions, environment: Mapping[str, str] | None = None
) -> SecretStr | None:
    """The endpoint's key, None where it needs none; `MissingKey` says which places were looked at."""
    if endpoint.replay is not None:
        return None
    places = _places(endpoint, os.environ if environment is None else environment)
    looked: list[str] = []
    for place, key, missing in places:
        if _can_be_sent(key):
            return SecretStr(key)
        looked.append(f"{place} ({'not one line of plain characters' if key else missing})")
    if not endpoint.needs_key:
        return None
    raise MissingKey(
        f"no key for {name} on node {socket.gethostname()}; looked at: {', '.join(looked)}. Set the variable "
        f"where Ray was started on that node, or providers.endpoints.{name}.key_file to a file there"
    )


def _places(endpoint: EndpointOptions, environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Each place that may hold the key: its name, what it holds, and why it holds nothing."""
    if endpoint.key_file is not None:
        key, missing = "", "empty"
        try:
            key = endpoint.key_file.expanduser().read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            missing = getattr(error, "strerror", None) or "not text"
        yield f"file {endpoint.key_file}", key, missing
    for variable in endpoint.key_variables:
        yield f"environment variable {variable}", environment.get(variable, "").strip(), "not set"


def _can_be_sent(key: str) -> bool:
    return bool(key) and key.isascii() and key.isprintable() and " " not in key
