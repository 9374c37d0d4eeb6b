"""Power of two choices among a pool's actors, and what goes before it."""

from __future__ import annotations

import random

import pytest

from llmgine.actors.pools.routing import Router, Visit


def router(*actors: str, seed: int = 7) -> Router:
    made = Router(random.Random(seed))
    made.update(dict.fromkeys(actors, ""))
    return made


def chosen(pool: Router, now: float, excluded: frozenset[str] = frozenset()) -> set[str | None]:
    return {pool.choose(now, excluded) for _ in range(40)}


def carry(pool: Router, actor: str, calls: int) -> list[Visit]:
    """So many calls that have begun to answer after the usual time."""
    visits = [pool.started(actor, -1.0) for _ in range(calls)]
    for visit in visits:
        visit.first_chunk(0.0)
    return visits


def slow_and_fast() -> Router:
    """A pair of actors, each with one call now; those of one took ten times as long."""
    pair = router("fast", "slow")
    for _ in range(20):
        for actor, seconds in (("fast", 0.1), ("slow", 1.0)):
            visit = pair.started(actor, -seconds)
            visit.first_chunk(0.0)
            visit.finished()
    return pair


def test_the_idle_actor_of_a_pair_is_chosen() -> None:
    """Of two actors the one with fewer calls in flight takes the next."""
    pair = router("a", "b")
    pair.started("a", 0.0)
    assert chosen(pair, 0.0) == {"b"}


def test_load_spreads_evenly() -> None:
    """No actor of a pool carries more than a few calls beyond its share."""
    actors = [f"p{number}" for number in range(8)]
    pool, counts = router(*actors), dict.fromkeys(actors, 0)
    for _ in range(800):
        actor = pool.choose(0.0)
        assert actor is not None
        pool.started(actor, 0.0)
        counts[actor] += 1
    assert max(counts.values()) - min(counts.values()) <= 6


def test_a_call_that_is_over_counts_no_more() -> None:
    """An actor whose calls have ended is as idle as before."""
    pair = router("a", "b")
    for visit in carry(pair, "a", 5):
        visit.finished()
    carry(pair, "b", 1)
    assert chosen(pair, 0.0) == {"a"}


def test_a_slow_actor_gets_less() -> None:
    """Recent times to the first chunk weigh as much as calls in flight."""
    pair = slow_and_fast()
    carry(pair, "fast", 1)
    assert chosen(pair, 0.0) == {"fast"}


def test_an_actor_that_was_slow_long_ago_is_tried_again() -> None:
    """Times to the first chunk age: minutes after the last of them, an idle actor beats a busy one."""
    pair = slow_and_fast()
    pair.started("fast", 300.0).accepted(1, 300.0)
    assert chosen(pair, 300.0) == {"slow"}


def test_a_call_without_an_answer_weighs_the_more_the_longer_it_waits() -> None:
    """An actor that says nothing loses calls before anything is known to be wrong."""
    pair = router("a", "b")
    carry(pair, "a", 1)
    carry(pair, "b", 1)
    pair.started("a", 0.0)
    carry(pair, "b", 4)
    assert chosen(pair, 0.5) == {"a"}
    assert chosen(pair, 5.0) == {"b"}


def test_others_calls_count_once_they_are_told_and_fade() -> None:
    """What an actor says that it carries corrects the caller's own count, until it is too old."""
    pair = router("a", "b")
    for actor, in_flight in (("a", 7), ("b", 1)):
        for visit in carry(pair, actor, 1):
            visit.accepted(in_flight, 0.0)
            visit.finished()
    carry(pair, "b", 1)
    assert chosen(pair, 0.0) == {"b"}
    assert chosen(pair, 30.0) == {"a"}


