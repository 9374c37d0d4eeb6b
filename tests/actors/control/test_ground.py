"""The links of one process."""

from __future__ import annotations

import gc

import pytest

from llmgine.actors.control import Ground, LocalWorld
from llmgine.actors.link import Identity, LinkBroken, PeerGone


@pytest.fixture
def ground() -> Ground:
    world = LocalWorld()
    cluster = world.cluster()
    return Ground("r", Identity("me", "driver", 1), cluster, world.transport(cluster, tcp=False))


async def test_one_link_per_actor(ground: Ground) -> None:
    """Who asks for the same actor shares its link."""
    peer = ground.peer("router-0")
    assert ground.peer("router-0") is peer
    assert ground.peer("router-1") is not peer


async def test_an_actor_that_is_gone_says_so_at_once(ground: Ground) -> None:
    """A link to an actor that will not come back fails without another try."""
    with pytest.raises(PeerGone, match="session-s-1"):
        await ground.peer("session-s-1").connection()


async def test_links_that_nobody_holds_are_let_go(ground: Ground) -> None:
    """A process that has talked to many ended sessions keeps nothing of them."""
    for number in range(100):
        with pytest.raises(PeerGone):
            await ground.peer(f"session-s-{number}").connection()
    gc.collect()
    assert len(ground._peers) <= 1  # the last error holds its own


async def test_closing_closes_every_link(ground: Ground) -> None:
    """After close no link of this process connects."""
    peer = ground.peer("router-0")
    ground.close()
    with pytest.raises(LinkBroken, match="closed on this side"):
        await peer.connection()
