"""Which of several keys a call takes, after what the others came to."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.pools.keys import Blocked, KeyBreakerPolicy, KeyRing, KeysOptions, Take
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError

OPTIONS = KeysOptions(
    breaker=KeyBreakerPolicy(kind="window", failures=2, open_for=10.0, jitter=0.0, permits=1, successes=1),
    pause=1.0,
    longest_pause=4.0,
    aside=100.0,
)


def ring(*names: str) -> KeyRing:
    ring = KeyRing(names, OPTIONS, lambda: 0.5)
    for name in names:
        ring.renewed(name)
    return ring


def error(kind: ErrorKind, **fields: Any) -> ProviderError:
    return ProviderError("no", kind=kind, scope=ErrorScope.KEY, **fields)


def fail(ring: KeyRing, key: str, kind: ErrorKind, now: float = 0.0, model: str = "m", **fields: Any) -> None:
    ring.failed(ring.take(key, model), error(kind, **fields), now)


def test_a_key_is_there_once_it_was_found() -> None:
    """Before its first text and after its last one a key takes no call, and the ring says so."""
    keys = KeyRing(("a",), OPTIONS, lambda: 0.5)
    assert keys.order("m", 0.0) == []
    assert keys.blocked("m", 0.0) == Blocked("absent")
    assert not keys.any_present
    keys.renewed("a")
    assert keys.order("m", 0.0) == ["a"]
    keys.absent("a")
    assert keys.blocked("m", 0.0) == Blocked("absent")


def test_a_limited_key_rests_for_that_model_alone() -> None:
    """After a rate limit the others take over; other models go on with the key."""
    keys = ring("a", "b")
    fail(keys, "a", ErrorKind.RATE_LIMIT, retry_after=7.0)
    assert keys.order("m", 1.0) == ["b"]
    assert sorted(keys.order("other", 1.0)) == ["a", "b"]
    assert sorted(keys.order("m", 7.0)) == ["a", "b"]


def test_a_smaller_hint_never_shortens_a_rest() -> None:
    """Of two hints the later time holds, whichever came last."""
    keys = ring("a")
    first, second = keys.take("a", "m"), keys.take("a", "m")
    keys.failed(first, error(ErrorKind.RATE_LIMIT, retry_after=60.0), 0.0)
    keys.failed(second, error(ErrorKind.RATE_LIMIT, retry_after=1.0), 5.0)
    assert keys.blocked("m", 6.0) == Blocked("resting", 60.0)
    assert keys.order("m", 60.0) == ["a"]


def test_without_a_hint_others_go_first_for_longer_each_time() -> None:
    """Each further time in a row doubles it, up to the longest; a burst counts once, a success ends it.

    An only key goes on: how many calls it bears is not for the ring to say.
    """
    keys = ring("a", "b")
    now = 0.0
    for seconds in (1.0, 2.0, 4.0, 4.0):
        for take in [keys.take("a", "m") for _ in range(3)]:
            keys.failed(take, error(ErrorKind.RATE_LIMIT), now)
        assert keys.order("m", now + seconds - 0.1) == ["b"]
        now += seconds
        assert len(keys.order("m", now)) == 2
    keys.succeeded(keys.take("a", "m"), now)
    fail(keys, "a", ErrorKind.RATE_LIMIT, now)
    assert len(keys.order("m", now + 1.0)) == 2
    fail(keys, "b", ErrorKind.RATE_LIMIT, now)
    assert len(keys.order("m", now)) == 2


def test_a_refused_key_is_out_until_its_text_changes() -> None:
    """No time brings it back; a late failure of the old text says nothing of the new one."""
    keys = ring("a", "b")
    late = keys.take("a", "m")
    fail(keys, "a", ErrorKind.AUTHENTICATION)
    assert keys.order("m", 1e9) == ["b"]
    assert keys.order("other", 1e9) == ["b"]
    keys.renewed("a")
    keys.failed(late, error(ErrorKind.AUTHENTICATION), 1e9)
    assert sorted(keys.order("m", 1e9)) == ["a", "b"]
    fail(keys, "a", ErrorKind.AUTHENTICATION)
    fail(keys, "b", ErrorKind.AUTHENTICATION)
    assert keys.blocked("m", 1e9) == Blocked("refused")


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (ErrorKind.PERMISSION, {}),
        (ErrorKind.NOT_FOUND, {}),
        (ErrorKind.RATE_LIMIT, {"retryable": False}),
    ],
)
def test_a_key_that_may_not_comes_last_for_that_model(kind: ErrorKind, fields: dict[str, Any]) -> None:
    """Other keys go before it for a while; where all may not, one is tried all the same, and one only."""
    keys = ring("a", "b")
    fail(keys, "a", kind, **fields)
    assert keys.order("m", 1.0) == ["b"]
    assert sorted(keys.order("other", 1.0)) == ["a", "b"]
    assert keys.order("m", 1.0, excluded=frozenset("b")) == []
    assert keys.blocked("m", 1.0, frozenset("b")) == Blocked("excluded")
    fail(keys, "b", kind, **fields)
    assert sorted(keys.order("m", 1.0)) == ["a", "b"]
    assert keys.order("m", 1.0, excluded=frozenset("a")) == []
    assert sorted(keys.order("m", 100.0)) == ["a", "b"]
    keys.renewed("b")
    assert keys.order("m", 1.0) == ["b"]


def test_an_allowed_key_that_rests_is_waited_for() -> None:
    """A key that may not use the model is no reason to pass over one that may, and only rests."""
    keys = ring("a", "b")
    fail(keys, "a", ErrorKind.PERMISSION)
    fail(keys, "b", ErrorKind.RATE_LIMIT, retry_after=5.0)
    assert keys.order("m", 1.0) == []
    assert keys.blocked("m", 1.0).why == "resting"


def test_an_overloaded_model_rests_with_all_keys() -> None:
    """Another key does not help where the provider asks all to wait; without a time none waits."""
    keys = ring("a", "b")
    fail(keys, "a", ErrorKind.OVERLOADED)
    assert len(keys.order("m", 0.0)) == 2
    fail(keys, "a", ErrorKind.OVERLOADED, retry_after=3.0)
    fail(keys, "b", ErrorKind.OVERLOADED, retry_after=1.0)
    assert keys.order("m", 2.9) == []
    assert keys.blocked("m", 2.9) == Blocked("resting", 3.0)
    assert len(keys.order("other", 0.0)) == 2
    assert len(keys.order("m", 3.0)) == 2


def test_failures_of_the_server_open_the_breaker_of_key_and_model() -> None:
    """Another model and another key go on; after its time the success of one call closes it."""
    keys = ring("a", "b")
    for _ in range(2):
        fail(keys, "a", ErrorKind.SERVER)
    assert keys.order("m", 1.0) == ["b"]
    assert len(keys.order("other", 1.0)) == 2
    trial = keys.take("a", "m") if "a" in keys.order("m", 10.0) else None
    assert trial is not None
    assert keys.order("m", 10.0) == ["b"]
    keys.succeeded(trial, 10.0)
    assert len(keys.order("m", 10.0)) == 2


def test_failures_to_connect_open_the_breaker_of_the_key() -> None:
    """They hold for all its models; until it opens again the ring says from when on."""
    keys = ring("a")
    for model in ("m", "n"):
        fail(keys, "a", ErrorKind.CONNECTION, model=model, phase=ErrorPhase.CONNECT)
    assert keys.order("third", 1.0) == []
    assert keys.blocked("third", 1.0) == Blocked("broken", 10.0)


def test_a_call_that_was_given_up_gives_its_trial_back() -> None:
    """A half-open breaker waits for no result that never comes; requests that are wrong say nothing."""
    keys = ring("a")
    for _ in range(2):
        fail(keys, "a", ErrorKind.SERVER)
    for end in ("released", "wrong"):
        assert keys.order("m", 10.0) == ["a"], end
        trial = keys.take("a", "m")
        assert keys.blocked("m", 10.0).why == "broken"
        if end == "released":
            keys.released(trial)
        else:
            keys.failed(trial, error(ErrorKind.INVALID_REQUEST), 10.0)
    assert keys.order("m", 10.0) == ["a"]


def test_calls_are_spread_over_idle_keys() -> None:
    """The least busy key goes first, and equal ones take turns."""
    keys = ring("a", "b", "c")
    takes: list[Take] = [keys.take(keys.order("m", 0.0)[0], "m") for _ in range(30)]
    assert {name: one["in_flight"] for name, one in keys.statistics(0.0).items()} == dict.fromkeys("abc", 10)
    for take in takes:
        keys.released(take)
    assert {keys.order("m", 0.0)[0] for _ in range(6)} == set("abc")


def test_a_session_keeps_its_key_while_others_are_not_much_less_busy() -> None:
    """What a provider keeps of its prompts serves it again; a crowd on one key sends it elsewhere."""
    keys = ring("a", "b", "c")
    mine = keys.order("m", 0.0, session="s")[0]
    for _ in range(5):
        assert keys.order("m", 0.0, session="s")[0] == mine
        keys.take(mine, "m")
    for _ in range(20):
        keys.take(mine, "m")
    assert keys.order("m", 0.0, session="s")[0] != mine


def test_names_of_models_do_not_pile_up() -> None:
    """A thousand names of models that requests made up leave a bounded table."""
    keys = ring("a")
    for number in range(2000):
        fail(keys, "a", ErrorKind.NOT_FOUND, model=f"m{number}")
        fail(keys, "a", ErrorKind.OVERLOADED, float(number), model=f"m{number}", retry_after=1.0)
    assert len(keys.statistics(0.0)["a"]["aside"]) <= 512


def test_statistics_are_plain() -> None:
    """Each key's state, calls and rests, under its name."""
    keys = ring("a", "b")
    keys.take("a", "m")
    fail(keys, "a", ErrorKind.RATE_LIMIT, retry_after=5.0)
    fail(keys, "b", ErrorKind.AUTHENTICATION)
    figures = keys.statistics(1.0)
    assert figures["a"] == {
        "state": "ok",
        "calls": 2,
        "failed": 1,
        "in_flight": 1,
        "resting": {"m": 4.0},
        "aside": [],
        "broken": [],
    }
    assert figures["b"]["state"] == "refused"