def test_a_refusing_actor_is_passed_over_for_its_pause() -> None:
    """An actor that refused is chosen again after its pause, or when no other is left."""
    pair = router("a", "b")
    visit = pair.started("a", 0.0)
    visit.refused(0, 0.0, until=1.0)
    visit.finished()
    assert chosen(pair, 0.5) == {"b"}
    assert pair.choose(0.5, frozenset({"b"})) == "a"
    assert chosen(pair, 1.0) == {"a", "b"}


def test_a_pause_is_never_shortened() -> None:
    """A later refusal with a smaller pause leaves the greater one standing."""
    pair = router("a", "b")
    visit = pair.started("a", 0.0)
    visit.refused(0, 0.0, until=5.0)
    visit.refused(0, 0.0, until=1.0)
    assert chosen(pair, 2.0) == {"b"}


def test_an_empty_pool_has_no_choice() -> None:
    """Nothing is chosen where every actor is excluded."""
    assert router().choose(0.0) is None
    assert router("a").choose(0.0, frozenset({"a"})) is None


def test_what_is_known_of_an_actor_survives_an_update() -> None:
    """A change of the table forgets those that left and keeps the counts of those that stay."""
    pool = router("a", "b")
    visit = pool.started("a", 0.0)
    gone = pool.started("b", 0.0)
    pool.update({"a": "", "c": ""})
    gone.failed(0.0)
    gone.finished()
    assert chosen(pool, 0.0) == {"c"}
    visit.finished()
    assert chosen(pool, 0.0) == {"a", "c"}
    assert pool.choose(0.0, frozenset({"a", "c"})) is None


def test_a_broken_actor_is_probed_by_one_call_at_a_time() -> None:
    """After its pause one call goes to it; others pass it by until that one is answered."""
    pair = router("a", "b")
    broken = pair.started("a", 0.0)
    broken.failed(0.0)
    broken.finished()
    assert chosen(pair, 0.9) == {"b"}
    carry(pair, "b", 9)
    assert pair.choose(1.0) == "a"
    probe = pair.started("a", 1.0)
    assert chosen(pair, 1.0) == {"b"}
    probe.accepted(1, 1.1)
    assert chosen(pair, 1.1) == {"a"}


def test_a_probe_that_was_given_up_makes_way_for_another() -> None:
    """A probing call that ends without an answer says nothing about its actor."""
    pair = router("a", "b")
    broken = pair.started("a", 0.0)
    broken.failed(0.0)
    broken.finished()
    carry(pair, "b", 9)
    probe = pair.started("a", 1.0)
    assert chosen(pair, 1.0) == {"b"}
    probe.finished()
    assert chosen(pair, 1.0) == {"a"}


def test_each_failed_probe_lengthens_the_pause() -> None:
    """A broken actor is probed ever more rarely, and never less than twice a minute."""
    pair = router("a", "b")
    now, pauses = 0.0, []
    broken = pair.started("a", -1.0)
    broken.failed(now)
    broken.finished()
    carry(pair, "b", 9)
    for _ in range(8):
        began = now
        while now < 200 and "a" not in chosen(pair, now):
            now += 0.25
        probe = pair.started("a", now)
        probe.failed(now)
        probe.finished()
        pauses.append(now - began)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_calls_that_fail_together_count_as_one_failure() -> None:
    """The link of a hundred calls breaks once, also where some of them end late."""
    pair = router("a", "b")
    visits = carry(pair, "a", 100)
    for visit in visits:
        visit.failed(0.0)
    assert chosen(pair, 0.9) == {"b"}
    for visit in visits[1:]:
        visit.finished()
    carry(pair, "b", 9)
    probe = pair.started("a", 1.0)
    visits[0].failed(1.0)
    assert chosen(pair, 1.0) == {"b"}
    probe.accepted(1, 1.0)
    visits[0].failed(1.1)
    assert chosen(pair, 1.1) == {"a"}


def test_where_all_are_broken_one_is_tried() -> None:
    """A pool whose actors are all in quarantine still gives the one that is due first."""
    pair = router("a", "b")
    pair.started("b", 0.0).failed(0.0)
    visit = pair.started("a", 0.5)
    visit.failed(0.5)
    assert pair.choose(0.6) == "b"
    visit.refused(0, 0.6, until=9.0)
    assert pair.choose(0.6) == "a"


