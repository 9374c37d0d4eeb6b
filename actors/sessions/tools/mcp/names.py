"""What a server's tools are called in a session: names that every provider takes, each once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable

_LONGEST = 64
_DIGITS = 8


def namespaced(server: str, tool: str) -> str:
    """`<server>_<tool>` of letters, digits, _ and -; one that is too long ends in digits of its hash."""
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", f"{server}_{tool}")
    if len(name) <= _LONGEST:
        return name
    digits = hashlib.sha256(tool.encode(errors="replace")).hexdigest()[:_DIGITS]
    return f"{name[: _LONGEST - _DIGITS - 1]}_{digits}"


def distinct(server: str, tools: Iterable[str], taken: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """The server's own names by those they get here, and those left out because their name is taken."""
    names: dict[str, str] = {}
    refused: list[str] = []
    for tool in tools:
        name = namespaced(server, tool)
        if name in taken or name in names:
            refused.append(tool)
        else:
            names[name] = tool
    return names, refused
