"""What every provider's calls go through when they need it: structured output, recovery, strict tools."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast, get_args

from llmgine.providers.catalogue.profiles import ModelProfile
from llmgine.providers.codecs import schema
from llmgine.providers.contracts import (
    EmbeddingRequest,
    EmbeddingResponse,
    LLMRequest,
    Message,
    ToolCallPart,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError
from llmgine.providers.events import Done, Failed, PartDone, StreamEvent
from llmgine.providers.layers.batches import LayeredBatches
from llmgine.providers.layers.recovery import Recovery, is_sealed
from llmgine.providers.layers.structured import Means, StructuredOutput
from llmgine.providers.options import Api, EndpointOptions, ProvidersOptions
from llmgine.providers.provider import Batches, Provider

_APIS: tuple[str, ...] = get_args(Api)


class Layers:
    """What an endpoint's calls go through beside its protocol, whatever makes them.

    `profile` says what a model can do, by its name behind this endpoint.
    """

    def __init__(
        self, endpoint: EndpointOptions, options: ProvidersOptions, profile: Callable[[str], ModelProfile]
    ) -> None:
        self.endpoint = endpoint
        self.known = frozenset((*options.endpoints, *_APIS))
        self.profile = profile
        self.limit = endpoint.timeouts.total

    def over(self, inner: Provider) -> LayeredProvider:
        """`inner` within these; making it costs next to nothing."""
        return LayeredProvider(inner, self)


class LayeredProvider:
    """`inner` with everything that no protocol does by itself; a plain call is `inner`'s own."""

    __slots__ = ("_inner", "_layers", "name")

    def __init__(self, inner: Provider, layers: Layers) -> None:
        self.name = inner.name
        self._inner = inner
        self._layers = layers

    def stream(self, request: LLMRequest, *, session: str = "") -> AsyncIterator[StreamEvent]:
        """The events of one call; the last is exactly one `Done` or `Failed`."""
        if request.provider_options.keys() - self._layers.known:
            return self._refused(request)
        events = self._answered(request, session)
        strict = {tool.name: tool.parameters for tool in request.tools if tool.strict}
        return _restored(events, strict) if strict else events

    async def embed(self, request: EmbeddingRequest, *, session: str = "") -> EmbeddingResponse:
        """One vector for each input, in their order; raises `ProviderError`."""
        if request.provider_options.keys() - self._layers.known:
            raise self._unknown(request)
        return await self._inner.embed(request, session=session)

    def batches(self, model: str) -> Batches:
        """Its batches, of the model of that name; `ProviderError` of kind unsupported where it takes none."""
        return LayeredBatches(self._inner.batches(model), self._means)

    async def aclose(self) -> None:
        """Let go of everything that `inner` holds."""
        await self._inner.aclose()

    def _answered(self, request: LLMRequest, session: str) -> AsyncIterator[StreamEvent]:
        if request.output is not None:
            structured = StructuredOutput(self._recovered, self._layers.limit, means=self._means)
            return structured.stream(request, session=session)
        return self._recovered(request, session=session)

    def _recovered(self, request: LLMRequest, *, session: str = "") -> AsyncIterator[StreamEvent]:
        if request.mid_stream != "fail" or is_sealed(request):
            recovery = Recovery(self._inner, self._layers.limit, profile=self._profile_of)
            return recovery.stream(request, session=session)
        return self._inner.stream(request, session=session)

    def _profile_of(self, model: str) -> ModelProfile:
        return self._layers.profile(model.removeprefix(f"{self.name}/"))

    def _means(self, request: LLMRequest) -> Means:
        assert request.output is not None
        native, forced = True, True
        endpoint = self._layers.endpoint
        match endpoint.protocol:
            case "anthropic-messages":
                native = schema.anthropic_output(request.output.json_schema).strict
                forced = not _thinks(request)
            case "gemini" if endpoint.transport == "google-generativeai":
                native = schema.gemini_legacy(request.output.json_schema) is not None
            case "openai-chat":
                native = endpoint.quirks.json_schema
                forced = endpoint.quirks.tool_choice != "auto"
        return Means(self._profile_of(request.model), native, forced)

    async def _refused(self, request: LLMRequest) -> AsyncGenerator[StreamEvent, None]:
        yield Failed(self._unknown(request))

    def _unknown(self, request: LLMRequest | EmbeddingRequest) -> ProviderError:
        unknown = min(request.provider_options.keys() - self._layers.known)
        return ProviderError(
            f"provider_options has a key {unknown!r}, which is neither an endpoint nor a protocol; "
            f"there are: {', '.join(sorted(self._layers.known))}",
            kind=ErrorKind.INVALID_REQUEST,
            phase=ErrorPhase.REQUEST,
            scope=ErrorScope.REQUEST,
            provider=self.name,
            model=request.model.removeprefix(f"{self.name}/"),
        )


def _thinks(request: LLMRequest) -> bool:
    reasoning = request.reasoning
    if reasoning is None or reasoning.effort == "none":
        return False
    return reasoning.effort is not None or bool(reasoning.budget)


async def _restored(
    source: AsyncIterator[StreamEvent], strict: dict[str, dict[str, Any]]
) -> AsyncGenerator[StreamEvent, None]:
    """Calls of strict tools with the arguments that their schemas ask for: a strict dialect has nulls in
    place of what is left out."""

    def restored(part: Any) -> Any:
        if not isinstance(part, ToolCallPart) or part.name not in strict or part.arguments is None:
            return part
        arguments = schema.restore(part.arguments, strict[part.name])
        return part if arguments == part.arguments else part.model_copy(update={"arguments": arguments})

    async with aclosing(cast("AsyncGenerator[StreamEvent, None]", source)) as events:
        async for event in events:
            if isinstance(event, PartDone):
                event.part = restored(event.part)
            elif isinstance(event, Done) and event.response.tool_calls:
                parts = tuple(map(restored, event.response.message.parts))
                message = Message(role="assistant", parts=parts)
                event.response = event.response.model_copy(update={"message": message})
            yield event
