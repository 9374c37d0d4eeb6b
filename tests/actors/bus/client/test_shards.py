"""Which router has a session."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.bus import shard_of


@given(st.text(), st.integers(1, 9))
def test_a_session_has_one_place_among_those_there_are(session: str, shards: int) -> None:
    """Whoever asks finds the same router, and one more router takes sessions from others only for itself."""
    place = shard_of(session, shards)
    assert 0 <= place < shards
    assert shard_of(session, shards + 1) in (place, shards)


def test_sessions_are_spread_evenly() -> None:
    """Of many sessions each of four routers has about a quarter."""
    counts = Counter(shard_of(f"session-{number}", 4) for number in range(4_000))
    assert all(850 < counts[shard] < 1_150 for shard in range(4)), counts


def test_the_places_are_the_same_in_every_process_and_version() -> None:
    """A producer and a router of another version agree on them."""
    assert [shard_of(session, 3) for session in ("BUS", "s1", "s2", "s3", "ö")] == [2, 2, 1, 0, 0]
