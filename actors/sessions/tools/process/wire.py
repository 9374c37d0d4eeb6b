"""Frames between the session's process and those of its tools: four bytes of length, then the body."""

from __future__ import annotations

import asyncio
import socket

_LENGTH = 4
# A result has its own, far smaller bound; more than this comes from a tool that writes where it must not.
LARGEST = 256 * 1024 * 1024


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(_LENGTH, "big") + body


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """The next frame; None at the end, also where that comes in the middle of a frame."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH), "big")
        return await reader.readexactly(length) if length <= LARGEST else None
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def receive_frame(source: socket.socket) -> bytes | None:
    """As `read_frame`, for a socket that blocks."""
    head = _receive(source, _LENGTH)
    return None if head is None else _receive(source, int.from_bytes(head, "big"))


def _receive(source: socket.socket, size: int) -> bytes | None:
    pieces = bytearray()
    while len(pieces) < size:
        piece = source.recv(min(size - len(pieces), 1 << 20))
        if not piece:
            return None
        pieces += piece
    return bytes(pieces)
