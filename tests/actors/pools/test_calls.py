"""Model calls from a caller through provider actors, to providers that wait for the test."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from llmgine.actors.control import Boot, Ground, LocalWorld, SpawnOptions
from llmgine.actors.link import Identity
from llmgine.actors.pools import PoolClient
from llmgine.actors.pools.actor import ProviderActor
from llmgine.actors.pools.serving import keyed
from llmgine.providers import (
    Attempt,
    Done,
    ErrorKind,
    ErrorPhase,
    Failed,
    InvalidRequest,
    LlmgineError,
    LLMRequest,
    Message,
    MissingKey,
    ModelNotInstalled,
    ProviderError,
    StreamEvent,
    TextDelta,
    UnknownModel,
)
from llmgine.providers.contracts import FinishReason, LLMResponse, Usage
from llmgine.providers.options import ProvidersOptions

Until = Callable[..., Any]

REQUEST = LLMRequest(model="scripted/echo", messages=(Message.user("hi"),))
ACTORS = ["provider-scripted-0", "provider-scripted-1"]


class Provider:
    """Says one word, waits for `go_on`, and ends as it is told to."""

    name = "scripted"

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.end: Exception | None = None
        self.attempts: tuple[Attempt, ...] = ()
        self.calls = self.cancelled = self.closed = 0

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        self.calls += 1
        ended = False
        try:
            yield TextDelta(0, "well")
            await self.go_on.wait()
            ended = True
            if self.end is not None:
                raise self.end
            yield Done(
                LLMResponse(
                    message=Message.assistant("well"),
                    finish_reason=FinishReason.STOP,
                    usage=Usage(),
                    model="echo",
                    provider=self.name,
                    attempts=self.attempts,
                )
            )
        finally:
            self.cancelled += not ended

    async def aclose(self) -> None:
        self.closed += 1


class Stage:
    """A pool of two actors, each with a provider of its own, and a caller."""

    def __init__(self) -> None:
        self.world = LocalWorld()
        self.cluster = self.world.cluster()
        self.provider = Provider()
        self.errors: list[Exception] = []
        self.asked = 0
        self.stale: list[str] | None = None
        transport = self.world.transport(self.cluster, tcp=False)
        self.ground = Ground("r", Identity("caller", "session", 1), self.cluster, transport)
        self.models = PoolClient(self, self.ground.peer, ProvidersOptions(), chance=random.Random(1))

    def open_endpoint(
        self, name: str, options: ProvidersOptions, key: SecretStr | None, told: object
    ) -> Provider:
        if self.errors:
            raise self.errors.pop(0)
        return self.provider

    async def ensure_pool(self, provider: str) -> list[list[str]]:
        self.asked += 1
        places = [[actor, "local"] for actor in ACTORS]
        if self.stale is None:
            return places
        self.models.update({provider: places})
        return [[actor, "local"] for actor in self.stale]

    async def spawn(self, **pools: Any) -> None:
        settings: dict[str, Any] = {
            "control": {},
            "telemetry": {"enabled": False},
            "providers": {},
            "pools": {"default": pools},
        }
        for name in ACTORS:
            boot = Boot("r", name, "provider", self.world, settings)
            await self.cluster.spawn(boot, ProviderActor, SpawnOptions())

    def call(self) -> AsyncIterator[StreamEvent]:
        return self.models.stream(REQUEST, session="s")

    async def events(self) -> list[StreamEvent]:
        return [event async for event in self.call()]

    async def begun(self) -> AsyncGenerator[StreamEvent, None]:
        call: Any = self.call()
        assert (await anext(call)).text == "well"
        return call  # type: ignore[no-any-return]

    async def close(self) -> None:
        for name in await self.cluster.names():
            await self.cluster.kill(name)
        self.ground.close()


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    stage = Stage()
    monkeypatch.setattr(keyed, "open_endpoint", stage.open_endpoint)
    yield stage
    await stage.close()


def failure(events: list[StreamEvent]) -> ProviderError:
    assert isinstance(events[-1], Failed)
    return events[-1].error


async def rest(call: AsyncGenerator[StreamEvent, None]) -> list[StreamEvent]:
    return [event async for event in call]


async def test_a_call_ends_with_one_last_event(stage: Stage) -> None:
    """The events come as the provider said them; the reply says which actor gave it."""
    await stage.spawn()
    stage.provider.go_on.set()
    delta, done = await stage.events()
    assert delta == TextDelta(0, "well")
    assert isinstance(done, Done)
    (attempt,) = done.response.attempts
    assert attempt.actor in ACTORS


async def test_tries_that_the_actor_made_are_told_as_its_own(stage: Stage) -> None:
    """A call that was tried again within the actor counts each try once, with the actor that made it."""
    await stage.spawn()
    stage.provider.go_on.set()
    outcomes = ("overloaded", "done")
    stage.provider.attempts = tuple(Attempt(model="echo", outcome=one, seconds=1) for one in outcomes)
    done = (await stage.events())[-1]
    assert isinstance(done, Done)
    assert tuple(one.outcome for one in done.response.attempts) == outcomes
    assert {one.actor for one in done.response.attempts} <= set(ACTORS)


async def test_giving_up_reaches_the_provider(stage: Stage, until: Until) -> None:
    """Closing a call cancels it at its provider, and the actor carries one call less."""
    await stage.spawn()
    call = await stage.begun()
    await call.aclose()
    await until(lambda: stage.provider.cancelled == 1)
    stage.provider.go_on.set()
    assert len(await stage.events()) == 2


async def test_a_full_actor_leaves_the_call_to_another(stage: Stage) -> None:
    """A refusal costs nothing but another choice; when all are full the error says how to scale."""
    await stage.spawn(max_in_flight=1, admission={"waiting": 0})
    calls = [await stage.begun(), await stage.begun()]
    with pytest.raises(ProviderError, match=r"scale\(n\)") as refused:
        await stage.events()
    assert refused.value.kind is ErrorKind.OVERLOADED
    assert refused.value.retryable
    assert all(name in str(refused.value) for name in ACTORS)
    for call in calls:
        await call.aclose()


async def test_an_actor_lost_in_mid_stream(stage: Stage, until: Until) -> None:
    """The call fails with how far it had come; it may be tried again, and the next takes another actor."""
    await stage.spawn()
    call = await stage.begun()
    carrying = next(name for name in ACTORS if _in_flight(stage, name))
    await stage.cluster.kill(carrying)
    error = failure(await rest(call))
    assert (error.kind, error.phase, error.retryable) == (ErrorKind.CONNECTION, ErrorPhase.MID_STREAM, True)
    assert carrying in str(error)
    stage.provider.go_on.set()
    assert len(await stage.events()) == 2


async def test_a_mistake_in_a_provider_is_named_as_one(stage: Stage) -> None:
    """An exception that a provider should not raise fails the call as our mistake, with its text."""
    await stage.spawn()
    stage.provider.end = KeyError("usage")
    stage.provider.go_on.set()
    error = failure(await stage.events())
    assert error.kind is ErrorKind.INTERNAL
    assert "usage" in str(error)


async def test_what_cannot_be_read_ends_the_call(stage: Stage) -> None:
    """An answer nested so deep that no JSON parser takes it back fails its call, and nothing else."""
    await stage.spawn()
    deep: dict[str, Any] = {}
    for _ in range(220):
        deep = {"n": deep}

    async def too_deep(request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        yield Done(
            LLMResponse(
                message=Message.assistant("deep-secret"),
                finish_reason=FinishReason.STOP,
                output=deep,
                model="echo",
                provider="scripted",
            )
        )

    stage.provider.stream = too_deep  # type: ignore[method-assign]
    error = failure(await stage.events())
    assert (error.kind, error.retryable) == (ErrorKind.MALFORMED, True)
    assert "recursion limit" in str(error)
    assert "deep-secret" not in str(error)


async def test_a_failed_call_tells_its_try(stage: Stage) -> None:
    """The last event of a call that failed says which actor tried it, and what came of it."""
    await stage.spawn()

    async def refused(request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        yield Failed(ProviderError("no", kind=ErrorKind.CONTENT_FILTER))

    stage.provider.stream = refused  # type: ignore[method-assign]
    (last,) = await stage.events()
    assert isinstance(last, Failed)
    assert [(one.actor in ACTORS, one.outcome) for one in last.attempts] == [(True, "content_filter")]


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("no such field"),
        MissingKey("set OPENAI_API_KEY"),
        ModelNotInstalled("llmgine models install smollm2"),
        UnknownModel("known are"),
        ProviderError("wrong key", kind=ErrorKind.AUTHENTICATION),
    ],
)
async def test_why_a_provider_does_not_open_crosses(stage: Stage, error: LlmgineError) -> None:
    """An error of a known class reaches the caller as itself, and mending it needs no restart."""
    await stage.spawn()
    stage.errors = [error]
    with pytest.raises(type(error)) as raised:
        await stage.events()
    assert str(raised.value) == str(error)
    stage.provider.go_on.set()
    assert len(await stage.events()) == 2


async def test_a_provider_opens_once(stage: Stage) -> None:
    """Calls that come while the provider opens share it, and it is closed with its actor."""
    await stage.spawn()
    stage.models.update({"scripted": [[ACTORS[0], "local"]]})
    stage.provider.go_on.set()
    await asyncio.gather(*(stage.events() for _ in range(5)))
    await stage.cluster.call(ACTORS[0], "stop", 1.0)
    assert (stage.provider.calls, stage.provider.closed) == (5, 1)


async def test_draining_cuts_no_stream(stage: Stage, until: Until) -> None:
    """An actor that stops refuses new calls and lets the running one end."""
    await stage.spawn()
    stage.models.update({"scripted": [[ACTORS[0], "local"]]})
    await stage.cluster.kill(ACTORS[1])
    call = await stage.begun()
    stopping = asyncio.create_task(stage.cluster.call(ACTORS[0], "stop", 5.0))
    await until(lambda: stage.cluster._actors[ACTORS[0]].stopped)
    with pytest.raises(ProviderError):
        await stage.events()
    assert not stopping.done()
    stage.provider.go_on.set()
    assert isinstance((await rest(call))[-1], Done)
    await stopping


async def test_a_draining_pool_is_asked_for_anew(stage: Stage) -> None:
    """A call that finds only actors that stop goes to those that have come in their place."""
    await stage.spawn()
    stage.models.update({"scripted": [[ACTORS[0], "local"]]})
    stage.provider.go_on.set()
    await stage.cluster.call(ACTORS[0], "stop", 1.0)
    done = (await stage.events())[-1]
    assert isinstance(done, Done)
    assert done.response.attempts[-1].actor == ACTORS[1]


async def test_what_waits_in_an_actor_that_goes_is_made_at_another(stage: Stage, until: Until) -> None:
    """The running call ends where it is, those that wait are taken elsewhere, and none fails."""
    await stage.spawn(max_in_flight=1)
    stage.models.update({"scripted": [[ACTORS[0], "local"]]})
    running = await stage.begun()
    waiting = [asyncio.create_task(stage.events()) for _ in range(3)]
    await until(lambda: _in_flight(stage, ACTORS[0]) == 4)
    stage.models.update({"scripted": [[ACTORS[1], "local"]]})
    stopping = asyncio.create_task(stage.cluster.call(ACTORS[0], "stop", 5.0))
    await until(lambda: _in_flight(stage, ACTORS[1]) == 3)
    stage.provider.go_on.set()
    assert isinstance((await rest(running))[-1], Done)
    for call in waiting:
        last = (await call)[-1]
        assert isinstance(last, Done)
        tries = [(one.actor, one.outcome) for one in last.response.attempts]
        assert tries == [(ACTORS[0], "refused"), (ACTORS[1], "done")]
    await stopping


async def test_no_call_waits_while_another_actor_has_a_place(stage: Stage, until: Until) -> None:
    """Not even one whose session is at home at the actor that is full; once all are full it waits."""
    await stage.spawn(max_in_flight=1)
    calls = [await stage.begun(), await stage.begun()]
    assert {_in_flight(stage, name) for name in ACTORS} == {1}
    waiting = asyncio.create_task(stage.events())
    await until(lambda: sum(_in_flight(stage, name) for name in ACTORS) == 3)
    stage.provider.go_on.set()
    for call in calls:
        await rest(call)
    assert isinstance((await waiting)[-1], Done)


async def test_a_deadline_that_passes_in_a_queue_says_nothing_of_the_model(stage: Stage) -> None:
    """However many calls wait in vain, the model's breaker stays closed: it was never asked."""
    await stage.spawn(max_in_flight=1)
    running = [await stage.begun(), await stage.begun()]
    hurried = REQUEST.model_copy(update={"deadline": 0.5})

    async def waits() -> StreamEvent:
        return [event async for event in stage.models.stream(hurried)][-1]

    for last in await asyncio.gather(*(waits() for _ in range(30))):
        assert isinstance(last, Failed)
        assert (last.error.kind, last.error.phase) == (ErrorKind.TIMEOUT, ErrorPhase.REQUEST)
    stage.provider.go_on.set()
    for call in running:
        await rest(call)
    assert isinstance((await stage.events())[-1], Done)


async def test_an_old_answer_does_not_replace_a_newer_table(stage: Stage) -> None:
    """What was pushed while the pool was asked for is what holds."""
    await stage.spawn()
    stage.stale = ["provider-scripted-9"]
    stage.provider.go_on.set()
    assert len(await stage.events()) == 2
    assert stage.asked == 1


async def test_an_unknown_model_is_refused_before_anything_starts(stage: Stage) -> None:
    """No pool is asked for a model that nobody knows."""
    with pytest.raises(UnknownModel):
        await anext(stage.models.stream(REQUEST.model_copy(update={"model": "nobody/knows"})))
    assert stage.asked == 0


def _in_flight(stage: Stage, name: str) -> int:
    found = stage.cluster._actors[name]
    assert isinstance(found, ProviderActor)
    return found._serving._door.load
