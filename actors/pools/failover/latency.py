"""How long calls of one model take to their first token. Pure."""

from __future__ import annotations

from collections import deque

_KEPT = 100
_LEAST = 20
_SHARE = 0.95


class FirstTokens:
    """The times to the first token of a model's latest calls, in seconds."""

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=_KEPT)

    def add(self, seconds: float) -> None:
        self._latest.append(seconds)

    def slow(self) -> float | None:
        """The time within which 95 of 100 calls began; None while there are too few to say."""
        if len(self._latest) < _LEAST:
            return None
        return sorted(self._latest)[int(len(self._latest) * _SHARE)]
