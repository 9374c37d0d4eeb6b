"""A real model inside this process: llama.cpp's own server on a loopback port, spoken to like any other.

The engine computes in threads of its own and lets go of the interpreter meanwhile. Providers of the
same model and the same settings share one engine.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmgine.providers import clients
from llmgine.providers.batches import no_batches
from llmgine.providers.calls.provider import HttpProvider
from llmgine.providers.catalogue.presets import preset_quirks
from llmgine.providers.catalogue.profiles import UNKNOWN_MODEL, ModelProfile
from llmgine.providers.codecs import AnthropicMessagesCodec, Codec, OpenAIChatCodec
from llmgine.providers.contracts import EmbeddingRequest, EmbeddingResponse, LLMRequest
from llmgine.providers.embeddings import no_embeddings
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ModelNotInstalled, ProviderError
from llmgine.providers.events import Failed, StreamEvent
from llmgine.providers.local.tools import ToolEmulation
from llmgine.providers.local.weights import check_engine, find_weights, installed_models
from llmgine.providers.options import Api, LocalOptions, ProvidersOptions
from llmgine.providers.provider import Batches
from llmgine.providers.recording import Recorder

_LONGEST_REPLY = 512  # tokens, where the request sets no limit; a small model may not come to an end

# The template of the weights puts a system prompt of its own first with which the model rambles.
_TEMPLATE = """\
{%- if messages[0]['role'] != 'system' -%}
{{- '<|im_start|>system\nYou are a concise assistant. Answer in one short sentence.<|im_end|>\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""


class LocalProvider:
    """Serves the models whose weights are on this machine, each loaded at its first call."""

    def __init__(
        self,
        name: str,
        options: ProvidersOptions,
        profile: Callable[[str], ModelProfile] = lambda model: UNKNOWN_MODEL,
    ) -> None:
        check_engine()
        if not installed_models(options.local):
            find_weights("smollm2", options.local)
        self.name = name
        self._local = options.local
        self._timeouts = options.endpoints[name].timeouts
        self._record = options.record
        self._profile = profile
        self._loading: dict[str, asyncio.Task[tuple[ToolEmulation, _Key]]] = {}
        for api in {options.local.api, "openai-chat"}:
            clients.load(api)

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        """The events of one call; the last is exactly one `Done` or `Failed`."""
        model = request.model.removeprefix(f"{self.name}/")
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(request.deadline):
                emulation = await self._model(model)
        except TimeoutError:
            text = f"the model was still being loaded at the deadline of {request.deadline:g} s"
            yield self._failed(model, text, ErrorKind.TIMEOUT)
            return
        except ModelNotInstalled as error:
            yield self._failed(model, str(error), ErrorKind.NOT_FOUND)
            return
        except Exception as error:  # the engine raises what it likes
            text = f"the model cannot be loaded: {type(error).__name__}: {error}"
            yield self._failed(model, text, ErrorKind.INTERNAL)
            return
        if request.deadline is not None:
            left = max(request.deadline - (clock() - began), 0.001)
            request = request.model_copy(update={"deadline": left})
        source = emulation.stream(request, session=session)
        try:
            async for event in source:
                yield event
        finally:
            await source.aclose()

    async def embed(self, request: EmbeddingRequest, *, session: str = "") -> EmbeddingResponse:
        """Always refused: an engine makes either text or vectors, and these make text."""
        raise no_embeddings(self.name, request.model.removeprefix(f"{self.name}/"))

    def batches(self, model: str) -> Batches:
        """It takes none."""
        raise no_batches(self.name, model.removeprefix(f"{self.name}/"))

    async def aclose(self) -> None:
        """Close the connections, and unload each model that no other provider uses."""
        loading, self._loading = self._loading, {}
        for loaded in await asyncio.gather(*loading.values(), return_exceptions=True):
            if not isinstance(loaded, BaseException):
                emulation, key = loaded
                await emulation.aclose()
                await asyncio.to_thread(_unload, key)

    async def _model(self, model: str) -> ToolEmulation:
        """The model, loaded once, whether the call that began it goes on or not."""
        task = self._loading.get(model)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._loading[model] = asyncio.create_task(self._load(model), name=f"load {model}")
        emulation, _ = await asyncio.shield(task)
        return emulation

    async def _load(self, model: str) -> tuple[ToolEmulation, _Key]:
        key = _Key.of(find_weights(model, self._local), self._local)
        return self._reach(await asyncio.to_thread(_load, key, model)), key

    def _failed(self, model: str, text: str, kind: ErrorKind) -> Failed:
        error = ProviderError(text, kind=kind, phase=ErrorPhase.REQUEST, scope=ErrorScope.MODEL)
        error.provider, error.model = self.name, model
        return Failed(error)

    def _reach(self, address: str) -> ToolEmulation:
        chat = self._over("openai-chat", address)
        if self._local.api == "openai-chat":
            return ToolEmulation(chat)
        # The engine heeds grammars and schemas on its chat path only.
        return ToolEmulation(self._over(self._local.api, address), constrained=chat)

    def _over(self, api: Api, address: str) -> HttpProvider:
        codec, url = _codec(api, address)
        site = clients.Site(api=api, base_url=url, key=None)
        recorder = Recorder.of(self.name, self._record, None)
        return HttpProvider(self.name, codec, site, self._timeouts, profile=self._profile, recorder=recorder)


@dataclass(frozen=True, slots=True)
class _Key:
    """What makes two engines the same."""

    path: Path
    threads: int
    context: int
    slots: int

    @classmethod
    def of(cls, path: Path, options: LocalOptions) -> _Key:
        return cls(path, options.threads, options.context, options.slots)


@dataclass(slots=True)
class _Engine:
    server: Any
    users: int = 0


_engines: dict[_Key, _Engine] = {}
_lock = threading.Lock()


def _load(key: _Key, model: str) -> str:
    """The address of the engine's server, started where it is not running."""
    with _lock:
        engine = _engines.get(key)
        if engine is None:
            engine = _engines[key] = _Engine(_start(key, model))
        engine.users += 1
        return str(engine.server.listening_address)


def _unload(key: _Key) -> None:
    with _lock:
        engine = _engines[key]
        engine.users -= 1
        if engine.users == 0:
            del _engines[key]
            engine.server = None  # the engine stops when its last reference goes


def _start(key: _Key, model: str) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(key.path)
    params.model_alias = {model}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = key.context * key.slots
    params.n_parallel = key.slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = key.threads
    params.n_predict = _LONGEST_REPLY
    # What a request leaves open: the likeliest word, for a small model errs sooner with any other.
    params.sampling.temp = 0.0
    if key.path.name.startswith("SmolLM2"):
        params.chat_template = _TEMPLATE
    params.use_jinja = True
    params.ui = False
    params.verbosity = 0
    params.cache_ram_mib = 0
    params.warmup = False
    return xllamacpp.Server(params)


def _codec(api: Api, address: str) -> tuple[Codec, str]:
    """The codec of a protocol, and the URL at which the engine speaks it."""
    if api == "openai-chat":
        return OpenAIChatCodec(preset_quirks("llamacpp")), f"{address}/v1"
    return AnthropicMessagesCodec(default_max_tokens=_LONGEST_REPLY), address
