"""A provider reached over HTTP: request → codec → pooled client → frames → decoder → events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from decimal import Decimal

from llmgine.providers import clients
from llmgine.providers.codecs.codec import Codec, Target
from llmgine.providers.contracts import LLMRequest, LLMResponse
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, InvalidRequest, ProviderError
from llmgine.providers.events import Failed, StreamEvent
from llmgine.providers.exchange import Exchange, Prepared
from llmgine.providers.keys import find_key
from llmgine.providers.options import EndpointOptions, Timeouts
from llmgine.providers.profiles import UNKNOWN_MODEL, ModelProfile


class HttpProvider:
    """Calls one endpoint through one protocol."""

    def __init__(
        self,
        name: str,
        codec: Codec,
        site: clients.Site,
        timeouts: Timeouts | None = None,
        *,
        profile: Callable[[str], ModelProfile] = lambda model: UNKNOWN_MODEL,
        price: Callable[[LLMResponse], Decimal | None] = lambda response: None,
    ) -> None:
        self.name = name
        self._profile = profile
        self._price = price
        self._codec = codec
        self._site = site
        self._timeouts = timeouts or Timeouts()
        self._client: clients.Client | None = None
        self._tidying: set[asyncio.Task[None]] = set()

    @classmethod
    def open(cls, name: str, endpoint: EndpointOptions) -> HttpProvider:
        """The provider of an endpoint, with its key found and its SDK loaded."""
        site = clients.Site(
            api=endpoint.protocol,
            base_url=endpoint.base_url,
            key=find_key(name, endpoint),
            headers=tuple(endpoint.headers.items()),
            max_connections=endpoint.max_connections,
            transport=endpoint.transport,
            replay=endpoint.replay,
        )
        clients.load(site.api, site.transport)
        return cls(name, codec_for(endpoint), site, endpoint.timeouts)

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamEvent, None]:
        """The events of one call; the last is exactly one `Done` or `Failed`.

        Time limits count while this waits for the server, so a slow reader is never taken for a
        slow server; only the deadline runs on.
        """
        model = request.model.removeprefix(f"{self.name}/")
        target = Target(self.name, model, self._profile(model))
        try:
            prepared = self._prepare(request, target)
        except ProviderError as error:
            error.provider, error.model = target.provider, target.model
            yield Failed(error)
            return
        if self._client is None:
            self._client = clients.lease(self._site)
        exchange = Exchange(self._client, self._codec, prepared, scrub=self._scrub, price=self._price)
        try:
            while events := await exchange.next():
                if exchange.reusable:
                    self._tidy(exchange)
                for event in events:
                    yield event
        finally:
            await exchange.aclose()

    async def aclose(self) -> None:
        """Close the connections that nobody else uses."""
        for task in list(self._tidying):
            task.cancel()
        await asyncio.gather(*self._tidying, return_exceptions=True)
        if self._client is not None:
            self._client = None
            await clients.release(self._site)

    def _prepare(self, request: LLMRequest, target: Target) -> Prepared:
        try:
            encoded = self._codec.encode(request, target)
            body = json.dumps(
                encoded.body, ensure_ascii=False, separators=(",", ":"), allow_nan=False
            ).encode()
        except (InvalidRequest, ValueError, TypeError, RecursionError) as error:
            raise ProviderError(
                f"the request cannot be sent: {error}",
                kind=ErrorKind.INVALID_REQUEST,
                phase=ErrorPhase.REQUEST,
                scope=ErrorScope.REQUEST,
            ) from None
        total = min(request.deadline or self._timeouts.total, self._timeouts.total)
        times = {"idle": request.idle_timeout or self._timeouts.idle, "total": total}
        timeouts = self._timeouts.model_copy(update=times)
        headers = encoded.headers
        return Prepared(target, body, headers, timeouts, encoded.adjustments)

    def _tidy(self, exchange: Exchange) -> None:
        task = asyncio.get_running_loop().create_task(exchange.use_up())
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)

    def _scrub(self, text: str) -> str:
        key = self._site.key.get_secret_value() if self._site.key else ""
        return text.replace(key, "[key]") if key else text


def codec_for(endpoint: EndpointOptions) -> Codec:
    """The codec of the protocol that an endpoint speaks."""
    codec: Codec
    match endpoint.protocol:
        case "openai-chat":
            from llmgine.providers.codecs.openai_chat import OpenAIChatCodec

            codec = OpenAIChatCodec(compatible=endpoint.kind != "openai")
        case "openai-responses":
            from llmgine.providers.codecs.openai_responses import OpenAIResponsesCodec

            codec = OpenAIResponsesCodec()
        case "anthropic-messages":
            from llmgine.providers.codecs.anthropic_messages import AnthropicMessagesCodec

            codec = AnthropicMessagesCodec()
        case "gemini":
            from llmgine.providers.codecs.gemini import GeminiCodec

            codec = GeminiCodec(legacy=endpoint.transport == "google-generativeai")
    return codec
