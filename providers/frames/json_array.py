"""Bytes of one JSON array into its objects, each as soon as it is whole."""

from __future__ import annotations

import re

from llmgine.providers.frames.splitter import MalformedStream

# Everything up to the next bracket or to a string that is cut off: whole strings are passed over at once.
_PLAIN = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+', re.DOTALL)
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_QUOTE, _BACKSLASH = b'"\\'
_OPEN, _CLOSE = b"{[", b"}]"
_BETWEEN = re.compile(rb"[ \t\r\n,\xef\xbb\xbf]*+")  # a byte order mark too, wherever it was cut


class JsonArraySplitter:
    """Splits a body that is one JSON array of objects, or one bare object, into those objects.

    Only brackets and strings are looked at: whether an object is JSON is for its reader to say.
    Memory is bounded: an object above `limit` bytes raises `MalformedStream`, as does anything that
    stands where an object should.
    """

    __slots__ = (
        "_broken",
        "_depth",
        "_escaped",
        "_in_array",
        "_limit",
        "_over",
        "_pieces",
        "_quoted",
        "_size",
    )

    def __init__(self, limit: int = 16 * 1024 * 1024) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []  # of the object whose end has not come
        self._size = 0
        self._depth = 0  # brackets open within the object, itself included
        self._quoted = False  # the last chunk ended inside a string,
        self._escaped = False  # and there after a backslash
        self._in_array = False
        self._over = False
        self._broken = ""

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """The objects that this piece of the body completes."""
        if self._broken:
            raise MalformedStream(self._broken)
        frames: list[tuple[str, bytes]] = []
        start = self._scan(chunk, frames)
        if self._depth:
            self._pieces.append(chunk[start:])
            self._size += len(chunk) - start
            if self._size > self._limit:
                self._broken = self._broken or self._too_large()
        if self._broken and not frames:
            raise MalformedStream(self._broken)
        return frames

    def end(self) -> bool:
        """The body ended: True if an unfinished object was thrown away."""
        if self._broken:
            raise MalformedStream(self._broken)
        discarded = self._depth > 0
        self._pieces, self._size, self._depth = [], 0, 0
        self._quoted = self._escaped = False
        return discarded

    def _scan(self, chunk: bytes, frames: list[tuple[str, bytes]]) -> int:
        """Reads a chunk to its end; gives where in it the unfinished object goes on."""
        at, start, size = 0, 0, len(chunk)
        while at < size and not self._broken:
            if self._quoted:
                at = self._string_end(chunk, at)
                continue
            if not self._depth:
                at = self._between(chunk, at)
                start = at - 1
                continue
            match = _PLAIN.match(chunk, at)
            at = match.end() if match else size
            if at == size:
                break
            sign = chunk[at]
            at += 1
            if sign == _QUOTE:
                self._quoted = True
            elif sign in _OPEN:
                self._depth += 1
            else:
                self._depth -= 1
                if not self._depth:
                    self._complete(chunk[start:at], frames)
        return start

    def _string_end(self, chunk: bytes, at: int) -> int:
        """Behind the end of the string that an earlier byte began; the chunk's end if it goes on."""
        if self._escaped:
            self._escaped = False
            at += 1
        match = _STRING.match(chunk, at)
        at = match.end() if match else at
        if at < len(chunk):
            if chunk[at] == _QUOTE:
                self._quoted = False
            else:  # a backslash as the last byte, or the string would have gone on
                self._escaped = True
            at += 1
        return at

    def _between(self, chunk: bytes, at: int) -> int:
        """Behind the next sign that stands outside any object; what should not stand there breaks."""
        gap = _BETWEEN.match(chunk, at)
        at = gap.end() if gap else at
        if at == len(chunk):
            return at
        sign = chunk[at]
        if self._over:
            self._broken = "more follows after the end of the body's JSON array"
        elif sign == _OPEN[0]:
            self._depth = 1
        elif sign == _OPEN[1] and not self._in_array:
            self._in_array = True
        elif sign == _CLOSE[1] and self._in_array:
            self._over = True
        else:
            shown = chunk[at : at + 40].decode("utf-8", "replace")
            self._broken = f"the body is no JSON array of objects: {shown!r} stands in it"
        return at + 1

    def _complete(self, piece: bytes, frames: list[tuple[str, bytes]]) -> None:
        if self._pieces:
            piece = b"".join((*self._pieces, piece))
            self._pieces, self._size = [], 0
        if len(piece) > self._limit:
            self._broken = self._too_large()
        else:
            frames.append(("", piece))

    def _too_large(self) -> str:
        return f"an object of the JSON array is larger than {self._limit} bytes"
