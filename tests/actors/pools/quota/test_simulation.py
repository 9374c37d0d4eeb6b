"""Limits shared by many actors, against providers that refuse what is beyond them, in virtual time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmgine.actors.pools.quota.meters import Of
from tests.actors.pools.quota import deliberate
from tests.actors.pools.quota.checks import violations
from tests.actors.pools.quota.servers import Bucket, Counter, FixedWindows, SlidingWindow
from tests.actors.pools.quota.world import Case, World

_SKEWED = (4.0, 2.0, 1.0, 0.5)
_SERVERS = (Bucket, FixedWindows, SlidingWindow)
_FEW_REQUESTS: dict[Of, float] = {"requests": 200.0, "input_tokens": 200_000.0, "output_tokens": 80_000.0}
_FEW_TOKENS: dict[Of, float] = {"requests": 600.0, "input_tokens": 120_000.0, "output_tokens": 60_000.0}

_CALM = Case(1, _FEW_TOKENS, _SKEWED, SlidingWindow, seconds=130)
_LOSSY = Case(3, _FEW_REQUESTS, _SKEWED, SlidingWindow, seconds=130, actor_deaths=4, loss=0.2, slowest=2.0)
_RESTARTED = Case(2, _FEW_REQUESTS, _SKEWED, SlidingWindow, seconds=130, actor_deaths=6, owner_restarts=2)


@pytest.mark.parametrize("limits", [_FEW_REQUESTS, _FEW_TOKENS], ids=["requests", "tokens"])
@pytest.mark.parametrize("server", _SERVERS)
def test_a_known_limit_is_used_and_never_exceeded(server: type[Counter], limits: dict[Of, float]) -> None:
    """Whatever way a provider counts, at least 90 % is used, and no call is refused."""
    world = World(Case(1, limits, _SKEWED, server, seconds=130)).run()
    assert violations(world, at_least=0.9) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_known_limit_holds_whoever_dies_and_whatever_is_lost(seed: int) -> None:
    """Actors that die, asks and grants that are lost, late or doubled: in no window is it exceeded."""
    assert violations(World(replace(_LOSSY, seed=seed)).run(), at_least=0.4) == []


def test_a_known_limit_holds_for_calls_that_are_long_on_their_way() -> None:
    """As long as a connection may take to stand, with deaths and losses."""
    assert violations(World(replace(_LOSSY, arrival=4.9)).run(), at_least=0.3) == []


@pytest.mark.parametrize("seed", range(3))
def test_an_owner_that_begins_anew_exceeds_a_limit_by_one_lease_at_most(seed: int) -> None:
    """It goes on from what the living tell of themselves, and of the dead."""
    assert violations(World(replace(_RESTARTED, seed=seed)).run(), at_least=0.4) == []


@pytest.mark.parametrize("limit", [20.0, 200.0])
@pytest.mark.parametrize("server", _SERVERS)
def test_a_limit_that_the_provider_tells_of_is_learned(server: type[Counter], limit: float) -> None:
    """Before the first answer it is exceeded by what was let through for a trial at most."""
    world = World(Case(1, {"requests": limit}, _SKEWED, server, seconds=130, known=False)).run()
    assert violations(world, at_least=0.9) == []
    assert len(world.server.refused) <= 8


@pytest.mark.parametrize("server", _SERVERS)
def test_a_limit_that_nobody_tells_of_is_found_by_refusals(server: type[Counter]) -> None:
    """Hardly a call is refused once the limit was met."""
    case = Case(1, {"requests": 120.0}, _SKEWED, server, seconds=300, known=False, headers=False)
    world = World(case).run()
    assert world.server.total("requests", 60, 300) >= 0.8 * 120 * 4
    assert len(world.server.refused) <= 0.1 * world.taken


def test_a_guess_that_was_too_low_is_left_behind() -> None:
    """One busy moment of a provider does not hold its key down for long."""
    case = Case(1, {"requests": 600.0}, _SKEWED, SlidingWindow, seconds=900, known=False, headers=False)
    world = World(case)
    world.server.busy_until = 30.0
    world.run()
    assert world.server.total("requests", 720, 900) >= 0.6 * 3 * min(600, 60 * sum(_SKEWED))


def test_a_small_limit_reaches_every_actor() -> None:
    """Six calls a minute over three actors: whoever waits longest is next, wherever it waits."""
    world = World(Case(1, {"requests": 6.0}, (1.0, 0.3, 0.1), seconds=400)).run()
    assert violations(world, at_least=0.95) == []
    assert all(actor.sent for actor in world.actors)


def test_a_large_call_is_not_starved_by_small_ones() -> None:
    """A call that needs most of a minute's tokens gets them in its turn."""
    limits: dict[Of, float] = {"input_tokens": 60_000.0}
    case = Case(1, limits, (0.5, 0.05), seconds=400, input=(100, 2_000), large=50_000)
    world = World(case).run()
    assert violations(world, at_least=0.7) == []
    assert world.actors[-1].sent >= 2


def test_what_is_idle_is_asked_for_no_more() -> None:
    """An actor that makes no calls holds nothing and says nothing."""
    world = World(Case(1, {"requests": 600.0}, (2.0, 1e-9), seconds=100)).run()
    assert world.actors[1].book.due(world.now) is None
    assert world.asks <= 2 * world.case.seconds


@pytest.mark.parametrize("mistake", deliberate.BOOKS, ids=lambda one: one.__name__)
def test_a_mistake_of_an_actor_is_found(mistake: Any) -> None:
    """The checks tell a book that does one thing wrong."""
    cases = [replace(_LOSSY, book=mistake), replace(_CALM, book=mistake)]
    assert any(violations(World(case).run(), at_least=0.4) for case in cases)


@pytest.mark.parametrize("mistake", deliberate.OWNERS, ids=lambda one: one.__name__)
def test_a_mistake_of_the_owner_is_found(mistake: Any) -> None:
    """The checks tell an owner that does one thing wrong."""
    cases = [replace(_LOSSY, owner=mistake), replace(_RESTARTED, owner=mistake)]
    assert any(violations(World(case).run(), at_least=0.4) for case in cases)
