"""Frames that come whole: the transport below has split the body already."""

from __future__ import annotations


class WholeFrames:
    """Takes every piece of the body for one frame."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """The piece itself."""
        return [("", chunk)]

    def end(self) -> bool:
        """The body ended; nothing is ever unfinished."""
        return False
