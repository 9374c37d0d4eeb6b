"""What calls may cost each other: the retry budget, breakers of models, deadlines, waits."""

from __future__ import annotations

import asyncio

import pytest

from llmgine.providers import ErrorKind, ErrorPhase, ProviderError
from tests.actors.pools.client.stage import Stage, answer, failed, outcomes
from tests.providers.faults.server import FaultServer

_NONE = {"enabled": False}


async def test_retries_stay_within_their_budget(server: FaultServer) -> None:
    """When all calls of a process fail, no more of them are made again than the budget has, and the
    errors of those that were not say so."""
    stage = Stage(server.base_url, failover={"budget": {"ratio": 0.0, "minimum": 5}, "breaker": _NONE})
    ends = [
        failed(events)
        for events in await asyncio.gather(*(stage.events("one/status.500") for _ in range(20)))
    ]
    assert len(server.calls) == 20 + 5
    assert sum("pools.failover.budget" in str(end.error) for end in ends) == 15
    await stage.close()


async def test_the_budget_grows_with_calls(server: FaultServer) -> None:
    """Calls that go well earn what the ones that do not are tried again with."""
    stage = Stage(server.base_url, failover={"budget": {"ratio": 0.5, "minimum": 0}})
    for _ in range(4):
        answer(await stage.events("one/ok"))
    # They have earned two tries, and each of the following earns half of one.
    tries = [len(failed(await stage.events("one/status.500")).attempts) for _ in range(5)]
    assert tries == [2, 2, 2, 2, 1]
    await stage.close()


async def test_a_model_that_fails_is_left_alone(server: FaultServer) -> None:
    """Once most calls have failed nothing is sent any more: alone a call fails at once, in a chain the next
    model takes over."""
    breaker = {"calls": 10, "minimum_calls": 4, "open_for": 60.0}
    stage = Stage(server.base_url, failover={"tries": 1, "breaker": breaker})
    for _ in range(4):
        failed(await stage.events("one/status.500"))
    with pytest.raises(ProviderError, match="left alone") as raised:
        await stage.events("one/status.500")
    assert (raised.value.kind, raised.value.phase) == (ErrorKind.OVERLOADED, ErrorPhase.REQUEST)
    assert raised.value.retry_after is not None
    assert 50 < raised.value.retry_after <= 60
    response = answer(await stage.events(["one/status.500", "two/ok"]))
    assert outcomes(response) == [("two/ok", "done")]
    answer(await stage.events("one/ok"))
    assert [call.model for call in server.calls] == ["status.500"] * 4 + ["ok", "ok"]
    await stage.close()


async def test_a_limit_speaks_against_a_key_not_a_model(server: FaultServer) -> None:
    """However often a key is at its limit, its model is not left alone."""
    stage = Stage(server.base_url, failover={"breaker": {"calls": 4, "minimum_calls": 2}})
    for _ in range(6):
        last = failed(await stage.events("one/status.429", deadline=0.1))
        assert last.error.kind is ErrorKind.RATE_LIMIT
    await stage.close()


async def test_all_tries_share_one_deadline(server: FaultServer) -> None:
    """Each try gets what is left of the call's time, and none follows when it is over."""
    stage = Stage(server.base_url, failover={"tries": 5})
    loop = asyncio.get_running_loop()
    answer(await stage.events("one/ok"))
    began = loop.time()
    last = failed(await stage.events(["one/slow", "two/slow"], deadline=0.3))
    assert loop.time() - began < 3
    assert (last.error.kind, len(last.attempts)) == (ErrorKind.TIMEOUT, 1)
    await stage.close()
