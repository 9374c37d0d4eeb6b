"""Random schedules of publishes, failures, breaks, restarts and answers against the router core."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgine.actors.bus.handling.dedup import Line, LineKey, Lines
from tests.actors.bus.router.faults import FaultyWorld


def run(world: FaultyWorld, steps: int) -> None:
    for _ in range(steps):
        world.step()
    world.rest()
    world.check()


@pytest.mark.parametrize("priorities", [False, True])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_every_event_is_handled_once_and_in_order(priorities: bool, seed: int) -> None:
    """Whatever breaks and restarts: each handler gets each producer's events of a session once, in order."""
    run(FaultyWorld(random.Random(seed), priorities=priorities, faults=True), 400)


@pytest.mark.parametrize("faults", [False, True])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_failing_handlers_lose_nothing(faults: bool, seed: int) -> None:
    """Whatever fails as well: each event is handled once or a dead letter, and lanes keep their order."""
    choose = random.Random(seed)
    run(FaultyWorld(choose, priorities=True, faults=faults, failing=choose.choice([0.1, 0.4, 0.9])), 400)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_counters_equal_what_happened(seed: int) -> None:
    """Without faults the counters are exactly the number of messages published."""
    world = FaultyWorld(random.Random(seed), priorities=True, failing=0.2)
    run(world, 300)
    statistics = world.core.statistics()
    total = sum(world.published.values())
    assert statistics["events_published_total"] == total
    assert statistics["events_processed_total"] + statistics["events_failed_total"] == total
    for key, row in statistics["per_handler"].items():
        number = next(one.number for one in world.table if one.key_text == key)
        assert row["handled"] == len(world.handled[number])
        assert row["accepted"] == row["handled"] + row["failed"]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=10)
def test_without_suppression_duplicates_do_show(seed: int) -> None:
    """A test of the test: with dedup switched off, schedules with restarts hand events out twice."""
    rounds = random.Random(seed)
    for _ in range(20):
        world = FaultyWorld(random.Random(rounds.random()), faults=True)
        for client in world.clients:
            client.inbox._join = _never  # type: ignore[method-assign]  # switched off
            for queue in client.inbox.queues.values():
                queue.places.lines = _Forgetful(64, 64)
        for _ in range(300):
            world.step()
        world.rest()
        if any(len(set(handled)) < len(handled) for handled in world.handled.values()):
            return
    raise AssertionError("no schedule made a duplicate")


class _Forgetful(Lines):
    """Lines that remember nothing."""

    def line(self, key: LineKey) -> Line:
        return Line(64)


def _never(line: Line, sequence: int, entry: int) -> bool:
    return False