def test_a_session_stays_with_its_actor() -> None:
    """Calls of a session go to one actor while it is not overloaded, and to the next one from then on."""
    pool = router("a", "b", "c")
    home = pool.choose(0.0, session="s")
    assert home is not None
    visits = carry(pool, home, 2)
    assert {pool.choose(0.0, session="s") for _ in range(20)} == {home}
    visits += carry(pool, home, 3)
    other = pool.choose(0.0, session="s")
    assert other not in (None, home)
    for visit in visits:
        visit.finished()
    assert {pool.choose(0.0, session="s") for _ in range(20)} == {other}


def test_a_session_leaves_an_actor_that_is_excluded_or_broken() -> None:
    """Affinity is no reason to go where no call is taken."""
    pool = router("a", "b")
    home = pool.choose(0.0, session="s")
    assert home is not None
    away = pool.choose(0.0, frozenset({home}), session="s")
    assert away not in (None, home)
    pool.started(away, 0.0).failed(0.0)
    assert pool.choose(0.0, session="s") == home


def test_calls_stay_on_their_node_while_it_is_not_overloaded() -> None:
    """An actor on the caller's node is taken before idle ones elsewhere, up to a few calls more than they."""
    pool = Router(random.Random(3), node="here")
    pool.update({"near": "here", "far-1": "there", "far-2": "there"})
    carry(pool, "near", 2)
    assert chosen(pool, 0.0) == {"near"}
    carry(pool, "near", 1)
    assert chosen(pool, 0.0) == {"far-1", "far-2"}
    carry(pool, "far-1", 1)
    carry(pool, "far-2", 1)
    assert chosen(pool, 0.0) == {"near"}


def test_callers_without_an_actor_on_their_node_choose_among_all() -> None:
    """Where nothing is near, nothing is preferred."""
    pool = Router(random.Random(3), node="here")
    pool.update({"a": "there", "b": "elsewhere"})
    assert chosen(pool, 0.0) == {"a", "b"}


def test_equal_keys_meet_at_one_actor() -> None:
    """Callers that know nothing of each other send a key to the same actor, and keys spread."""
    actors = [f"p{number}" for number in range(6)]
    one, other = router(*actors, seed=1), router(*reversed(actors), seed=2)
    keys = [bytes([number]) * 32 for number in range(60)]
    places = [one.choose(0.0, key=key) for key in keys]
    assert places == [other.choose(0.0, key=key) for key in keys]
    assert set(places) == set(actors)


def test_a_key_moves_only_where_its_actor_left() -> None:
    """Who leaves takes no other actor's keys along."""
    actors = [f"p{number}" for number in range(6)]
    pool = router(*actors)
    keys = [bytes([number]) * 32 for number in range(60)]
    before = [pool.choose(0.0, key=key) for key in keys]
    pool.update(dict.fromkeys(actors[1:], ""))
    after = [pool.choose(0.0, key=key) for key in keys]
    assert all(now == then for now, then in zip(after, before, strict=True) if then != "p0")


def test_a_crowded_actor_sheds_its_keys() -> None:
    """A key overflows to the next of its own order, the same at every caller."""
    pool, other = router("a", "b", "c"), router("a", "b", "c", seed=9)
    key = b"k" * 32
    first = pool.choose(0.0, key=key)
    assert first is not None
    for one in (pool, other):
        carry(one, first, 9)
    second = pool.choose(0.0, key=key)
    assert second not in (None, first)
    assert other.choose(0.0, key=key) == second


def test_a_caller_may_only_start_at_an_actor_of_the_pool() -> None:
    """A name that the router never gave is a mistake of the caller."""
    with pytest.raises(KeyError):
        router("a").started("b", 0.0)
