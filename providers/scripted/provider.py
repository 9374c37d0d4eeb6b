"""The scripted double: a provider that answers from a script, for tests, demos and drills.

It is stateless but for faults that fail a number of `times`: which reply answers follows from the
number of assistant messages in the request, so the same request always gets the same answer.
Built in are `scripted/echo` (the last user message, a word at a time), `scripted/slow` (the same,
20 words a second), `scripted/tool` (calls the tool offered with arguments made from its schema, then
answers with its result) and `scripted/inline` (`provider_options["scripted"]["script"]`). Usage is counted in
words and marked as reported; the cost is zero unless the script says another. It takes every setting that a
model may have, and heeds those of tools, output and reasoning. Its embeddings are made from a hash.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from decimal import Decimal

from pydantic import ValidationError

from llmgine.providers.catalogue.scripts import BUILT_IN, INLINE, Fault, Script
from llmgine.providers.codecs.codec import Target
from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.contracts import (
    EmbeddingRequest,
    EmbeddingResponse,
    LLMRequest,
    Usage,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, InvalidRequest, ProviderError
from llmgine.providers.events import Failed, PartDone, StreamEvent
from llmgine.providers.mistakes import mistakes
from llmgine.providers.options import EndpointOptions, ProvidersOptions
from llmgine.providers.scripted.batches import ScriptedBatch, ScriptedBatches
from llmgine.providers.scripted.replying import turn_of
from llmgine.providers.scripted.take import Take
from llmgine.providers.scripted.vectors import vector

Sleep = Callable[[float], Awaitable[None]]


class ScriptedProvider:
    """Plays the scripts of `options`; `sleep` is how its delays pass."""

    def __init__(self, name: str, options: ProvidersOptions, *, sleep: Sleep = asyncio.sleep) -> None:
        self.name = name
        self._endpoint = options.endpoints.get(name, EndpointOptions(kind="scripted"))
        self._scripts = {**BUILT_IN, **options.scripts}
        self._sleep = sleep
        self._failures: Counter[tuple[str, int]] = Counter()
        self._batches: dict[str, ScriptedBatch] = {}

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        """The reply's events; the last is exactly one `Done` or `Failed`."""
        model = request.model.removeprefix(f"{self.name}/")
        try:
            Encoding(request, Target(self.name, model), "scripted").check()
            script = self._script(model, request)
            index = _index(script, request, model)
            take = Take(self.name, model, request, script.replies[index])
        except (ProviderError, InvalidRequest) as error:
            refused = error if isinstance(error, ProviderError) else _refused(str(error))
            refused.provider, refused.model = self.name, model
            yield Failed(refused)
            return
        fault = self._due(script.replies[index].fault, (model, index))
        async for event in self._play(take, fault):
            yield event

    async def embed(self, request: EmbeddingRequest, *, session: str = "") -> EmbeddingResponse:
        """A vector for each input, of eight numbers unless the request says how many."""
        words = sum(len(text.split()) for text in request.inputs)
        return EmbeddingResponse(
            vectors=tuple(vector(text, request.dimensions) for text in request.inputs),
            usage=Usage(input_tokens=words, source=UsageSource.REPORTED, raw={"unit": "words"}),
            cost=Decimal(0),
            model=request.model.removeprefix(f"{self.name}/"),
            provider=self.name,
        )

    def batches(self, model: str) -> ScriptedBatches:
        """Batches that this process alone knows of."""
        model = model.removeprefix(f"{self.name}/")
        return ScriptedBatches(self.name, model, self._batches, self.stream)

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _script(self, model: str, request: LLMRequest) -> Script:
        if model == INLINE:
            try:
                return Script.model_validate(request.provider_options.get(self.name, {}).get("script"))
            except ValidationError as error:
                said = f'{self.name}/inline plays provider_options["{self.name}"]["script"]'
                raise _refused(f"{said}; {mistakes(error, most=1, below='script')}") from None
        if model not in self._scripts:
            raise _refused(
                f"no script {model!r}; there are: {', '.join(sorted(self._scripts))}. "
                "Scripts are added under providers.scripts",
                ErrorKind.NOT_FOUND,
            )
        return self._scripts[model]

    def _due(self, fault: Fault | None, key: tuple[str, int]) -> Fault | None:
        if fault is None or fault.times is None:
            return fault
        self._failures[key] += 1
        return fault if self._failures[key] <= fault.times else None

    async def _play(self, take: Take, fault: Fault | None) -> AsyncGenerator[StreamEvent, None]:
        limits, request = self._endpoint.timeouts, take.request
        clock = _Clock(self._sleep, request.deadline or limits.total, request.idle_timeout or limits.idle)
        chunks = 0
        for event in take.events():
            if not isinstance(event, PartDone):
                if fault is not None and chunks == fault.after_chunks:
                    break
                late = await clock.wait(take.reply.delay if chunks else take.reply.first_delay)
                if late:
                    yield take.failed(Fault(kind=ErrorKind.TIMEOUT, message=late), chunks)
                    return
                chunks += 1
            take.saw(event)
            yield event
        if fault is None:
            yield take.done()
            return
        if fault.kind == "stall":
            late = await clock.wait(clock.idle) or f"nothing came for {clock.idle:g} s"
            fault = Fault(kind=ErrorKind.TIMEOUT, message=late)
        yield take.failed(fault, chunks)


class _Clock:
    """Lets delays pass, up to the call's limits."""

    def __init__(self, sleep: Sleep, total: float, idle: float) -> None:
        self._sleep = sleep
        self._left = total
        self.idle = idle

    async def wait(self, delay: float) -> str | None:
        """Which limit passed before the delay did, if one did."""
        if delay <= 0:
            return None
        limit = min(self._left, self.idle)
        await self._sleep(min(delay, limit))
        self._left -= delay
        if delay <= limit:
            return None
        return f"nothing came for {self.idle:g} s" if self.idle == limit else "the deadline passed"


def _refused(message: str, kind: ErrorKind = ErrorKind.INVALID_REQUEST) -> ProviderError:
    scope = ErrorScope.MODEL if kind is ErrorKind.NOT_FOUND else ErrorScope.REQUEST
    return ProviderError(message, kind=kind, phase=ErrorPhase.REQUEST, scope=scope)


def _index(script: Script, request: LLMRequest, model: str) -> int:
    turn = turn_of(request)
    index = script.index(turn)
    if index is None:
        raise _refused(f"script {model!r} has {len(script.replies)} replies, and this is call {turn + 1}")
    return index
