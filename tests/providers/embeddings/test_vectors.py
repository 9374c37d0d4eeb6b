"""Vectors on their way between processes."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from llmgine.providers.embeddings import packed, unpacked, vectors

SINGLE = st.floats(width=32, allow_nan=False)
DOUBLE = st.floats(allow_nan=False)


def there_and_back(given: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = []
    for code, length, data in packed(given):
        found += unpacked(code, length, data)
    return found


@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.tuples(*[SINGLE | DOUBLE] * n), max_size=9)))
def test_nothing_is_lost(given: list[tuple[float, ...]]) -> None:
    """Whatever numbers come, the same numbers arrive."""
    assert there_and_back(given) == given


def test_four_bytes_where_they_are_enough() -> None:
    """What a server sent as single numbers travels as such; others keep all their digits."""
    single = struct.unpack("<2f", struct.pack("<2f", 0.1, 0.2))
    ((code, length, data),) = packed([single])
    assert (code, length, len(data)) == ("f", 2, 8)
    ((code, length, data),) = packed([(0.1, 0.2)])
    assert (code, length, len(data)) == ("d", 2, 16)


def test_the_bytes_are_the_same_on_every_machine() -> None:
    """Numbers are little-endian."""
    assert next(packed([(1.0,)]))[2] == struct.pack("<f", 1.0)


def test_no_message_is_too_large_for_a_link() -> None:
    """Many long vectors go in several messages."""
    made: list[tuple[float, ...]] = [(1.0,) * 3072] * 100
    messages = list(packed(made))
    assert max(len(data) for _, _, data in messages) <= 4 * vectors._PIECE
    assert len(messages) > 1
    assert there_and_back(made) == made
