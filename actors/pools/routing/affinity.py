"""Where a session's calls went last, and where a cache's key belongs. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b

_SESSIONS = 4096


class Homes:
    """The actor of each session that called lately; the longest unused are forgotten first."""

    def __init__(self, most: int = _SESSIONS) -> None:
        self._most = most
        self._actors: OrderedDict[str, str] = OrderedDict()

    def of(self, session: str) -> str | None:
        return self._actors.get(session)

    def moved(self, session: str, actor: str) -> None:
        """The session's calls go to this actor from now on."""
        self._actors[session] = actor
        self._actors.move_to_end(session)
        if len(self._actors) > self._most:
            self._actors.popitem(last=False)


def ranked(key: bytes, actors: Iterable[str]) -> list[str]:
    """Rendezvous hashing: one order for all callers, in which nobody's coming or going moves others."""
    return sorted(actors, key=lambda actor: _weight(key, actor), reverse=True)


def _weight(key: bytes, actor: str) -> bytes:
    return blake2b(actor.encode(), key=key[:64], digest_size=8).digest()
