"""One provider actor in this process, calls to it by the wire, and a provider that waits for the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from llmgine.actors.control import Boot, Ground, LocalWorld, SpawnOptions
from llmgine.actors.link import Identity, Stream
from llmgine.actors.pools import wire
from llmgine.actors.pools.actor import ProviderActor
from llmgine.actors.pools.pieces import RequestWriter
from llmgine.providers import (
    Done,
    EmbeddingRequest,
    EmbeddingResponse,
    ErrorKind,
    Failed,
    LLMRequest,
    Message,
    ProviderError,
    StreamEvent,
    TextDelta,
)
from llmgine.providers.contracts import FinishReason, LLMResponse
from llmgine.providers.events import from_wire
from llmgine.providers.options import ProvidersOptions
from llmgine.providers.registry import open_endpoint

NAME, HOUSE = "provider-scripted-0", "provider-house-0"


class Provider:
    """Says one word, and ends when `go_on` has a leave for it; notes in which order calls came.

    With `bears`, it turns away what comes beyond so many at once.
    """

    name = "scripted"

    def __init__(self) -> None:
        self.go_on = asyncio.Semaphore(0)
        self.asked: list[LLMRequest] = []
        self.inside = 0
        self.most = 0
        self.bears = 1_000_000

    @property
    def order(self) -> list[str]:
        """What the calls said, in the order in which they came."""
        return [request.messages[-1].text for request in self.asked]

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        if self.inside >= self.bears:
            yield Failed(ProviderError("too many", kind=ErrorKind.RATE_LIMIT))
            return
        self.asked.append(request)
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            yield TextDelta(0, "well")
            await self.go_on.acquire()
            yield Done(
                LLMResponse(
                    message=Message.assistant("well"),
                    finish_reason=FinishReason.STOP,
                    model="echo",
                    provider=self.name,
                )
            )
        finally:
            self.inside -= 1

    async def embed(self, request: EmbeddingRequest, *, session: str = "") -> EmbeddingResponse:
        return EmbeddingResponse(vectors=((1.0,),), model="echo", provider=self.name)

    async def aclose(self) -> None:
        pass


class Stage:
    """The actor and its caller."""

    def __init__(self) -> None:
        self.provider = Provider()
        world = LocalWorld()
        self._world, self.cluster = world, world.cluster()
        self._ground = Ground(
            "r", Identity("caller", "session", 1), self.cluster, world.transport(self.cluster, tcp=False)
        )

    def open_endpoint(self, name: str, options: ProvidersOptions, *more: Any) -> Any:
        if name == "scripted":
            return self.provider
        return open_endpoint(name, options, *more)

    async def spawn(self, **pool: Any) -> None:
        await self._spawn(NAME, {}, pool)

    async def spawn_house(self, url: str, **pool: Any) -> None:
        """An actor whose provider is a server at that URL."""
        keys = [{"name": "any", "limits": {"learn": "off"}}]  # there is nobody to share limits out
        house = {"kind": "openai-compatible", "base_url": url, "keys": keys}
        await self._spawn(HOUSE, {"endpoints": {"house": house}}, pool)

    async def _spawn(self, name: str, providers: dict[str, Any], pool: dict[str, Any]) -> None:
        settings: dict[str, Any] = {
            "control": {},
            "telemetry": {"enabled": False},
            "providers": providers,
            "pools": {"default": pool},
        }
        boot = Boot("r", name, "provider", self._world, settings)
        await self.cluster.spawn(boot, ProviderActor, SpawnOptions())

    async def call(
        self,
        says: str = "hi",
        *,
        session: str = "s",
        ask: wire.Ask = wire.Ask(),  # noqa: B008 - frozen
        model: str = "scripted/echo",
        **fields: Any,
    ) -> Call:
        """A call that has its verdict."""
        request = LLMRequest(model=model, messages=(Message.user(says),), **fields)
        header = [RequestWriter().write(request), session, None, ask.to_wire()]
        actor = HOUSE if model.startswith("house/") else NAME
        connection = await self._ground.peer(actor).connection()
        stream = connection.open(wire.LLM_STREAM, header)
        return Call(stream, await stream.receive())

    async def embed(self, *, ask: wire.Ask = wire.Ask()) -> Call:  # noqa: B008 - frozen
        """An embedding call that has its verdict."""
        request = EmbeddingRequest(model="scripted/echo", inputs=("a",))
        connection = await self._ground.peer(NAME).connection()
        header = [request.model_dump_json().encode(), "s", None, ask.to_wire()]
        stream = connection.open(wire.LLM_EMBED, header)
        return Call(stream, await stream.receive())

    def section(self, name: str, actor: str = NAME) -> dict[str, Any]:
        """One section of the actor's statistics."""
        there: Any = self.cluster._actors[actor]
        section: dict[str, Any] = there.statistics()[name]
        return section

    @property
    def load(self) -> int:
        """Calls that run or wait in the actor."""
        actor: Any = self.cluster._actors[NAME]
        load: int = actor._serving._door.load
        return load

    def hang_up(self) -> None:
        """The caller is gone, with all its calls."""
        self._ground.close()

    async def close(self) -> None:
        for name in await self.cluster.names():
            await self.cluster.kill(name)
        self._ground.close()


class Call:
    """One call's stream after its verdict."""

    def __init__(self, stream: Stream, verdict: list[Any]) -> None:
        self.stream = stream
        self.verdict = verdict

    def give_up(self) -> None:
        self.stream.reset("cancelled", "the test gave it up")

    async def last(self) -> StreamEvent:
        """Its last event."""
        async with asyncio.timeout(5):
            events = [from_wire(message) async for message in self.stream]
        return events[-1]

    async def error(self) -> ProviderError:
        """Why it failed."""
        last = await self.last()
        assert isinstance(last, Failed)
        return last.error
