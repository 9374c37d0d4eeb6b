"""Embedding calls over HTTP, against a server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from llmgine.providers.contracts import EmbeddingRequest
from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.options import ProvidersOptions
from llmgine.providers.provider import Provider
from llmgine.providers.registry import open_provider

if TYPE_CHECKING:
    from tests.providers.faults.server import FaultServer

KEY = "sk-secret-0123456789"


@pytest.fixture(params=["openai", "house", "gemini"])
async def provider(
    request: pytest.FixtureRequest, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Provider]:
    """A provider of each protocol that has embeddings."""
    made = opened(request.param, fault_server, monkeypatch)
    yield made
    await made.aclose()


def opened(name: str, server: FaultServer, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Provider:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    url = server.base_url if name in ("gemini", "anthropic") else f"{server.base_url}/v1"
    options = {
        "endpoints": {name: {"base_url": url, **fields}},
        "prices": {f"{name}/ok": {"input": "2"}},
    }
    return open_provider(name, ProvidersOptions.model_validate(options))


def asked(provider: Provider, *inputs: str, model: str = "ok", **fields: Any) -> EmbeddingRequest:
    return EmbeddingRequest(model=f"{provider.name}/{model}", inputs=inputs, **fields)


async def failure(provider: Provider, request: EmbeddingRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await provider.embed(request)
    return caught.value


async def test_each_text_gets_its_vector(provider: Provider, fault_server: FaultServer) -> None:
    """The vectors stand in the order of the texts, as long as was asked for."""
    response = await provider.embed(asked(provider, "a", "four", "xx", dimensions=4))
    assert response.vectors == ((1.0, 0.5, 0.5, 0.5), (4.0, 0.5, 0.5, 0.5), (2.0, 0.5, 0.5, 0.5))
    assert response.provider == provider.name
    assert len(fault_server.calls) == 1


@pytest.mark.parametrize(("name", "most"), [("openai", 2048), ("house", 512), ("gemini", 100)])
async def test_many_texts_take_several_calls(
    fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    """What one call does not take is split, and comes back as one answer."""
    provider = opened(name, fault_server, monkeypatch)
    response = await provider.embed(asked(provider, *("x" * (n % 7) for n in range(2 * most + 1))))
    assert [vector[0] for vector in response.vectors] == [n % 7 for n in range(2 * most + 1)]
    assert len(fault_server.calls) == 3
    if name != "gemini":  # whose server says nothing of tokens
        assert response.usage.input_tokens == 2 * most + 1
        assert response.cost == Decimal(2 * most + 1) * 2 / 1_000_000
    await provider.aclose()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("401", ErrorKind.AUTHENTICATION),
        ("404", ErrorKind.NOT_FOUND),
        ("429", ErrorKind.RATE_LIMIT),
        ("503", ErrorKind.OVERLOADED),
    ],
)
async def test_an_error_status_is_a_clear_error(provider: Provider, status: str, kind: ErrorKind) -> None:
    """What the server refuses comes out as an error of its kind, without the key."""
    error = await failure(provider, asked(provider, "a", model=f"status.{status}"))
    assert (error.kind, error.status, error.provider) == (kind, int(status), provider.name)
    assert KEY not in f"{error!r} {error} {error.to_wire()}"


async def test_a_failed_call_leaves_nothing_open(provider: Provider, fault_server: FaultServer) -> None:
    """After a failure and after an answer the next call works."""
    await failure(provider, asked(provider, "a", model="status.503"))
    for _ in range(2):
        assert len((await provider.embed(asked(provider, "a"))).vectors) == 1


async def test_anthropic_has_none(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A protocol without embeddings says so before anything is sent, and who has some."""
    provider = opened("anthropic", fault_server, monkeypatch)
    error = await failure(provider, asked(provider, "a"))
    assert (error.kind, error.phase) == (ErrorKind.UNSUPPORTED, ErrorPhase.REQUEST)
    assert "openai/text-embedding-3-small" in str(error)
    assert not fault_server.calls
    await provider.aclose()


async def test_a_request_that_cannot_be_sent(provider: Provider, fault_server: FaultServer) -> None:
    """What no JSON holds is refused before anything goes out."""
    error = await failure(
        provider, asked(provider, "a", provider_options={provider.name: {"x": float("nan")}})
    )
    assert (error.kind, error.provider, error.model) == (ErrorKind.INVALID_REQUEST, provider.name, "ok")
    assert not fault_server.calls


async def test_nobody_at_home(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not there is an error of the connection, which may be tried again."""
    provider = opened("openai", fault_server, monkeypatch)
    await fault_server.stop()
    error = await failure(provider, asked(provider, "a"))
    assert (error.kind, error.phase, error.retryable) == (ErrorKind.CONNECTION, ErrorPhase.CONNECT, True)
    await provider.aclose()


class SilentServer:
    """Takes a request and says nothing."""

    def __init__(self) -> None:
        self.asked, self.left = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> SilentServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked.set()
        await reader.read()
        self.left.set()
        writer.close()


async def test_giving_up_reaches_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancelled call closes its connection at once; one past its deadline fails and does so too."""
    async with SilentServer() as server:
        provider = opened("openai", server, monkeypatch)  # type: ignore[arg-type]
        call = asyncio.create_task(provider.embed(asked(provider, "a")))
        await server.asked.wait()
        call.cancel()
        await asyncio.wait_for(server.left.wait(), 5)
        server.left.clear()
        error = await failure(provider, asked(provider, "a", deadline=0.05))
        assert error.kind is ErrorKind.TIMEOUT
        await asyncio.wait_for(server.left.wait(), 5)
        await provider.aclose()
