"""Vectors packed for the way between processes: 4 bytes a number where that loses nothing, else 8."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal

Code = Literal["f", "d"]
# Numbers in one message: small enough for any link, and packed in a few milliseconds.
_PIECE = 1 << 16


def packed(vectors: Sequence[Sequence[float]]) -> Iterator[tuple[Code, int, bytes]]:
    """The vectors as messages of numbers in little-endian order: their code, a vector's length, the bytes."""
    length = len(vectors[0]) if vectors else 0
    step = max(1, _PIECE // max(1, length))
    for at in range(0, len(vectors), step):
        numbers = list(chain.from_iterable(vectors[at : at + step]))
        piece: array[float] = array("f", numbers) if _fit(numbers) else array("d", numbers)
        if sys.byteorder == "big":
            piece.byteswap()
        yield "f" if piece.typecode == "f" else "d", length, piece.tobytes()


def unpacked(code: Code, length: int, data: bytes) -> list[tuple[float, ...]]:
    """The vectors of one message."""
    piece: array[float] = array(code)
    piece.frombytes(data)
    if sys.byteorder == "big":
        piece.byteswap()
    return [tuple(piece[at : at + length]) for at in range(0, len(piece), length)]


def _fit(numbers: list[float]) -> bool:
    """Whether all are the same in 4 bytes."""
    try:
        return array("f", numbers).tolist() == numbers
    except OverflowError:
        return False
