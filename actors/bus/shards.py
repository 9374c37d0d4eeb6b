"""Which router has a session: the same answer in every process, and nobody need be asked."""

from __future__ import annotations

from hashlib import blake2b


def shard_of(session: str, shards: int) -> int:
    """The shard of the highest weight for this session: even, and stable for a number of shards."""
    if shards == 1:
        return 0
    return max(range(shards), key=lambda shard: _weight(session, shard))


def _weight(session: str, shard: int) -> bytes:
    return blake2b(session.encode("utf-8", "surrogatepass"), digest_size=8, salt=b"%d" % shard).digest()
