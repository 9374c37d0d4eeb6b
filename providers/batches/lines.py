"""A download cut into its lines."""

from __future__ import annotations


class LineSplitter:
    """Takes a body in pieces and gives back its lines, without those that are blank."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that this piece makes whole."""
        *whole, rest = piece.split(b"\n")
        if whole:
            whole[0] = b"".join((*self._held, whole[0]))
            self._held.clear()
        if rest:
            self._held.append(rest)
        return [line for line in whole if line.strip()]

    def end(self) -> list[bytes]:
        """What stood behind the last line's end: a line without one, or one that was cut off."""
        left = b"".join(self._held)
        self._held.clear()
        return [left] if left.strip() else []
