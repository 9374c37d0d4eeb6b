"""Power of two choices among a pool's actors."""

from __future__ import annotations

import random

from llmgine.actors.pools import Router


def router(*actors: str) -> Router:
    made = Router(random.Random(7))
    made.update(actors)
    return made


def test_the_idle_actor_of_a_pair_is_chosen() -> None:
    """Of two actors the one with fewer calls in flight takes the next."""
    pair = router("a", "b")
    pair.started("a")
    assert {pair.choose(0.0) for _ in range(20)} == {"b"}


def test_load_spreads_evenly() -> None:
    """No actor of a pool carries more than a few calls beyond its share."""
    actors = [f"p{number}" for number in range(8)]
    pool, counts = router(*actors), dict.fromkeys(actors, 0)
    for _ in range(800):
        chosen = pool.choose(0.0)
        assert chosen is not None
        pool.started(chosen)
        counts[chosen] += 1
    assert max(counts.values()) - min(counts.values()) <= 6


def test_a_slow_actor_gets_less() -> None:
    """Recent times to the first chunk weigh as much as calls in flight."""
    pair = router("fast", "slow")
    for _ in range(10):
        pair.first_chunk("fast", 0.1)
        pair.first_chunk("slow", 1.0)
    pair.started("fast")
    assert pair.choose(0.0) == "fast"


def test_others_calls_count_once_they_are_told() -> None:
    """What an actor says that it carries corrects the caller's own count."""
    pair = router("a", "b")
    pair.accepted("a", 5)
    assert {pair.choose(0.0) for _ in range(20)} == {"b"}


def test_a_refusing_actor_is_passed_over_for_a_while() -> None:
    """An actor that refused is chosen again after its pause, or when no other is left."""
    pair = router("a", "b")
    pair.refused("a", 9, until=1.0)
    assert {pair.choose(0.5) for _ in range(20)} == {"b"}
    assert pair.choose(0.5, frozenset({"b"})) == "a"
    pair.accepted("a", 0)
    assert {pair.choose(1.0) for _ in range(40)} == {"a", "b"}


def test_an_empty_pool_has_no_choice() -> None:
    """Nothing is chosen where every actor is excluded."""
    assert router().choose(0.0) is None
    assert router("a").choose(0.0, frozenset({"a"})) is None


def test_what_is_known_of_an_actor_survives_an_update() -> None:
    """A change of the table forgets those that left and keeps the counts of those that stay."""
    pool = router("a", "b")
    pool.started("a")
    pool.update(["a", "c"])
    assert {pool.choose(0.0) for _ in range(20)} == {"c"}
