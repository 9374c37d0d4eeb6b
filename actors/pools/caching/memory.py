"""The answers that one provider actor holds: those used last, as many as fit. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple


class _Held(NamedTuple):
    body: bytes
    expires: float


class Shelf:
    """Bodies by their keys until they expire; what was longest not asked for goes first.

    Never more than `max_entries`, nor more than `max_bytes` together; a body that alone is larger is not
    taken. Times are seconds of one clock, given in.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._held: OrderedDict[bytes, _Held] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: bytes, now: float) -> bytes | None:
        """The body; one whose time is over is gone."""
        held = self._held.get(key)
        if held is None:
            return None
        if now >= held.expires:
            self._drop(key)
            return None
        self._held.move_to_end(key)
        return held.body

    def put(self, key: bytes, body: bytes, expires: float) -> None:
        """Holds the body in place of what was held under the key."""
        self._drop(key)
        if len(body) > self._max_bytes:
            return
        self._held[key] = _Held(body, expires)
        self.bytes += len(body)
        while len(self._held) > self._max_entries or self.bytes > self._max_bytes:
            self._drop(next(iter(self._held)))

    def clear(self) -> None:
        self._held.clear()
        self.bytes = 0

    def _drop(self, key: bytes) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self.bytes -= len(held.body)
