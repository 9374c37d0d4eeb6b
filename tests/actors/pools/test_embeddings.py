"""Embedding calls from a caller through provider actors."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from llmgine.actors.control import Boot, Ground, LocalWorld, SpawnOptions
from llmgine.actors.link import Identity
from llmgine.actors.pools import PoolClient, wire
from llmgine.actors.pools.actor import ProviderActor
from llmgine.actors.pools.failover.options import FailoverOptions
from llmgine.actors.pools.serving import keyed
from llmgine.providers import (
    EmbeddingRequest,
    EmbeddingResponse,
    ErrorKind,
    ErrorPhase,
    MissingKey,
    ProviderError,
    UnknownModel,
)
from llmgine.providers.options import ProvidersOptions

Until = Callable[..., Any]

REQUEST = EmbeddingRequest(model="scripted/echo", inputs=("a", "b"))
ACTORS = ["provider-scripted-0", "provider-scripted-1"]
ANSWER = EmbeddingResponse(vectors=((0.1, 0.5), (1.0, 2.0)), model="echo", provider="scripted")


class Provider:
    """Answers once it is let go on."""

    name = "scripted"

    def __init__(self) -> None:
        self.go_on, self.asked = asyncio.Event(), asyncio.Event()
        self.end: Exception | None = None
        self.inside = self.cancelled = 0
        self.sessions: list[str] = []

    async def embed(self, request: EmbeddingRequest, *, session: str = "") -> EmbeddingResponse:
        self.asked.set()
        self.sessions.append(session)
        self.inside += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.end is not None:
            raise self.end
        return ANSWER

    async def aclose(self) -> None:
        pass


class Stage:
    """A pool of two actors that share a provider, and a caller."""

    def __init__(self) -> None:
        self.world = LocalWorld()
        self.cluster = self.world.cluster()
        self.provider = Provider()
        transport = self.world.transport(self.cluster, tcp=False)
        self.ground = Ground("r", Identity("caller", "session", 1), self.cluster, transport)
        failover = FailoverOptions(patience=0.01)
        chance = random.Random(1)
        self.models = PoolClient(self, self.ground.peer, ProvidersOptions(), failover, chance=chance)

    async def ensure_pool(self, provider: str) -> list[list[str]]:
        return [[actor, "local"] for actor in ACTORS]

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

    async def close(self) -> None:
        for name in await self.cluster.names():
            await self.cluster.kill(name)
        self.ground.close()


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    stage = Stage()
    monkeypatch.setattr(keyed, "open_endpoint", lambda *_: stage.provider)
    yield stage
    await stage.close()


async def test_vectors_arrive(stage: Stage) -> None:
    """The numbers are those that the provider gave, and the response says which actor made the call."""
    await stage.spawn()
    stage.provider.go_on.set()
    response = await stage.models.embed(REQUEST, session="s")
    assert response.vectors == ANSWER.vectors
    (attempt,) = response.attempts
    assert (attempt.actor in ACTORS, attempt.model, attempt.outcome) == (True, "scripted/echo", "done")
    assert stage.provider.sessions == ["s"]


async def test_a_failure_arrives_with_what_mends_it(stage: Stage) -> None:
    """A provider's error is raised as itself, with the setting that mends it."""
    await stage.spawn()
    stage.provider.go_on.set()
    stage.provider.end = ProviderError("no", kind=ErrorKind.TIMEOUT, retry_after=2)
    with pytest.raises(ProviderError) as caught:
        await stage.models.embed(REQUEST)
    assert (caught.value.kind, caught.value.retry_after) == (ErrorKind.TIMEOUT, 2)
    assert "providers.endpoints.scripted.timeouts" in str(caught.value)


async def test_why_a_call_cannot_begin_is_raised(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown model, and a provider that does not open, raise their own errors."""

    def closed(name: str, options: ProvidersOptions, key: SecretStr | None, told: object) -> Provider:
        raise MissingKey("set it")

    with pytest.raises(UnknownModel):
        await stage.models.embed(REQUEST.model_copy(update={"model": "nobody/knows"}))
    monkeypatch.setattr(keyed, "open_endpoint", closed)
    await stage.spawn()
    with pytest.raises(MissingKey, match="set it"):
        await stage.models.embed(REQUEST)


async def test_giving_up_reaches_the_provider(stage: Stage, until: Until) -> None:
    """A cancelled call is cancelled at its provider, and its actor is free again."""
    await stage.spawn(max_in_flight=1, admission={"waiting": 0})
    calls = [asyncio.create_task(stage.models.embed(REQUEST)) for _ in ACTORS]
    await until(lambda: stage.provider.inside == 2)
    with pytest.raises(ProviderError) as refused:
        await stage.models.embed(REQUEST)
    assert refused.value.kind is ErrorKind.OVERLOADED
    for call in calls:
        call.cancel()
    await until(lambda: stage.provider.cancelled == 2)
    await until(lambda: not any(_in_flight(stage, name) for name in ACTORS))
    stage.provider.go_on.set()
    assert (await stage.models.embed(REQUEST)).vectors == ANSWER.vectors


async def test_an_actor_lost_on_the_way(stage: Stage) -> None:
    """Another takes the call; where none is left it fails as one that may be tried again."""
    await stage.spawn()
    call = asyncio.create_task(stage.models.embed(REQUEST))
    for others in (1, 0):
        await stage.provider.asked.wait()
        stage.provider.asked.clear()
        carrying = next(name for name in await stage.cluster.names() if _in_flight(stage, name))
        await stage.cluster.kill(carrying)
        assert len(await stage.cluster.names()) == others
    with pytest.raises(ProviderError) as lost:
        await call
    assert (lost.value.kind, lost.value.phase) == (ErrorKind.CONNECTION, ErrorPhase.PRE_TOKEN)
    assert lost.value.retryable


async def test_a_mistake_in_a_provider_is_named_as_one(stage: Stage) -> None:
    """An exception that a provider should not raise fails the call as our mistake, with its text."""
    await stage.spawn()
    stage.provider.end = KeyError("usage")
    stage.provider.go_on.set()
    with pytest.raises(ProviderError, match="usage") as failed:
        await stage.models.embed(REQUEST)
    assert failed.value.kind is ErrorKind.INTERNAL


def test_many_vectors_go_in_several_messages() -> None:
    """No message is larger than a link takes, and what is put together again is equal."""
    vectors = tuple((float(n), *[0.1] * 1023) for n in range(600))
    response = ANSWER.model_copy(update={"vectors": vectors})
    *pieces, last = wire.embedding_to_wire(response)
    assert len(pieces) > 1
    reader = wire.EmbeddingReader()
    assert [reader.read(piece) for piece in pieces] == [None] * len(pieces)
    assert reader.read(last) == response


def _in_flight(stage: Stage, name: str) -> int:
    found = stage.cluster._actors[name]
    assert isinstance(found, ProviderActor)
    return found._serving._door.load
