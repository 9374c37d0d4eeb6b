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
    return _without_password(value) if "://" in value else value


def _without_password(text: str) -> str:
    """A URL without the password that it may hold."""
    try:
        parts = urlsplit(text)
        if parts.password is None:
            return text
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{parts.username}:{MASK}@{host}"))
    except ValueError:
        return MASK
