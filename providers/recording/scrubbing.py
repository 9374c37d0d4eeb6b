"""What never enters a recording: keys, and what tells whose account it was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmgine.providers.keys import KeyMask
from llmgine.providers.keys.masking import HIDDEN
from llmgine.providers.options import holds_key

_ACCOUNT = re.compile(r"organization|project|workspace", re.I)
# The body is kept decoded and in the pieces that the reader got, so these would be wrong.
_OF_THE_TRANSPORT = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection"})


def kept_headers(headers: Mapping[str, str], mask: KeyMask) -> dict[str, str]:
    """The headers that a recording may hold, with lower-case names."""
    kept: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if not (holds_key(lower) or lower in _OF_THE_TRANSPORT or _ACCOUNT.search(lower)):
            kept[lower] = mask.text(value)
    return kept


def without_secrets(value: Any) -> Any:
    """A request's body whose fields that are named like keys hold none, as those of a tool server may."""
    match value:
        case dict():
            return {name: _field(name, held) for name, held in value.items()}
        case list():
            return [without_secrets(one) for one in value]
        case _:
            return value


def _field(name: str, value: Any) -> Any:
    return HIDDEN if isinstance(value, str) and value and holds_key(name) else without_secrets(value)
