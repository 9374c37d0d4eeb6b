"""Behaviour 51, as far as one provider actor goes: what a refused key means for the call and for the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import llmgine.providers.layers.recovery.layer as recovery
from llmgine.actors.pools.serving.call import Call, R
from llmgine.providers import Done, ErrorKind, ErrorPhase, Failed, ProviderError, Reset
from tests.actors.pools.serving.keyserver import KEYS, Caller, KeyServer, tries
from tests.actors.pools.serving.unlimited import Unlimited

Until = Callable[..., Any]


def plan(server: KeyServer, fault: str, *keys: str, times: int = 1) -> None:
    for key in keys:
        server.faults[KEYS[key]] = [fault] * times


async def test_another_key_takes_over_from_a_limited_one(caller: Caller, server: KeyServer) -> None:
    """A call whose key is limited goes on with another at once, and tells both tries; later ones spare it."""
    plan(server, "status.429.retry-after", "a", "b")
    server.faults.pop(KEYS["b"])
    told = [await caller.told() for _ in range(4)]
    assert sorted(told)[0] == [("a", "rate_limit"), ("b", "done")]
    assert server.named().count("a") == 1
    assert server.named().count("b") == 4
    assert not caller.failed


async def test_all_limited_is_waited_out_as_asked(caller: Caller, server: KeyServer) -> None:
    """Where every key is limited the call waits as long as the provider asks, and then succeeds."""
    plan(server, "status.429.soon", "a", "b")
    began = caller.clock()
    told = await caller.told()
    assert sorted(told[:2]) == [("a", "rate_limit"), ("b", "rate_limit")]
    assert [outcome for _, outcome in told[2:]] == ["done"]
    assert caller.clock() - began >= 0.05
    assert [error.kind for error in caller.failed] == [ErrorKind.RATE_LIMIT]


class UsedUp(Unlimited):
    """Nothing may be used of the key "a", which is known at once, or after waiting in vain."""

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once

    def take(self, keys: Sequence[str], model: str, call: Call[R]) -> Any:
        left = [key for key in keys if key != "a"]
        return super().take(left, model, call) if left else None

    async def wait(self, keys: Sequence[str], model: str, call: Call[R], until: float) -> Any:
        if (taken := self.take(keys, model, call)) is not None:
            return taken
        if not self._at_once:
            await asyncio.sleep(until - asyncio.get_running_loop().time())
        raise ProviderError("it is used up", kind=ErrorKind.RATE_LIMIT, phase=ErrorPhase.REQUEST)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_key_that_rests_is_waited_for_while_another_is_used_up(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch, until: Until, at_once: bool
) -> None:
    """What may be used of one key keeps no call from another whose rest ends sooner."""
    plan(server, "status.429.soon", "b")
    for name, text in KEYS.items():
        monkeypatch.setenv(f"KEY_{name.upper()}", text)
    keys = [{"name": name, "env": f"KEY_{name.upper()}"} for name in KEYS]
    caller = Caller({"base_url": server.base_url, "keys": keys}, UsedUp(at_once=at_once))
    await caller.calls.open()
    await until(caller.opened)
    async with asyncio.timeout(5):
        assert await caller.told() == [("b", "rate_limit"), ("b", "done")]
    await caller.calls.aclose()


async def test_who_would_not_wait_is_told_when(caller: Caller, server: KeyServer) -> None:
    """A wait that is longer than the call allows is not begun; the failure says when to come back."""
    plan(server, "status.429.retry-after", "a", "b")
    error = await caller.failure(wait=5.0)
    assert (error.kind, error.status) == (ErrorKind.RATE_LIMIT, 429)
    assert error.retry_after == pytest.approx(7.0, abs=1.0)
    error = await caller.failure(wait=5.0)
    assert (error.kind, error.phase) == (ErrorKind.RATE_LIMIT, ErrorPhase.REQUEST)
    assert error.retry_after == pytest.approx(7.0, abs=1.0)
    assert len(server.calls) == 2


async def test_the_deadline_bounds_the_wait(caller: Caller, server: KeyServer) -> None:
    """A call that may wait until its deadline does not wait for what comes after it."""
    plan(server, "status.429.retry-after", "a", "b")
    end = await caller.end(deadline=3.0)
    assert isinstance(end, Failed)
    assert end.error.kind is ErrorKind.RATE_LIMIT
    assert len(tries(end)) == 2


async def test_without_a_hint_another_key_is_all(caller: Caller, server: KeyServer) -> None:
    """Where the provider names no time nobody waits here: each key is tried once, and the caller decides."""
    plan(server, "status.429", "a", "b", times=9)
    end = await caller.end()
    assert sorted(tries(end)) == [("a", "rate_limit"), ("b", "rate_limit")]


async def test_a_refused_key_is_not_tried_again(caller: Caller, server: KeyServer) -> None:
    """After a 401 another key serves; the refused one stays out however long, while it does not change."""
    plan(server, "status.401", "a", times=99)
    told = [await caller.told() for _ in range(3)]
    assert [("a", "authentication"), ("b", "done")] in told
    caller.clock.skip(3600.0)
    for _ in range(3):
        assert await caller.told() == [("b", "done")]
    assert server.named().count("a") == 1
    assert caller.calls.statistics()["a"]["state"] == "refused"


async def test_a_new_text_brings_a_refused_key_back(
    caller: Caller, server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was refused is looked for at once: a new text serves the same call, unseen by its caller."""
    plan(server, "status.401", "a", "b", times=99)
    assert (await caller.failure()).kind is ErrorKind.AUTHENTICATION
    refused = len(server.calls)
    monkeypatch.setenv("KEY_A", KEYS["a"] + "-new")
    caller.clock.skip(1.0)
    assert await caller.told() == [("a", "done")]
    assert server.keys()[refused:] == [KEYS["a"] + "-new"]


