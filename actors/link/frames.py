"""The wire's grammar: what a frame is, and how a byte stream is cut into frames. Pure.

A frame is a 4-byte big-endian length and a msgpack array of that many bytes. After authentication:

    [DATA, stream, message]          [OPEN, stream, kind, header]
    [FINISH, stream, gone]           `gone`: the sender no longer reads either
    [RESET, stream, code, reason]    [CREDIT, stream, messages, bytes]
    [] asks for a sign of life       [0] is one

The side that dialled numbers its streams 1, 3, 5 …, the other 2, 4, 6 …; a number is never used twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgpack

from llmgine.actors.link.errors import FrameTooLarge, MalformedFrame, NotSendable

DATA: Final = 1
OPEN: Final = 2
FINISH: Final = 3
RESET: Final = 4
CREDIT: Final = 5

HEADER_BYTES: Final = 4
PING_BODY: Final = b"\x90"
PONG_BODY: Final = b"\x91\x00"
PING: Final = len(PING_BODY).to_bytes(HEADER_BYTES, "big") + PING_BODY
PONG: Final = len(PONG_BODY).to_bytes(HEADER_BYTES, "big") + PONG_BODY
LONGEST_SIGN_OF_LIFE: Final = 2  # bytes; every other frame is longer


class Encoder:
    """Turns values into frame bodies; one per connection, because its buffer is reused."""

    __slots__ = ("_limit", "_pack")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pack: Callable[[Any], bytes] = msgpack.Packer().pack

    def __call__(self, frame: Any) -> bytes:
        try:
            body = self._pack(frame)
        except (TypeError, ValueError, OverflowError) as error:
            raise NotSendable(f"the message is not made of msgpack values: {error}") from error
        if len(body) > self._limit:
            raise NotSendable(
                f"the message takes {len(body)} bytes and the peer accepts {self._limit}; "
                "send it in parts, or raise link.max_frame_bytes"
            )
        return body


def decode(body: bytes) -> list[Any]:
    """The array in the body; anything else is `MalformedFrame`."""
    try:
        try:
            frame = msgpack.unpackb(body, strict_map_key=False)
        except TypeError:  # an array as a key cannot be a list
            frame = _lists(msgpack.unpackb(body, strict_map_key=False, use_list=False))
    except (ValueError, TypeError, RecursionError) as error:
        raise MalformedFrame(f"a frame is not msgpack: {error}") from error
    if type(frame) is not list:
        raise MalformedFrame(f"a frame is an array, not {type(frame).__name__}")
    return frame


def _lists(value: Any) -> Any:
    """The value with lists for tuples, except in keys."""
    if isinstance(value, tuple):
        return [_lists(item) for item in value]
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return value


def framed(body: bytes) -> bytes:
    """The body with its length in front."""
    return len(body).to_bytes(HEADER_BYTES, "big") + body


class Splitter:
    """Cuts arriving chunks into frame bodies, whatever the chunks' borders.

    Never holds more than one frame's bytes and the last chunk; a frame announced as larger than
    `limit` is refused from its length alone.
    """

    __slots__ = ("_held", "_needed", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held = bytearray()
        self._needed = HEADER_BYTES

    def first(self, chunk: bytes) -> bytes | None:
        """The next body alone, for when what it says changes `limit`; the rest waits for the next call."""
        bodies = self.feed(chunk, 1)
        return bodies[0] if bodies else None

    def feed(self, chunk: bytes, most: int | None = None) -> list[bytes]:
        """The bodies that are complete with this chunk, in order; at most so many."""
        held = self._held
        data: bytes = chunk
        if held:
            held += chunk
            if len(held) < self._needed and most is None:
                return []
            data = bytes(held)
            held.clear()
        bodies: list[bytes] = []
        start, end, limit = 0, len(data), self.limit
        needed = HEADER_BYTES
        while end - start >= HEADER_BYTES and len(bodies) != most:
            body = start + HEADER_BYTES
            size = int.from_bytes(data[start:body], "big")
            if size > limit:
                raise FrameTooLarge(f"a frame of {size} bytes is announced and {limit} are allowed")
            if end - body < size:
                needed = HEADER_BYTES + size
                break
            start = body + size
            bodies.append(data[body:start])
        if start < end:
            held += data[start:] if start else data
        self._needed = needed
        return bodies
