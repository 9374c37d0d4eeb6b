"""Bytes of a `text/event-stream` body into its frames, wherever the network cut them."""

from __future__ import annotations

from llmgine.providers.frames.splitter import MalformedStream

_BOM = b"\xef\xbb\xbf"
_NAMES = 64
_LONGEST_NAME = 128


class SseSplitter:
    """Splits a body into `(event name, data)` frames, the same ones however it was cut.

    Lines end with LF, CRLF or CR; comments, `id` and `retry` are passed over; several `data` lines
    are joined by LF; a frame without data is none. Data stay bytes, so that a cut inside a
    character harms nothing. Memory is bounded: a frame above `limit` bytes raises
    `MalformedStream`, after the frames before it were given out, and so does every later call.
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_data_size",
        "_event",
        "_first",
        "_idle",
        "_limit",
        "_names",
        "_tail",
        "_tail_size",
        "_too_large",
    )

    def __init__(self, limit: int = 16 * 1024 * 1024) -> None:
        self._limit = limit
        self._tail: list[bytes] = []  # the pieces of a line whose end has not come
        self._data: list[bytes] = []
        self._event = ""
        self._names: dict[bytes, str] = {}  # event lines that were decoded before, if short
        self._tail_size = 0
        self._data_size = 0  # of the lines, so that many empty ones count too
        self._after_cr = False
        self._first = True
        self._idle = True  # nothing is held from earlier chunks
        self._too_large = False

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """The frames that this piece of the body completes."""
        if self._idle and chunk[:6] == b"data: ":  # most chunks are one frame of one line
            end = chunk.find(13)
            if end < 0:
                end, rest = chunk.find(10), b"\n\n"
            else:
                rest = b"\r\n\r\n"
            if 0 <= end <= self._limit and chunk[end:] == rest and chunk.find(10) >= end:
                self._first = False
                return [("", chunk[6:end])]
        if self._too_large:
            raise self._overflow()
        if self._after_cr or 13 in chunk:
            chunk = self._line_feeds(chunk)
        lines = chunk.split(b"\n")
        tail = lines.pop()
        if self._tail and lines:
            self._tail.append(lines[0])
            lines[0] = b"".join(self._tail)
            self._tail = []
        if lines:
            self._tail_size = 0
        frames = self._read(lines)
        if tail:
            self._tail.append(tail)
            self._tail_size += len(tail)
        self._idle = not (self._tail or self._data or self._event or self._after_cr)
        if self._tail_size + self._data_size > self._limit:
            self._too_large = True
        if self._too_large:
            self._idle = False
            if not frames:
                raise self._overflow()
        return frames

    def end(self) -> bool:
        """The body ended: True if an unfinished frame was thrown away.

        A frame counts only with the empty line after it, as the standard has it: what was cut off
        can look whole and is not.
        """
        if self._too_large:
            raise self._overflow()
        discarded = bool(self._tail or self._data)
        self._tail, self._data, self._event = [], [], ""
        self._tail_size = self._data_size = 0
        self._idle = False
        return discarded

    def _read(self, lines: list[bytes]) -> list[tuple[str, bytes]]:
        frames: list[tuple[str, bytes]] = []
        data = self._data
        limit = self._limit
        for line in lines:
            if not line:
                if data:
                    payload = data[0] if len(data) == 1 else b"\n".join(data)
                    data.clear()
                    self._data_size = 0
                    if len(payload) > limit:
                        self._too_large = True
                        return frames
                    frames.append((self._event, payload))
                self._event = ""
            elif line.startswith(b"data:"):
                data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
                self._data_size += len(line)
            elif line.startswith(b"event:"):
                self._event = self._names.get(line) or self._name(line)
            elif line == b"data":
                data.append(b"")
                self._data_size += len(line)
            elif self._first and line.startswith(_BOM):
                self._first = False
                frames += self._read([line.removeprefix(_BOM)])
            self._first = False
        return frames

    def _line_feeds(self, chunk: bytes) -> bytes:
        """The chunk with LF for each line end; the LF of a CRLF cut in two is taken out."""
        if not chunk:
            return chunk
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _name(self, line: bytes) -> str:
        name = line[6:].removeprefix(b" ").decode("utf-8", "replace")
        if len(self._names) < _NAMES and len(line) < _LONGEST_NAME:
            self._names[line] = name
        return name

    def _overflow(self) -> MalformedStream:
        return MalformedStream(f"a frame of the event stream is larger than {self._limit} bytes")
