"""Limits shared by many actors, against providers that refuse what is beyond them, in virtual time."""

from __future__ import annotations

import pytest

from tests.actors.pools.quota.servers import Bucket, Counter, FixedWindows, SlidingWindow
from tests.actors.pools.quota.world import Case, World

_SKEWED = (8.0, 4.0, 2.0, 1.0, 0.5)
_SERVERS = (Bucket, FixedWindows, SlidingWindow)


@pytest.mark.parametrize("server", _SERVERS)
def test_a_known_limit_is_used_and_never_exceeded(server: type[Counter]) -> None:
    """Whatever way a provider counts, at least 90 % is used, and no call is refused."""
    world = World(Case(1, {"requests": 600}, _SKEWED, server)).run()
    assert world.server.total("requests", 60, 300) >= 0.9 * 600 * 4
    assert world.server.most("requests") <= 600
    assert not world.server.refused
