"""Vectors that depend on nothing but the text: equal texts are near, others far, whatever they mean."""

from __future__ import annotations

import hashlib
import math
import struct

_DEFAULT = 8


def vector(text: str, dimensions: int | None = None) -> tuple[float, ...]:
    """A vector of length one for this text, always the same."""
    size = dimensions or _DEFAULT
    raw = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(4 * size)
    numbers = [number / 2**31 for number in struct.unpack(f">{size}i", raw)]
    length = math.hypot(*numbers) or 1.0
    return tuple(number / length for number in numbers)
