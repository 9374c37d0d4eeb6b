"""Which provider actors there should be."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.supervisor.pooltable import PoolTable, Steps

DEAD = RuntimeError("it died")


def grown(size: int, pool: str = "p", now: float = 0.0) -> PoolTable:
    """A table with one pool of so many actors that take calls."""
    table = PoolTable()
    table.resize(pool, size)
    run(table, pool, now)
    return table


def run(table: PoolTable, pool: str = "p", now: float = 0.0) -> list[Steps]:
    """Follows the steps, each start a success, until none is left; drained actors stay draining."""
    taken = []
    while (steps := table.steps(pool, now)) != Steps():
        taken.append(steps)
        for actor in steps.start:
            table.joined(actor, now)
    return taken


def test_growing_names_new_actors_once_each() -> None:
    """Every actor that is started has a name that no earlier one of its pool had."""
    table = grown(2, "openai")
    assert table.members("openai") == ["provider-openai-0", "provider-openai-1"]
    table.resize("openai", 1)
    assert run(table, "openai") == [Steps(drain=("provider-openai-1",))]
    table.resize("openai", 2)
    assert table.steps("openai", 0).start == ("provider-openai-2",)


def test_shrinking_takes_surplus_actors_out_of_the_table_at_once() -> None:
    """Callers choose no actor that is being drained."""
    table = grown(3, "a-b")
    table.resize("a-b", 1)
    assert table.steps("a-b", 0) == Steps(drain=("provider-a-b-1", "provider-a-b-2"))
    assert table.members("a-b") == ["provider-a-b-0"]
    assert table.snapshot() == {"a-b": [["provider-a-b-0", ""]]}


def test_actors_that_wait_for_a_place_are_given_up_first() -> None:
    """A pool that has become smaller gives up what it starts before it drains what takes calls."""
    table = grown(2)
    table.resize("p", 4)
    assert table.steps("p", 0).start == ("provider-p-2", "provider-p-3")
    table.resize("p", 3)
    assert table.steps("p", 0) == Steps(give_up=("provider-p-3",))
    table.resize("p", 1)
    assert table.steps("p", 0) == Steps(give_up=("provider-p-2",), drain=("provider-p-1",))


@pytest.mark.parametrize("size", [1, 2, 4, 9])
def test_replacements_are_ready_first(size: int) -> None:
    """While all actors are replaced, never fewer take calls, nor a quarter more than the pool has."""
    table = grown(size)
    table.change("p", {"max_in_flight": 9}, size=size, replaced=True)
    new: set[str] = set()
    while (steps := table.steps("p", 0)) != Steps():
        there = [actor for actor in table.of("p").actors.values() if actor.state != "draining"]
        assert len(there) <= size + -(-size // 4)
        for actor in steps.start:
            assert len(table.members("p")) >= size
            table.joined(actor, 0)
            new.add(actor)
    assert set(table.members("p")) == new
    assert table.of("p").settled


def test_one_actor_is_replaced() -> None:
    """An actor that shall go stays until another is in its place."""
    table = grown(2)
    assert table.outdate("p", "provider-p-0")
    assert table.steps("p", 0) == Steps(start=("provider-p-2",))
    assert table.members("p") == ["provider-p-0", "provider-p-1"]
    table.joined("provider-p-2", 0)
    assert table.steps("p", 0) == Steps(drain=("provider-p-0",))
    assert not table.outdate("p", "provider-p-9")


def test_settings_of_the_supervisor_replace_nobody() -> None:
    """A change that no actor runs leaves all where they are, and is in the plan."""
    table = grown(2)
    table.change("p", {"scaling": {}}, size=2, replaced=False)
    assert run(table) == []
    assert table.of("p").plan.changes == {"scaling": {}}


def test_a_change_that_cannot_be_is_taken_back() -> None:
    """With the former plan its actors stay, and what was started for the other is given up."""
    table = grown(2)
    former = table.of("p").plan
    table.change("p", {"max_in_flight": 9}, size=2, replaced=True)
    (started,) = table.steps("p", 0).start
    table.revert("p", former)
    assert table.steps("p", 0) == Steps(give_up=(started,))
    assert table.of("p").plan.number > former.number + 1
    assert table.of("p").settled


def test_what_does_not_start_is_tried_again_after_growing_pauses() -> None:
    """Each failure doubles the pause; a wish from outside ends it."""
    table, now, pauses = PoolTable(), 0.0, []
    table.resize("p", 1)
    for _ in range(8):
        (actor,) = table.steps("p", now).start
        table.failed(actor, DEAD, now)
        pauses.append(table.of("p").retry_at - now)
        assert table.steps("p", now) == Steps()
        now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    table.resize("p", 1)
    assert len(table.steps("p", now - 1).start) == 1
    assert table.of("p").failure is None


@pytest.mark.parametrize(("lived", "soon"), [(60.0, True), (3.0, False)])
def test_a_dead_actor_is_replaced(lived: float, soon: bool) -> None:
    """Another is started at once, after a pause where the dead one had hardly lived."""
    table = grown(2)
    table.gone("provider-p-0", DEAD, lived)
    assert table.members("p") == ["provider-p-1"]
    assert bool(table.steps("p", lived).start) == soon
    assert (table.of("p").failure is None) == soon


def report(name: str, form: int = 0, **fields: Any) -> dict[str, Any]:
    return {"name": name, "pool": "p", "form": form, "node": "n", "stopping": False, **fields}


def test_a_restarted_supervisor_goes_on_with_the_latest_plan() -> None:
    """Plans come back from whoever kept the latest, and what was half done is finished."""
    former = grown(2)
    early = former.plans()
    former.change("p", {"max_in_flight": 9}, size=2, replaced=True)
    table = PoolTable()
    for plans in (former.plans(), early):
        table.remember(plans)
    assert table.of("p").plan == former.of("p").plan
    table.expect("provider-p-7")
    for told in (report("provider-p-0"), report("provider-p-1", stopping=True), report("provider-p-4", 1)):
        table.found(told, 0)
    assert table.members("p") == ["provider-p-0", "provider-p-4"]
    assert table.steps("p", 0) == Steps()
    table.joined("provider-p-7", 0)
    assert table.steps("p", 0) == Steps(drain=("provider-p-0",))
    table.resize("p", 3)
    assert table.steps("p", 0).start == ("provider-p-8",)


def test_where_an_actor_lives() -> None:
    """Callers must be told when an actor that takes calls has moved, and of no other."""
    table = PoolTable()
    table.resize("p", 1)
    (actor,) = table.steps("p", 0).start
    assert not table.placed(actor, "n1")
    table.joined(actor, 0)
    assert not table.placed(actor, "n1")
    assert table.placed(actor, "n2")
    assert table.places("p") == [[actor, "n2"]]
    assert not table.placed("provider-p-9", "n1")
