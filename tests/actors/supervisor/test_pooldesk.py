"""Pools brought to their sizes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from llmgine.actors.control import StartFailed
from llmgine.actors.pools import PoolOptions, PoolsOptions
from llmgine.actors.supervisor.pooldesk import PoolDesk
from llmgine.actors.supervisor.work import Work
from llmgine.providers import UnknownModel
from llmgine.providers.options import ProvidersOptions

Until = Callable[..., Any]


class Told:
    """The members, as far as pools push to them."""

    def __init__(self) -> None:
        self.tables: list[Any] = []

    async def push(self, table: str, body: Any) -> None:
        self.tables.append(body)


class Pools:
    def __init__(self, children: Any) -> None:
        self.children = children
        self.told = Told()
        pools = PoolsOptions(default=PoolOptions(size=2))
        self.desk = PoolDesk(children, cast(Any, self.told), Work(), pools, ProvidersOptions())


@pytest.fixture
def pools(children: Any) -> Pools:
    return Pools(children)


BOTH = ["provider-scripted-0", "provider-scripted-1"]
PLACES = [[name, ""] for name in BOTH]


async def test_callers_at_once_start_one_pool(pools: Pools, until: Until) -> None:
    """However many sessions ask for a pool that is not there, it is started once, at its size."""
    pools.children.starting.shut()
    asked = [asyncio.create_task(pools.desk.ensure("scripted")) for _ in range(5)]
    await until(lambda: len(pools.children.starting.came) >= 2)
    pools.children.starting.open()
    assert await asyncio.gather(*asked) == [PLACES] * 5
    assert sorted(pools.children.starting.came) == BOTH
    assert pools.told.tables == [{"scripted": PLACES}]


async def test_scaling_waits_for_the_pool_that_is_started(pools: Pools, until: Until) -> None:
    """A scale during the first call's start sees that start's actors and adds to them."""
    pools.children.starting.shut()
    ensuring = asyncio.create_task(pools.desk.ensure("scripted"))
    await until(lambda: len(pools.children.starting.came) == 2)
    scaling = asyncio.create_task(pools.desk.scale("scripted", 3))
    await asyncio.sleep(0)
    pools.children.starting.open()
    assert await ensuring == PLACES
    assert await scaling == [*BOTH, "provider-scripted-2"]


async def test_one_actor_is_enough_for_a_call(pools: Pools) -> None:
    """A pool of which one actor could not be started serves with the others; a scale says what failed."""
    third = "provider-scripted-2"
    pools.children.failures = {BOTH[0]: StartFailed("no CPUs"), third: StartFailed("still none")}
    assert await pools.desk.ensure("scripted") == PLACES[1:]
    with pytest.raises(StartFailed, match="still none"):
        await pools.desk.scale("scripted", 2)
    assert pools.desk.table.members("scripted") == BOTH[1:]


async def test_a_pool_that_cannot_start_says_why(pools: Pools) -> None:
    """The first reason reaches whoever needed the pool, and the next call tries again."""
    pools.children.failures = {name: StartFailed("no CPUs") for name in BOTH}
    with pytest.raises(StartFailed, match="no CPUs"):
        await pools.desk.ensure("scripted")
    assert len(await pools.desk.ensure("scripted")) == 2


async def test_surplus_actors_are_drained_without_being_waited_for(pools: Pools, until: Until) -> None:
    """Scaling down returns at once; callers are told before the surplus actors are asked to drain."""
    await pools.desk.ensure("scripted")
    pools.children.ending.shut()
    assert await pools.desk.scale("scripted", 1) == BOTH[:1]
    assert pools.told.tables[-1] == {"scripted": PLACES[:1]}
    await until(lambda: pools.children.ending.came == BOTH[1:])
    pools.children.ending.open()
    await until(lambda: pools.children.alive == {BOTH[0]})


async def test_a_dead_actor_leaves_the_table(pools: Pools) -> None:
    """Callers are told once that an actor will not come back."""
    await pools.desk.ensure("scripted")
    await pools.desk.gone(BOTH[0])
    await pools.desk.gone(BOTH[0])
    assert pools.told.tables == [{"scripted": PLACES}, {"scripted": PLACES[1:]}]


async def test_an_unknown_provider_is_refused(pools: Pools) -> None:
    """The error lists what is known and where more are added."""
    with pytest.raises(UnknownModel, match=r"scripted.*providers\.endpoints"):
        await pools.desk.ensure("nobody")
    assert pools.children.starting.came == []


async def test_callers_are_told_where_an_actor_lives(pools: Pools) -> None:
    """An actor's node stands in the table; one that Ray brought back elsewhere is told of anew."""
    await pools.desk.placed(BOTH[0], "n1")
    assert (await pools.desk.ensure("scripted"))[0] == [BOTH[0], "n1"]
    await pools.desk.placed(BOTH[0], "n1")
    await pools.desk.placed(BOTH[0], "n2")
    assert [table["scripted"][0] for table in pools.told.tables] == [[BOTH[0], "n1"], [BOTH[0], "n2"]]
