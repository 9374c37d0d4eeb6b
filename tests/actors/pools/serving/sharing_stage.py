"""Provider actors that keep and share answers, callers that read them at their own pace, and a store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from llmgine.actors.control import Boot, Ground, LocalWorld, SpawnOptions, names
from llmgine.actors.link import EndOfStream, Identity, Stream, StreamEmpty
from llmgine.actors.pools import wire
from llmgine.actors.pools.actor import ProviderActor
from llmgine.actors.pools.caching.hashing import RequestHash
from llmgine.actors.pools.pieces import RequestWriter
from llmgine.actors.store import StoreActor
from llmgine.providers import (
    Done,
    EmbeddingRequest,
    EmbeddingResponse,
    Failed,
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    StreamEvent,
    TextDelta,
    Usage,
)
from llmgine.providers.contracts import UsageSource
from llmgine.providers.events import from_wire
from llmgine.providers.options import ProvidersOptions
from tests.actors.conftest import settled

ACTORS = ["provider-scripted-0", "provider-scripted-1"]
REQUEST = LLMRequest(model="scripted/echo", messages=(Message.user("hi"),))
USAGE = Usage(input_tokens=3, output_tokens=2, source=UsageSource.REPORTED)


class Provider:
    """Says a word for each that is put into `words`; None ends the call as `end` says."""

    name = "scripted"

    def __init__(self) -> None:
        self.words: asyncio.Queue[str | None] = asyncio.Queue()
        self.calls: list[LLMRequest | EmbeddingRequest] = []
        self.cancelled = 0
        self.finish = FinishReason.STOP
        self.error: Failed | None = None

    def say(self, *words: str | None) -> None:
        for word in words:
            self.words.put_nowait(word)

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        self.calls.append(request)
        said, whole = "", False
        try:
            while (word := await self.words.get()) is not None:
                said += word
                yield TextDelta(0, word)
            whole = True
            yield self.error or Done(self.answer(said))
        finally:
            self.cancelled += not whole

    def answer(self, said: str) -> LLMResponse:
        return LLMResponse(
            message=Message.assistant(said),
            finish_reason=self.finish,
            usage=USAGE,
            model="echo",
            provider="scripted",
        )

    async def embed(self, request: EmbeddingRequest, *, session: str = "") -> EmbeddingResponse:
        self.calls.append(request)
        while await self.words.get() is not None:
            pass
        return EmbeddingResponse(
            vectors=tuple((float(len(text)),) for text in request.inputs),
            usage=USAGE,
            model="echo",
            provider="scripted",
        )

    async def aclose(self) -> None:
        pass


class Caller:
    """One request's stream; it reads as much as it is told to."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.events: list[StreamEvent] = []
        self.is_anothers = False  # whether the verdict says that another's call is the answer

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def response(self) -> LLMResponse:
        last = self.events[-1]
        assert isinstance(last, Done), last
        return last.response

    @property
    def failed(self) -> Failed:
        last = self.events[-1]
        assert isinstance(last, Failed), last
        return last

    async def verdict(self) -> Any:
        return await self.stream.receive()

    async def read(self, count: int) -> list[StreamEvent]:
        for _ in range(count):
            self.events.append(from_wire(await self.stream.receive()))
        return self.events

    def take(self) -> None:
        """What has arrived, if anything."""
        with contextlib.suppress(StreamEmpty, EndOfStream):
            self._heard(self.stream.receive_nowait())

    async def drained(self) -> None:
        """Everything to the end, the verdict too where it has not come."""
        async for message in self.stream:
            self._heard(message)

    def _heard(self, message: Any) -> None:
        if message[0] == wire.ACCEPTED:
            self.is_anothers = message[2:] == [True]
        else:
            self.events.append(from_wire(message))

    async def rest(self) -> Caller:
        async for message in self.stream:
            self.events.append(from_wire(message))
        return self


def written(request: LLMRequest | EmbeddingRequest) -> Any:
    """The request in its wire form."""
    if isinstance(request, LLMRequest):
        return RequestWriter().write(request)
    return request.model_dump_json().encode()


class Stage:
    """Two actors with one provider behind them."""

    def __init__(self) -> None:
        self.world = LocalWorld()
        self.cluster = self.world.cluster()
        self.provider = Provider()
        self.transport = self.world.transport(self.cluster, tcp=False)
        self.ground = Ground("r", Identity("caller", "session", 1), self.cluster, self.transport)
        self.hashes = RequestHash(ProvidersOptions())
        self.settings: dict[str, Any] = {}

    async def spawn(
        self,
        *,
        actors: Sequence[str] = ACTORS,
        store: str | None = None,
        pool: dict[str, Any] | None = None,
        **cache: Any,
    ) -> None:
        settings: dict[str, Any] = {
            "control": {},
            "telemetry": {"enabled": False},
            "providers": {},
            "bus": {"dead_letters": 10, "dead_letter_age": 10.0},
            "store": {"url": store or "memory://"},
            "pools": {"default": {"cache": {"store": store is not None} | cache, **(pool or {})}},
        }
        self.settings = settings
        for name in actors if store is None else (names.STORE, *actors):
            await self.respawn(name)

    async def respawn(self, name: str) -> None:
        """The actor begins a life."""
        kind, made = ("store", StoreActor) if name == names.STORE else ("provider", ProviderActor)
        boot = Boot("r", name, kind, self.world, self.settings)
        await self.cluster.spawn(boot, made, SpawnOptions())

    async def opened(
        self,
        request: LLMRequest | EmbeddingRequest = REQUEST,
        *,
        actor: str = ACTORS[0],
        key: bytes | None = b"",
        **ask: Any,
    ) -> Caller:
        """A call that was sent off, under its own hash unless another is given."""
        connection = await self.ground.peer(actor).connection()
        body = written(request)
        asked = wire.Ask(cache=self.hashes.of(request, body) if key == b"" else key, **ask)
        kind = wire.LLM_STREAM if isinstance(request, LLMRequest) else wire.LLM_EMBED
        return Caller(connection.open(kind, [body, "s", None, asked.to_wire()]))

    async def called(self, request: LLMRequest | EmbeddingRequest = REQUEST, **options: Any) -> Caller:
        """A call that the actor has accepted."""
        caller = await self.opened(request, **options)
        verdict = await caller.verdict()
        assert verdict[0] == wire.ACCEPTED, verdict
        caller.is_anothers = verdict[2:] == [True]
        return caller

    def statistics(self, actor: str = ACTORS[0]) -> dict[str, Any]:
        living = self.cluster._actors[actor]
        assert isinstance(living, ProviderActor)
        return living.statistics()

    def figures(self, actor: str = ACTORS[0]) -> dict[str, Any]:
        """What became of the actor's requests."""
        figures: dict[str, Any] = self.statistics(actor)["cache"]
        return figures

    async def when(self, actor: str = ACTORS[0], **figures: int) -> None:
        """Waits until the actor's figures are so."""
        await settled(lambda: figures.items() <= self.figures(actor).items())

    async def close(self) -> None:
        for name in await self.cluster.names():
            await self.cluster.kill(name)
        self.ground.close()
