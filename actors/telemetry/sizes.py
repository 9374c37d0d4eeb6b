"""How much fits into one message. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgpack

MAX_BYTES: Final = 4_000_000
"""Bytes of spans in one message: less than what a peer takes, with room for what stands around them."""


def fitting(wires: Iterable[Any], room: int) -> tuple[int, int]:
    """How many of these fit, from the first on, and the bytes that they leave over."""
    count = 0
    for wire in wires:
        size = len(msgpack.packb(wire))
        if size > room:
            break
        room -= size
        count += 1
    return count, room
