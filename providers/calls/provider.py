"""A provider reached over HTTP: request → codec → pooled client → frames → decoder → events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from functools import partial

from pydantic import SecretStr

from llmgine.providers import clients
from llmgine.providers.batches import BatchCodec, batch_codec_for, no_batches
from llmgine.providers.calls.batches import HttpBatches
from llmgine.providers.calls.embedding import EmbeddingCall
from llmgine.providers.calls.exchange import Exchange
from llmgine.providers.calls.transfer import Prepared, Transfer, prepared
from llmgine.providers.catalogue.prices import Pricer, pricer, unpriced
from llmgine.providers.catalogue.prices import load as load_prices
from llmgine.providers.catalogue.profiles import UNKNOWN_MODEL, ModelProfile
from llmgine.providers.codecs import (
    AnthropicMessagesCodec,
    Codec,
    GeminiCodec,
    OpenAIChatCodec,
    OpenAIResponsesCodec,
    Target,
)
from llmgine.providers.contracts import EmbeddingRequest, EmbeddingResponse, LLMRequest
from llmgine.providers.embeddings import (
    EmbeddingCodec,
    batches,
    embedding_codec_for,
    joined,
    no_embeddings,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError
from llmgine.providers.events import Failed, StreamEvent
from llmgine.providers.keys import KeyMask
from llmgine.providers.options import EndpointOptions, ProvidersOptions, Timeouts
from llmgine.providers.provider import LimitsTold
from llmgine.providers.recording import Recorder, Tap


class HttpProvider:
    """Calls one endpoint through one protocol."""

    def __init__(
        self,
        name: str,
        codec: Codec,
        site: clients.Site,
        timeouts: Timeouts | None = None,
        *,
        embeddings: EmbeddingCodec | None = None,
        batch_codec: BatchCodec | None = None,
        batch_price: Pricer = unpriced,
        profile: Callable[[str], ModelProfile] = lambda model: UNKNOWN_MODEL,
        price: Pricer = unpriced,
        recorder: Recorder | None = None,
        told: LimitsTold | None = None,
    ) -> None:
        self.name = name
        self._told = told
        self._embeddings = embeddings
        self._batch_codec = batch_codec
        self._batch_price = batch_price
        self._profile = profile
        self._price = price
        self._recorder = recorder
        self._codec = codec
        self._site = site
        self._scrub = KeyMask(site.key).text
        self._timeouts = timeouts or Timeouts()
        self._clients: dict[asyncio.AbstractEventLoop, clients.Client] = {}
        self._closed = False
        self._running: set[Transfer] = set()
        self._tidying: set[asyncio.Task[None]] = set()

    @classmethod
    def open(
        cls,
        name: str,
        options: ProvidersOptions,
        profile: Callable[[str], ModelProfile],
        key: SecretStr | None,
        told: LimitsTold | None = None,
    ) -> HttpProvider:
        """The provider of an endpoint that calls with that key, and its SDK and the prices loaded.

        `told` hears what each streamed answer says of the key's limits, as soon as it begins.
        """
        endpoint = options.endpoints[name]
        site = clients.Site(
            api=endpoint.protocol,
            base_url=endpoint.base_url,
            key=None if endpoint.replay else key,
            headers=tuple(endpoint.headers.items()),
            max_connections=endpoint.max_connections,
            transport=endpoint.transport,
            replay=endpoint.replay,
        )
        recorder = None
        if site.replay is None:
            clients.load(site.api, site.transport)
            recorder = Recorder.of(name, options.record, site.key)
        load_prices()
        codec, priced_as = codec_for(endpoint), endpoint.preset or endpoint.kind
        return cls(
            name,
            codec,
            site,
            endpoint.timeouts,
            embeddings=embedding_codec_for(endpoint),
            batch_codec=batch_codec_for(endpoint, codec),
            batch_price=pricer(name, priced_as, options.prices, batch=True),
            profile=profile,
            price=pricer(name, priced_as, options.prices),
            recorder=recorder,
            told=told,
        )

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        """The events of one call; the last is exactly one `Done` or `Failed`.

        Time limits count while this waits for the server, so a slow reader is never taken for a
        slow server; only the deadline runs on.
        """
        model = request.model.removeprefix(f"{self.name}/")
        target = Target(self.name, model, self._profile(model))
        timeouts = self._timeouts_of(request.deadline, request.idle_timeout)
        try:
            sent = prepared(lambda: self._codec.encode(request, target), target, timeouts)
            client = self._leased(target)
        except ProviderError as error:
            yield Failed(error)
            return
        exchange = Exchange(
            client,
            self._codec,
            sent,
            scrub=self._scrub,
            price=self._price,
            tap=self._tap(session, sent),
            told=self._told,
        )
        self._running.add(exchange)
        try:
            while events := await exchange.next():
                if exchange.reusable:
                    self._tidy(exchange)
                for event in events:
                    yield event
        finally:
            self._running.discard(exchange)
            await exchange.aclose()

    async def embed(self, request: EmbeddingRequest, *, session: str = "") -> EmbeddingResponse:
        """A vector for each input, by as many calls as the provider needs, one after the other.

        Raises `ProviderError` where one of them failed: vectors that had come are then lost.
        """
        target = Target(self.name, request.model.removeprefix(f"{self.name}/"))
        codec = self._embeddings
        if codec is None:
            raise no_embeddings(target.provider, target.model)
        clock = asyncio.get_running_loop().time
        timeouts = self._timeouts_of(request.deadline)
        ends, responses = clock() + timeouts.total, []
        for batch in batches(request, codec.most_inputs):
            left = timeouts.model_copy(update={"total": max(ends - clock(), 0.001)})
            sent = prepared(partial(codec.encode, batch, target), target, left, "embed")
            call = EmbeddingCall(
                self._leased(target),
                codec,
                sent,
                len(batch.inputs),
                scrub=self._scrub,
                price=self._price,
                tap=self._tap(session, sent),
            )
            self._running.add(call)
            try:
                responses.append(await call.response())
            finally:
                self._running.discard(call)
        return joined(responses)

    def batches(self, model: str) -> HttpBatches:
        """Its batches, of the model of that name; `ProviderError` of kind unsupported where it takes none."""
        model = model.removeprefix(f"{self.name}/")
        if self._batch_codec is None:
            raise no_batches(self.name, model)
        return HttpBatches(
            self._codec,
            self._batch_codec,
            Target(self.name, model, self._profile(model)),
            self._leased,
            self._timeouts,
            self._running,
            scrub=self._scrub,
            price=self._batch_price,
        )

    async def aclose(self) -> None:
        """End the calls that go on, and close the connections that nobody else uses; it serves no more."""
        self._closed = True
        for transfer in self._running:
            transfer.stop()
        for task in list(self._tidying):
            task.cancel()
        await asyncio.gather(*self._tidying, return_exceptions=True)
        if self._clients.pop(asyncio.get_running_loop(), None) is not None:
            await clients.release(self._site)
        if self._recorder is not None:
            await self._recorder.aclose()

    def _leased(self, target: Target) -> clients.Client:
        """The client of the running loop: another loop's would wait for what only that one can hear."""
        if self._closed:
            raise _unserved(target, ErrorKind.CANCELLED, "the provider is closed: open it anew")
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients = {other: it for other, it in self._clients.items() if not other.is_closed()}
            try:
                self._clients[loop] = clients.lease(self._site)
            except Exception as error:  # of an SDK or its transport, as for a proxy that nobody can speak to
                reason = self._scrub(f"no client can be made: {type(error).__name__}: {error}")
                raise _unserved(target, ErrorKind.INTERNAL, reason) from None
        return self._clients[loop]

    def _timeouts_of(self, deadline: float | None, idle: float | None = None) -> Timeouts:
        total = min(deadline or self._timeouts.total, self._timeouts.total)
        return self._timeouts.model_copy(update={"idle": idle or self._timeouts.idle, "total": total})

    def _tap(self, session: str, sent: Prepared) -> Tap | None:
        if self._recorder is None:
            return None
        url = clients.url_of(self._site.api, self._site.base_url, sent.target.model, sent.purpose)
        headers = {**dict(self._site.headers), **sent.headers}
        return self._recorder.tap(session, url, headers, sent.body)

    def _tidy(self, exchange: Exchange) -> None:
        task = asyncio.get_running_loop().create_task(exchange.use_up())
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)


def _unserved(target: Target, kind: ErrorKind, reason: str) -> ProviderError:
    return ProviderError(
        reason,
        kind=kind,
        phase=ErrorPhase.REQUEST,
        scope=ErrorScope.ENDPOINT,
        provider=target.provider,
        model=target.model,
    )


def codec_for(endpoint: EndpointOptions) -> Codec:
    """The codec of the protocol that an endpoint speaks."""
    match endpoint.protocol:
        case "openai-chat":
            return OpenAIChatCodec(endpoint.quirks)
        case "openai-responses":
            return OpenAIResponsesCodec()
        case "anthropic-messages":
            return AnthropicMessagesCodec()
        case "gemini":
            return GeminiCodec(legacy=endpoint.transport == "google-generativeai")
