"""Pools brought to their sizes and settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from llmgine.actors.control import ActorGone, StartFailed
from llmgine.actors.control.membership import KEPT
from llmgine.actors.pools.errors import PoolChangeRefused, PoolNotReady
from llmgine.actors.pools.quota.messages import Ask, State
from llmgine.actors.pools.quota.meters import Meter
from llmgine.actors.store.operations import DropResponses
from llmgine.actors.supervisor.pooldesk import PoolDesk
from llmgine.actors.supervisor.work import Work
from llmgine.providers import MissingKey, UnknownModel

Until = Callable[..., Any]


class Keeper:
    """A member that keeps plans."""

    def __init__(self, kept: dict[str, Any] | None = None) -> None:
        self.report = {"kept": kept or {}}

    def wants(self, table: str) -> bool:
        return table == KEPT

    def push(self, kind: str, body: Any) -> None:
        self.report[kind] = body


class Told:
    """The members, as far as pools push to them."""

    def __init__(self) -> None:
        self.tables: list[Any] = []
        self.keeper = Keeper()

    async def push(self, table: str, body: Any) -> None:
        self.tables.append(body)

    def all(self) -> list[Any]:
        return [self.keeper]


class Pools:
    """A desk, what it acts on, and a clock."""

    def __init__(self, children: Any, **pools: Any) -> None:
        self.children = children
        self.told = Told()
        self.now = 0.0
        settings = {"pools": {"default": {"size": 2, **pools}}, "providers": {}}
        self.desk = PoolDesk(children, cast(Any, self.told), Work(), settings, lambda: self.now)

    @property
    def kept(self) -> dict[str, Any]:
        kept: dict[str, Any] = self.told.keeper.report["kept"]
        return kept


@pytest.fixture
def pools(children: Any) -> Pools:
    pools = Pools(children)
    pools.desk.begin()
    return pools


BOTH = ["provider-scripted-0", "provider-scripted-1"]
THIRD = "provider-scripted-2"


def places(*names: str) -> list[list[str]]:
    return [[name, ""] for name in names]


async def test_callers_at_once_start_one_pool(pools: Pools, until: Until) -> None:
    """However many sessions ask for a pool that is not there, it is started once, at its size."""
    pools.children.starting.shut()
    asked = [asyncio.create_task(pools.desk.ensure("scripted")) for _ in range(5)]
    await until(lambda: len(pools.children.starting.came) >= 2)
    pools.children.starting.open()
    assert all(answer[0] == [BOTH[0], ""] for answer in await asyncio.gather(*asked))
    await until(lambda: pools.told.tables and pools.told.tables[-1] == {"scripted": places(*BOTH)})
    assert sorted(pools.children.starting.came) == BOTH


async def test_the_first_actor_takes_calls_while_others_start(pools: Pools, until: Until) -> None:
    """A pool of which an actor waits for its place serves with the others, and grows when there is room."""
    pools.children.gates = {BOTH[1]: asyncio.Event()}
    assert await pools.desk.ensure("scripted") == places(BOTH[0])
    with pytest.raises(PoolNotReady, match=r"1 of 2 actors .* 1 are being started .*num_cpus=0\.1"):
        await pools.desk.scale("scripted", 2, wait=0.01)
    pools.children.gates[BOTH[1]].set()
    assert await pools.desk.scale("scripted", 2) == BOTH


async def test_scaling_adds_to_what_is_being_started(pools: Pools, until: Until) -> None:
    """A scale during the first call's start sees that start's actors and adds to them."""
    pools.children.starting.shut()
    ensuring = asyncio.create_task(pools.desk.ensure("scripted"))
    await until(lambda: len(pools.children.starting.came) == 2)
    scaling = asyncio.create_task(pools.desk.scale("scripted", 3))
    await asyncio.sleep(0)
    pools.children.starting.open()
    await ensuring
    assert await scaling == [*BOTH, THIRD]


async def test_a_later_size_holds(pools: Pools, until: Until) -> None:
    """A scale that waits for room ends when another size is asked for, and leaves nothing behind."""
    await pools.desk.scale("scripted", 1)
    pools.children.starting.shut()
    growing = asyncio.create_task(pools.desk.scale("scripted", 3))
    await until(lambda: len(pools.children.starting.came) == 3)
    assert await pools.desk.scale("scripted", 1) == BOTH[:1]
    with pytest.raises(PoolChangeRefused, match="brought to 1 actors meanwhile"):
        await growing
    await until(lambda: pools.children.ended == [BOTH[1], THIRD])


async def test_one_actor_is_enough_for_a_call(pools: Pools) -> None:
    """A pool of which one actor could not be started serves with the others; a scale says what failed."""
    pools.children.failures = {BOTH[0]: StartFailed("no CPUs"), THIRD: StartFailed("still none")}
    assert await pools.desk.ensure("scripted") == places(BOTH[1])
    with pytest.raises(StartFailed, match="still none"):
        await pools.desk.scale("scripted", 2)
    assert pools.desk.table.members("scripted") == BOTH[1:]


async def test_what_failed_is_tried_again_in_time(pools: Pools, until: Until) -> None:
    """The pool comes to its size by itself once its actors can be started."""
    pools.children.failures = {name: StartFailed("no CPUs") for name in BOTH}
    with pytest.raises(StartFailed, match="no CPUs"):
        await pools.desk.ensure("scripted")
    pools.desk.tick()
    assert len(pools.children.starting.came) == 2
    pools.now = 30.0
    pools.desk.tick()
    await until(lambda: len(pools.desk.table.members("scripted")) == 2)


async def test_nothing_starts_in_a_runtime_that_ends(pools: Pools, until: Until) -> None:
    """What waits for its place is given up, and what would be tried again is not."""
    pools.children.gates = {BOTH[1]: asyncio.Event()}
    pools.children.failures = {BOTH[0]: StartFailed("no CPUs")}
    asking = asyncio.create_task(pools.desk.scale("scripted", 2, wait=5.0))
    await until(lambda: pools.desk.table.of("scripted").failure)
    pools.desk.stop()
    await until(lambda: pools.children.ended == [BOTH[1]])
    pools.now = 100.0
    pools.desk.tick()
    assert pools.children.starting.came == [BOTH[0]]
    asking.cancel()


async def test_a_pool_that_cannot_start_says_why(pools: Pools) -> None:
    """The reason reaches whoever needed the pool, and the next call tries again."""
    pools.children.failures = {name: StartFailed("no CPUs") for name in BOTH}
    with pytest.raises(StartFailed, match="no CPUs"):
        await pools.desk.ensure("scripted")
    assert await pools.desk.ensure("scripted")


async def test_surplus_actors_are_drained_without_being_waited_for(pools: Pools, until: Until) -> None:
    """Scaling down returns at once; callers are told before the surplus actors are asked to drain."""
    await pools.desk.scale("scripted", 2)
    pools.children.ending.shut()
    assert await pools.desk.scale("scripted", 1) == BOTH[:1]
    assert pools.told.tables[-1] == {"scripted": places(BOTH[0])}
    await until(lambda: pools.children.ending.came == BOTH[1:])
    pools.children.ending.open()
    await until(lambda: pools.children.alive == {BOTH[0]})


async def test_a_dead_actor_is_replaced(pools: Pools, until: Until) -> None:
    """Callers are told that an actor will not come back, and of the one in its place."""
    await pools.desk.scale("scripted", 2)
    pools.now = 60.0
    await pools.desk.gone(BOTH[0])
    assert pools.told.tables[-1] == {"scripted": places(BOTH[1])}
    await until(lambda: pools.told.tables[-1] == {"scripted": places(BOTH[1], THIRD)})
    await pools.desk.gone(BOTH[0])


async def test_one_actor_is_drained(pools: Pools, until: Until) -> None:
    """It goes once another takes calls in its place; whoever asked waits until it is gone."""
    await pools.desk.scale("scripted", 2)
    pools.children.ending.shut()
    draining = asyncio.create_task(pools.desk.drain("scripted", BOTH[0]))
    await until(lambda: pools.children.ending.came == BOTH[:1])
    assert pools.desk.table.members("scripted") == [BOTH[1], THIRD]
    assert not draining.done()
    pools.children.ending.open()
    await draining
    assert pools.children.alive == {BOTH[1], THIRD}
    await pools.desk.drain("scripted", BOTH[0])


async def test_a_pool_is_drained(pools: Pools) -> None:
    """All of it goes; the next call starts it anew."""
    await pools.desk.scale("scripted", 2)
    await pools.desk.drain("scripted")
    assert pools.children.alive == set()
    assert pools.told.tables[-1] == {"scripted": []}
    assert (await pools.desk.ensure("scripted"))[0] == [THIRD, ""]


async def test_changed_settings_reach_every_actor(pools: Pools) -> None:
    """New actors are born with them, the old ones go, and later changes add to them."""
    await pools.desk.scale("scripted", 2)
    assert await pools.desk.reconfigure("scripted", {"max_in_flight": 9, "timeouts": {"idle": 5}}) == [
        "provider-scripted-2",
        "provider-scripted-3",
    ]
    settings = pools.children.settings[THIRD]
    assert settings["pools"]["by_provider"]["scripted"]["max_in_flight"] == 9
    assert settings["providers"]["endpoints"]["scripted"]["timeouts"]["idle"] == 5
    assert settings["providers"]["endpoints"]["scripted"]["timeouts"]["total"] == 900
    await pools.desk.reconfigure("scripted", {"num_cpus": 0.5, "size": 1})
    (last,) = pools.desk.table.members("scripted")
    own = pools.children.settings[last]["pools"]["by_provider"]["scripted"]
    assert (own["max_in_flight"], own["num_cpus"]) == (9, 0.5)
    assert pools.children.forms[last] == 2


async def test_changed_limits_hold_at_once(pools: Pools) -> None:
    """Limits of keys are shared out as they have been changed, and as they were once that is taken back."""
    await pools.desk.scale("scripted", 1)
    meter = Meter("default", "", "requests")

    def limit(number: int) -> Any:
        ask = Ask(BOTH[0], 1, number, states=(State(meter, wants=1.0),))
        pools.desk.quotas.asked(cast(Any, pools.told.keeper), ask.to_wire())
        return pools.desk.quotas.statistics("scripted")["limits"]

    assert limit(1) == {}
    await pools.desk.reconfigure("scripted", {"limits": {"requests_per_minute": 60}})
    assert limit(2)["default"][""]["requests"]["limit"] == 60
    pools.children.failures = {"provider-scripted-2": StartFailed("no such GPU")}
    with pytest.raises(PoolChangeRefused):
        await pools.desk.reconfigure("scripted", {"limits": {"requests_per_minute": 30}, "num_gpus": 1})
    assert limit(3)["default"][""]["requests"]["limit"] == 60


async def test_settings_of_the_supervisor_replace_nobody(pools: Pools) -> None:
    """Bounds of the size hold at once, for the actors that there are."""
    await pools.desk.scale("scripted", 2)
    scaling = {"enabled": True, "min_size": 2, "max_size": 3}
    assert await pools.desk.reconfigure("scripted", {"scaling": scaling}) == BOTH
    with pytest.raises(PoolChangeRefused, match="between 2 and 3"):
        await pools.desk.scale("scripted", 4)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_inflight": 3}, "did you mean max_in_flight"),
        ({"zzz": 3}, "it has .*base_url"),
        ({"scaling": {"max_sise": 2}}, "scaling has no setting 'max_sise'; did you mean max_size"),
        ({"max_in_flight": 0}, "max_in_flight: Input should be greater"),
        ({"scaling": {"min_size": 9, "max_size": 2}}, "min_size 9 is above max_size 2"),
        ({"base_url": "http://localhost"}, "a scripted endpoint answers by itself"),
        ({"models": ["a"]}, "known to callers too"),
        ({"headers": {"Authorization": "Bearer sesame"}}, "holds a key"),
    ],
)
async def test_wrong_settings_are_refused(pools: Pools, changes: dict[str, Any], told: str) -> None:
    """Nothing is started for them, and the error says what is wrong without what stood in it."""
    await pools.desk.scale("scripted", 2)
    with pytest.raises(PoolChangeRefused, match=told) as refused:
        await pools.desk.reconfigure("scripted", changes)
    assert "sesame" not in str(refused.value)
    assert pools.children.starting.came == BOTH


async def test_settings_with_which_no_actor_starts_are_taken_back(pools: Pools) -> None:
    """The actors that there are stay, and the pool goes on with the settings that it had."""
    await pools.desk.scale("scripted", 2)
    pools.children.failures = {THIRD: StartFailed("no such GPU")}
    with pytest.raises(PoolChangeRefused, match=r"no actor of 'scripted' starts .* no such GPU"):
        await pools.desk.reconfigure("scripted", {"num_gpus": 1})
    assert pools.desk.table.members("scripted") == BOTH
    await pools.desk.scale("scripted", 3)
    assert "by_provider" not in pools.children.settings["provider-scripted-3"]["pools"]


async def test_settings_with_which_no_call_can_be_made_are_taken_back(pools: Pools) -> None:
    """A replacement opens its provider before anybody leaves for it; others do with their first call."""
    await pools.desk.scale("scripted", 2)
    assert pools.children.prepared == []
    pools.children.unusable = {THIRD: MissingKey("no key in WRONG_NAME")}
    with pytest.raises(PoolChangeRefused, match="no key in WRONG_NAME"):
        await pools.desk.reconfigure("scripted", {"max_in_flight": 9})
    assert pools.desk.table.members("scripted") == BOTH
    assert pools.children.alive == set(BOTH)


async def test_a_restarted_supervisor_finds_what_was_planned(children: Any, until: Until) -> None:
    """The plan comes back from those who kept it; what was half done is finished."""
    before = Pools(children)
    before.desk.begin()
    await before.desk.scale("scripted", 1)
    children.starting.shut()
    changing = asyncio.create_task(before.desk.reconfigure("scripted", {"max_in_flight": 9, "size": 2}))
    await until(lambda: THIRD in children.starting.came)
    changing.cancel()
    children.starting.open()

    after = Pools(children)
    after.desk.joined(Keeper(before.kept))  # type: ignore[arg-type]
    asking = asyncio.create_task(after.desk.scale("scripted", 2))
    children.coming.shut()
    finding = asyncio.create_task(after.desk.recover(BOTH))
    await asyncio.sleep(0)
    for name, form in zip(BOTH, (0, 1), strict=True):
        report = {"name": name, "pool": "scripted", "form": form, "node": "n", "stopping": False}
        report["quota"] = Ask(name, 1, 0).to_wire()
        after.desk.heard(report)
    children.coming.open()
    await finding
    assert len(await asking) == 2
    assert {children.forms[name] for name in after.desk.table.members("scripted")} == {1}
    assert after.desk.table.of("scripted").plan.changes == {"max_in_flight": 9, "size": 2}


async def test_callers_are_told_where_an_actor_lives(pools: Pools, until: Until) -> None:
    """An actor's node stands in the table; one that Ray brought back elsewhere is told of anew."""
    await pools.desk.scale("scripted", 1)
    pools.desk.heard({"name": BOTH[0], "node": "n1"})
    await until(lambda: pools.told.tables[-1] == {"scripted": [[BOTH[0], "n1"]]})


