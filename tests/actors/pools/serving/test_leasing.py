"""Leases of one actor, with calls that wait for them and a supervisor that answers or does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from llmgine.actors.pools.quota.messages import Ask
from llmgine.actors.pools.quota.owner import QuotaOwner
from llmgine.actors.pools.quota.plan import Plan
from llmgine.actors.pools.serving import leasing
from llmgine.actors.pools.serving.call import Call
from llmgine.actors.pools.serving.leasing import Leasing
from llmgine.providers import ErrorKind, ErrorPhase, Failed, LLMRequest, Message, ProviderError
from llmgine.providers.options import ProvidersOptions

Until = Callable[..., Any]
KEYS = ["default"]


class Desk:
    """Answers asks as the supervisor does, unless it is away."""

    def __init__(self, **limits: Any) -> None:
        house = {"base_url": "http://127.0.0.1:1/v1", "limits": limits}
        options = ProvidersOptions.model_validate({"endpoints": {"house": house}})
        self.owner = QuotaOwner(Plan(options.endpoints["house"].limits_of_keys).settings)
        self.away = False
        self.asks: list[Ask] = []
        self.leasing = Leasing("provider-house-0", 1, "house", options, self._told)

    def call(self, text: str = "hi") -> Call[LLMRequest]:
        request = LLMRequest(model="house/m", messages=(Message.user(text),))
        return cast("Call[LLMRequest]", SimpleNamespace(request=request, session=""))

    async def wait(self, seconds: float, text: str = "hi") -> Any:
        until = asyncio.get_running_loop().time() + seconds
        return await self.leasing.wait(KEYS, "m", self.call(text), until)

    def _told(self, kind: str, body: list[Any]) -> None:
        self.asks.append(Ask.from_wire(body))
        if not self.away:
            grant = self.owner.ask(self.asks[-1], asyncio.get_running_loop().time())
            asyncio.get_running_loop().call_soon(self.leasing.granted, grant.to_wire())


async def test_a_call_waits_for_its_lease_and_no_longer() -> None:
    """The first call brings the lease; one beyond the limit is told which, and what sets it."""
    desk = Desk(requests_per_minute=1, learn="off")
    assert (await desk.wait(10)).key == "default"
    with pytest.raises(ProviderError) as vain:
        await desk.wait(0.01)
    await desk.leasing.aclose()
    error = vain.value
    assert (error.kind, error.phase) == (ErrorKind.RATE_LIMIT, ErrorPhase.REQUEST)
    assert "may use 1 requests a minute" in str(error)
    assert "providers.endpoints.house.limits: requests_per_minute sets it" in str(error)
    assert error.retry_after


async def test_a_supervisor_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch, until: Until) -> None:
    """Calls wait for it, and say so where that was in vain; when it is back they go on."""
    monkeypatch.setattr(leasing, "_PATIENCE", 0.01)
    desk = Desk(requests_per_minute=5, learn="off")
    desk.away = True
    patient = asyncio.create_task(desk.wait(60))
    await until(lambda: desk.leasing.statistics()["away"])
    with pytest.raises(ProviderError, match="the supervisor, who shares it out, does not answer"):
        await desk.wait(0)
    desk.away = False
    assert (await patient).key == "default"
    await desk.leasing.aclose()


async def test_a_call_that_is_given_up_leaves_its_place() -> None:
    """What it would have used goes to the next."""
    desk = Desk(concurrency=1, learn="off")
    first = await desk.wait(10)
    second, third = (asyncio.create_task(desk.wait(10)) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    desk.leasing.settle(first, None)
    assert (await third).key == "default"
    await desk.leasing.aclose()


async def test_a_call_larger_than_a_limit_does_not_wait() -> None:
    """No time would bring room for it."""
    desk = Desk(input_tokens_per_minute=10, learn="off")
    with pytest.raises(ProviderError, match=r"needs about [\d,.]+ input tokens") as large:
        await desk.wait(60, "word " * 100)
    assert not large.value.retryable
    await desk.leasing.aclose()


async def test_a_refusal_that_lasts_longer_than_a_call_may_wait_ends_it() -> None:
    """The provider's own word says when to come back."""
    desk = Desk(requests_per_minute=60, learn="off")
    refused = ProviderError("no", kind=ErrorKind.RATE_LIMIT, retry_after=50)
    desk.leasing.settle(await desk.wait(10), Failed(refused))
    with pytest.raises(ProviderError) as vain:
        await desk.wait(20)
    assert vain.value.retry_after == pytest.approx(50, abs=2)
    await desk.leasing.aclose()


async def test_nothing_is_asked_where_nothing_is_limited() -> None:
    """A key without limits that learns none costs nothing."""
    desk = Desk(learn="off")
    assert desk.leasing.take(KEYS, "m", desk.call()) is not None
    assert desk.asks == []
    desk.leasing.finish()
    assert desk.asks == []