async def test_all_refused_names_the_places(caller: Caller, server: KeyServer) -> None:
    """Nothing is sent with keys that were all refused; the error says where they come from, on which node."""
    plan(server, "status.401", "a", "b", times=99)
    first = await caller.failure()
    assert first.status == 401
    caller.clock.skip(0.5)
    error = await caller.failure()
    assert (error.kind, error.phase, error.retryable) == (
        ErrorKind.AUTHENTICATION,
        ErrorPhase.REQUEST,
        False,
    )
    assert "node" in str(error)
    assert len(server.calls) == 2


async def test_a_key_that_is_refused_again_and_again_ends_the_call(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that gives another wrong key each time is not asked for ever."""
    given: list[str] = []

    async def fresh(name: str) -> str:
        given.append(f"sk-number-{len(given)}-0123456789")
        return given[-1]

    monkeypatch.setattr("tests.actors.pools.serving.vault.key", fresh)
    keys = [{"name": "only", "function": "tests.actors.pools.serving.vault:key"}]
    caller = Caller({"base_url": server.base_url, "keys": keys})
    request = {"model": "there/status.401"}
    assert (await caller.failure(**request)).kind is ErrorKind.AUTHENTICATION
    assert server.keys() == given[:2]
    await caller.calls.aclose()


@pytest.mark.parametrize("fault", ["status.403", "status.404", "status.402"])
async def test_a_key_that_may_not_lets_others_go_first(caller: Caller, server: KeyServer, fault: str) -> None:
    """No leave for a model, or no money, makes another key take over, and go first from then on."""
    plan(server, fault, "a", times=99)
    told = [await caller.told() for _ in range(5)]
    assert [one for one in told if len(one) == 2] == [
        [("a", one[0][1]), ("b", "done")] for one in told if len(one) == 2
    ]
    assert server.named().count("a") == 1


async def test_what_no_key_may_is_told_in_the_providers_words(caller: Caller, server: KeyServer) -> None:
    """Each key is tried once, then one for each call; the failure is the provider's own."""
    plan(server, "status.403", "a", "b", times=99)
    assert (await caller.failure()).status == 403
    assert len(server.calls) == 2
    assert (await caller.failure()).status == 403
    assert len(server.calls) == 3


async def test_overload_is_waited_out_with_the_same_keys(caller: Caller, server: KeyServer) -> None:
    """A provider that asks all to wait is not asked with another key meanwhile."""
    plan(server, "status.503.soon", "a", "b")
    began = caller.clock()
    told = await caller.told()
    assert [outcome for _, outcome in told] in (["overloaded", "done"], ["overloaded", "overloaded", "done"])
    assert caller.clock() - began >= 0.05


@pytest.mark.parametrize("fault", ["status.503", "status.500", "status.400", "empty", "html"])
async def test_what_no_key_mends_is_passed_on(caller: Caller, server: KeyServer, fault: str) -> None:
    """An overload without a time, a server's failure and a wrong request are for the caller to decide."""
    plan(server, fault, "a", "b", times=99)
    end = await caller.end()
    assert isinstance(end, Failed)
    assert len(tries(end)) == 1
    assert not caller.failed


async def test_a_restart_may_take_another_key(
    caller: Caller, server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first token the request's policy rules, and what it begins anew any key may serve."""
    monkeypatch.setattr(recovery, "_FIRST_WAIT", 0.0)
    ((mine, _),) = await caller.told(session="s")
    server.faults[KEYS[mine]] = ["reset", "status.401"]
    events = await caller.events(mid_stream="restart", session="s")
    assert [type(event) for event in events].count(Reset) == 1
    end = events[-1]
    assert isinstance(end, Done)
    assert end.response.text == "Hello big world"
    assert [outcome for _, outcome in tries(end)] == ["connection", "authentication", "done"]
    assert [key == mine for key, _ in tries(end)] == [True, True, False]


async def test_a_broken_stream_is_not_begun_anew_unasked(caller: Caller, server: KeyServer) -> None:
    """With the policy "fail" a stream that breaks after its first token fails with what had come."""
    plan(server, "cut", "a", "b")
    end = await caller.end()
    assert isinstance(end, Failed)
    assert (end.error.phase, len(tries(end))) == (ErrorPhase.MID_STREAM, 1)
    assert end.partial is not None


async def test_embeddings_go_the_same_way(caller: Caller, server: KeyServer) -> None:
    """A limited key, a refused one, and one wait for a limit: vectors come all the same."""
    plan(server, "status.429.soon", "a", "b")
    told = await caller.vectors()
    assert [outcome for _, outcome in told] == ["rate_limit", "rate_limit", "done"]
    plan(server, "status.401", "a", "b", times=9)
    with pytest.raises(ProviderError) as caught:
        await caller.vectors()
    assert caught.value.kind is ErrorKind.AUTHENTICATION


async def test_a_call_that_is_given_up_leaves_nothing(
    caller: Caller, server: KeyServer, until: Until
) -> None:
    """Whether it waits for a key or is answered, its key is free again and the server sees it go."""
    asking = asyncio.create_task(caller.events(model="there/slow"))
    await until(lambda: server.calls)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await server.calls[0].gone.wait()
    plan(server, "status.429.retry-after", "a", "b")
    waiting = asyncio.create_task(caller.events())
    await until(lambda: len(server.calls) == 3)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert {one["in_flight"] for one in caller.calls.statistics().values()} == {0}


async def test_a_failing_server_is_left_alone(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once its breakers are open calls fail at once, unsent, and say when to come back."""
    monkeypatch.setenv("KEY_A", KEYS["a"])
    keys = [{"name": "a", "env": "KEY_A"}]
    caller = Caller({"base_url": server.base_url, "keys": keys}, minimum_calls=3, calls=10)
    plan(server, "status.500", "a", times=3)
    for _ in range(3):
        assert (await caller.failure()).kind is ErrorKind.SERVER
    error = await caller.failure()
    assert (error.kind, error.phase) == (ErrorKind.OVERLOADED, ErrorPhase.REQUEST)
    assert error.retry_after == pytest.approx(5.0, abs=1.0)
    assert len(server.calls) == 3
    caller.clock.skip(6.0)
    assert await caller.told() == [("a", "done")]
    await caller.calls.aclose()


async def test_a_deadline_says_nothing_of_a_key(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that have too little time are no sign of a bad server."""
    monkeypatch.setenv("KEY_A", KEYS["a"])
    keys = [{"name": "a", "env": "KEY_A"}]
    caller = Caller({"base_url": server.base_url, "keys": keys}, minimum_calls=2, calls=10)
    for _ in range(3):
        assert (await caller.failure(model="there/slow", deadline=0.02)).kind is ErrorKind.TIMEOUT
    assert await caller.told() == [("a", "done")]
    await caller.calls.aclose()
