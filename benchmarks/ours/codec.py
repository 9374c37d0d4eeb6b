"""Exchanges of a provider whose client gets prepared answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from benchmarks.answers import Read, client, us_per_chunk
from benchmarks.contract import Effort, Measure, Round
from llmgine.providers.calls.exchange import Exchange
from llmgine.providers.calls.provider import codec_for
from llmgine.providers.calls.transfer import Prepared
from llmgine.providers.clients import Call
from llmgine.providers.clients.http import HttpAnswer
from llmgine.providers.codecs import Codec, Target
from llmgine.providers.events import Failed, TextDelta
from llmgine.providers.options import EndpointOptions, Timeouts

_KINDS: Final[dict[str, dict[str, Any]]] = {
    "openai_chat": {"kind": "openai", "api": "openai-chat"},
    "openai_responses": {"kind": "openai", "api": "openai-responses"},
    "anthropic": {"kind": "anthropic"},
    "gemini": {"kind": "gemini"},
}


class PreparedClient:
    """A client of a provider, without the SDK that would only write the request's head."""

    def __init__(self, http: Any) -> None:
        self._http = http

    async def send(self, call: Call) -> HttpAnswer:
        request = self._http.build_request("POST", "http://prepared/", content=call.body)
        return HttpAnswer(await self._http.send(request, stream=True))

    async def aclose(self) -> None:
        await self._http.aclose()


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    import httpx2

    codecs = {wire: codec_for(EndpointOptions(**fields)) for wire, fields in _KINDS.items()}
    clients = {wire: PreparedClient(client(httpx2, wire)) for wire in codecs}
    readers = {wire: _reader(clients[wire], codec) for wire, codec in codecs.items()}

    async def measure(effort: Effort) -> Round:
        return Round(await us_per_chunk(readers, effort))

    yield measure
    for one in clients.values():
        await one.aclose()


def _reader(one: PreparedClient, codec: Codec) -> Read:
    async def read() -> str:
        prepared = Prepared(Target("bench", "model"), b"{}", {}, Timeouts(), ())
        exchange = Exchange(one, codec, prepared)
        texts: list[str] = []
        while events := await exchange.next():
            for event in events:
                if isinstance(event, TextDelta):
                    texts.append(event.text)
                elif isinstance(event, Failed):
                    raise event.error
        if exchange.reusable:
            await exchange.use_up()
        return "".join(texts)

    return read
