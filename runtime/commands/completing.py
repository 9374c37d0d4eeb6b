"""What the shell may complete besides words of the command itself: names that are found without a runtime.

A completion that fails offers nothing: it runs while somebody types.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import wraps

# How long a gateway may take to answer, in seconds, and names that are offered at most.
_PATIENCE = 0.5
_OFFERED = 50


def _quietly(offer: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """What begins with what was typed; nothing where it cannot be told."""

    @wraps(offer)
    def complete(incomplete: str) -> list[str]:
        try:
            return [name for name in offer() if name.startswith(incomplete)]
        except Exception:
            return []

    complete.__annotations__ = {"incomplete": str, "return": list[str]}
    del complete.__wrapped__
    return complete


@_quietly
def runtimes() -> Iterable[str]:
    """Runtimes that this machine knows."""
    from llmgine.runtime.data import read_records
    from llmgine.runtime.settings import load_settings

    return [record.name for record in read_records(load_settings().data_dir)]


@_quietly
def pools() -> Iterable[str]:
    """Providers of the settings, each of which has a pool."""
    from llmgine.runtime.settings import load_settings

    return sorted(load_settings().providers.endpoints)


@_quietly
def models() -> Iterable[str]:
    """Aliases, scripts, and models of this machine."""
    from llmgine.providers.local import weights
    from llmgine.runtime.settings import load_settings

    options = load_settings().providers
    here = [f"local/{name}" for name in weights.SOURCES]
    return sorted(
        {*options.aliases, *here, *(f"scripted/{name}" for name in options.scripts), "scripted/echo"}
    )


def sessions(incomplete: str) -> list[str]:
    """Sessions of the runtime `default` that `llmgine up` holds, as its gateway tells them at once."""
    from urllib.parse import quote
    from urllib.request import urlopen

    from llmgine.runtime.data import folder_of, read_gateway
    from llmgine.runtime.settings import load_settings

    try:
        url = read_gateway(folder_of(load_settings().data_dir, "default"))
        if url is None:
            return []
        asked = f"{url}/api/v1/sessions?query={quote(incomplete)}&limit={_OFFERED}"
        with urlopen(asked, timeout=_PATIENCE) as answer:
            found = [row["id"] for row in json.load(answer)["items"]]
    except Exception:
        return []
    return [id_ for id_ in found if id_.startswith(incomplete)]


def one_of(*words: str) -> Callable[[str], list[str]]:
    """These words."""
    return _quietly(lambda: words)