async def test_an_unknown_provider_is_refused(pools: Pools) -> None:
    """The error lists what is known and where more are added."""
    with pytest.raises(UnknownModel, match=r"scripted.*providers\.endpoints"):
        await pools.desk.ensure("nobody")
    assert pools.children.starting.came == []


class Store:
    """Notes after whose clearing something is written."""

    def __init__(self, children: Any) -> None:
        self.children = children
        self.written: list[tuple[int, Any]] = []

    async def write(self, operations: list[Any]) -> None:
        self.written += [(len(self.children.clearing), operation) for operation in operations]


async def test_kept_answers_are_forgotten_in_actors_and_store(pools: Pools) -> None:
    """Actors are cleared again after the store, from which they may have read; a dead one has none."""
    store = Store(pools.children)
    pools.desk.caches.keep_in(cast(Any, store))
    assert await pools.desk.scale("scripted", 2) == BOTH
    pools.children.failures = {BOTH[0]: ActorGone("dead")}
    await pools.desk.clear_cache("scripted")
    assert pools.children.clearing == [*BOTH, *BOTH]
    assert store.written == [(2, DropResponses("scripted"))]
    pools.children.failures = {BOTH[1]: TimeoutError()}
    with pytest.raises(PoolNotReady, match="provider-scripted-1 has not forgotten"):
        await pools.desk.clear_cache("scripted")
    with pytest.raises(UnknownModel):
        await pools.desk.clear_cache("nobody")
