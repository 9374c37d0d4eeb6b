"""Settings as they may be shown: whatever could be a secret is masked. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

MASK = "•••"

_SECRET = re.compile(r"(^|_)(token|key|secret|password|passphrase|authorization|credential)s?$")
# Below these every value is one: headers are where exporters and endpoints have theirs.
_SECRET_TABLES = frozenset({"headers", "default_headers", "query"})


def masked(value: Any, name: str = "") -> Any:
    """The same tree with every secret masked; None, and names of places where secrets are, stay."""
    if isinstance(value, Mapping):
        if name in _SECRET_TABLES:
            return dict.fromkeys(value, MASK)
        return {key: masked(below, str(key)) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [masked(below, name) for below in value]
    if not isinstance(value, str) or not value:
        return value
    if _SECRET.search(name.lower()):
        return MASK
    return _without_secrets(value) if "://" in value else value


def _without_secrets(text: str) -> str:
    """A URL without the password, the token and the values of its query that it may hold."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return MASK
    who, at, host = parts.netloc.rpartition("@")
    name, colon, _ = who.partition(":")
    netloc = f"{name}:{MASK}@{host}" if colon else f"{MASK}@{host}" if at else host
    query = "&".join(_name_alone(one) for one in parts.query.split("&")) if parts.query else ""
    fragment = MASK if parts.fragment else ""
    hidden = parts._replace(netloc=netloc, query=query, fragment=fragment)
    return text if hidden == parts else urlunsplit(hidden)


def _name_alone(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}={MASK}" if equals else MASK
