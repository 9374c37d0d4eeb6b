"""What a call over HTTP does with its connection, its limits and what may not be sent.

How each protocol takes the faults of its server stands in the conformance suite.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from pydantic import SecretStr

from llmgine.providers.calls.exchange import as_events
from llmgine.providers.calls.provider import HttpProvider, codec_for
from llmgine.providers.clients import Site, pool
from llmgine.providers.contracts import (
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    RefusalPart,
    ToolCallPart,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase
from llmgine.providers.events import Done, Failed, PartDone, StreamEvent, TextDelta, ToolCallStart
from llmgine.providers.options import EndpointOptions, ProvidersOptions, Timeouts
from llmgine.providers.registry import open_provider

if TYPE_CHECKING:
    from tests.providers.faults.server import FaultServer

SECRET = "sk-secret-0123456789"
BOUND = 5.0  # seconds within which a server must see that its client left
APIS = {
    "openai-responses": ("openai", "/v1"),
    "openai-chat": ("openai", "/v1"),
    "anthropic-messages": ("anthropic", ""),
    "gemini": ("gemini", ""),
}


@pytest.fixture(params=list(APIS))
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def provider(api: str, fault_server: FaultServer) -> AsyncIterator[HttpProvider]:
    """One of each protocol, with limits that a busy machine keeps."""
    kind, path = APIS[api]
    endpoint = EndpointOptions.model_validate({"kind": kind, "api": api})
    site = Site(api=endpoint.protocol, base_url=fault_server.base_url + path, key=SecretStr(SECRET))
    made = HttpProvider("there", codec_for(endpoint), site, Timeouts(first_byte=30, idle=30))
    yield made
    await made.aclose()


def ask(fault: str, **fields: Any) -> LLMRequest:
    return LLMRequest(model=f"there/{fault}", messages=(Message.user("Hi"),), **fields)


async def collect(provider: HttpProvider, request: LLMRequest) -> list[StreamEvent]:
    return [event async for event in provider.stream(request)]


async def failed(provider: HttpProvider, request: LLMRequest) -> Failed:
    last = (await collect(provider, request))[-1]
    assert isinstance(last, Failed)
    assert SECRET not in f"{last!r} {last.error} {last.error.__dict__}"
    return last


async def test_the_request_s_own_limits_go_before(provider: HttpProvider, fault_server: FaultServer) -> None:
    """Idle timeout and deadline of the request replace those of the endpoint."""
    idle = (await failed(provider, ask("stall", idle_timeout=0.05))).error
    assert "nothing came for 0.05 s" in idle.message
    deadline = (await failed(provider, ask("stall", deadline=0.1))).error
    assert "deadline of 0.1 s" in deadline.message
    await asyncio.wait_for(fault_server.calls[1].gone.wait(), BOUND)


async def test_a_deadline_never_lengthens_the_endpoint_s_own(provider: HttpProvider) -> None:
    """The endpoint's limit for a whole call holds for calls of a turn that may take longer."""
    provider._timeouts = Timeouts(total=0.1)
    error = (await failed(provider, ask("stall", deadline=600))).error
    assert error.kind is ErrorKind.TIMEOUT
    assert "deadline of 0.1 s" in error.message


async def test_a_connection_serves_again(provider: HttpProvider, fault_server: FaultServer) -> None:
    """Calls in a row share one connection, though each body is read only to its end marker."""
    for _ in range(3):
        assert isinstance((await collect(provider, ask("ok")))[-1], Done)
        await asyncio.gather(*provider._tidying)
    assert fault_server.connections == 1


async def test_a_server_that_does_not_end_is_not_waited_for(
    provider: HttpProvider, api: str, fault_server: FaultServer
) -> None:
    """After the end marker the reply is there at once; the connection is given up soon after.

    Gemini's marker may be followed by more, so there the reply waits for the body's end, or for silence.
    """
    limits = {"idle_timeout": 0.2} if api == "gemini" else {}
    async with asyncio.timeout(BOUND):
        assert isinstance((await collect(provider, ask("linger", **limits)))[-1], Done)
    await provider.aclose()
    await asyncio.wait_for(fault_server.calls[0].gone.wait(), BOUND)


async def test_a_slow_reader_is_not_a_slow_server(provider: HttpProvider) -> None:
    """Time limits count only while the server is waited for."""
    seen: list[StreamEvent] = []
    async for event in provider.stream(ask("bytewise", idle_timeout=0.2)):
        if not seen:
            await asyncio.sleep(0.4)
        seen.append(event)
    assert isinstance(seen[-1], Done)


async def test_a_server_that_never_stops_is_cut_off(
    provider: HttpProvider, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that only grows is ended with what had arrived, before it fills the memory."""
    monkeypatch.setattr("llmgine.providers.calls.transfer._LARGEST_BODY", 100_000)
    last = await failed(provider, ask("endless"))
    assert (last.error.kind, last.error.phase) == (ErrorKind.MALFORMED, ErrorPhase.MID_STREAM)
    assert last.partial is not None
    assert len(last.partial.text) < 100_000
    await asyncio.wait_for(fault_server.calls[0].gone.wait(), BOUND)


@pytest.mark.parametrize("fault", ["slow", "stall"])
async def test_closing_ends_the_calls_that_go_on(
    provider: HttpProvider, fault_server: FaultServer, fault: str
) -> None:
    """A call that waits when its provider is closed fails at once, and its server sees the client leave."""
    waiting = asyncio.create_task(failed(provider, ask(fault)))
    await fault_server.called.wait()
    await provider.aclose()
    async with asyncio.timeout(BOUND):
        assert (await waiting).error.kind is ErrorKind.CANCELLED
        await fault_server.calls[0].gone.wait()


async def test_a_closed_provider_serves_no_more(provider: HttpProvider, fault_server: FaultServer) -> None:
    """No connection is opened that nobody would close."""
    await provider.aclose()
    error = (await failed(provider, ask("ok"))).error
    assert (error.kind, error.phase) == (ErrorKind.CANCELLED, ErrorPhase.REQUEST)
    assert not fault_server.connections


def test_each_loop_has_its_own_connections() -> None:
    """Used from one loop after another, it never waits on the client of a loop that is gone."""
    site = Site(api="openai-chat", base_url="http://127.0.0.1:9/v1", key=None)
    provider = HttpProvider("there", codec_for(EndpointOptions(kind="openai", api="openai-chat")), site)

    async def client_of_this_loop() -> Any:
        await failed(provider, ask("ok"))
        (shared,) = pool._clients.values()
        return shared.client

    async def close() -> None:
        await client_of_this_loop()
        await provider.aclose()

    assert asyncio.run(client_of_this_loop()) is not asyncio.run(client_of_this_loop())
    asyncio.run(close())
    assert not pool._clients


async def test_a_compatible_server_needs_no_key(
    fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key no credentials are sent, not even those of another vendor."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    settings = {"base_url": f"{fault_server.base_url}/v1", "headers": {"x-site": "lab"}}
    provider = open_provider("there", ProvidersOptions.model_validate({"endpoints": {"there": settings}}))
    assert isinstance([event async for event in provider.stream(ask("ok"))][-1], Done)
    headers = fault_server.calls[0].headers
    assert headers["x-site"] == "lab"
    assert not {"authorization", "x-api-key", "openai-organization"} & set(headers)
    await provider.aclose()


async def test_a_request_that_cannot_be_sent_is_an_error(
    provider: HttpProvider, api: str, fault_server: FaultServer
) -> None:
    """What no JSON can hold is refused before anything goes out."""
    error = (await failed(provider, ask("ok", provider_options={api: {"x": float("nan")}}))).error
    assert (error.kind, error.phase) == (ErrorKind.INVALID_REQUEST, ErrorPhase.REQUEST)
    assert not fault_server.calls


async def test_a_client_that_cannot_be_made_is_an_error(
    provider: HttpProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an SDK or its transport raises at its making ends the stream, as all that goes wrong does."""
    monkeypatch.setattr(pool, "_make", Mock(side_effect=ImportError(f"no socks for {SECRET}")))
    error = (await failed(provider, ask("ok"))).error
    assert (error.kind, error.phase) == (ErrorKind.INTERNAL, ErrorPhase.REQUEST)
    assert "ImportError: no socks for [key]" in error.message


@pytest.mark.parametrize(
    "fields",
    [
        {"provider_options": {"there": {"model": "other"}}},
        {"provider_options": {"there": {"messages": []}}},
        {"provider_options": {"there": {"stream": False}}},
        {"extra_headers": {"Authorization": f"Bearer {SECRET}"}},
        {"extra_headers": {"X-Goog-Api-Key": SECRET}},
        {"extra_headers": {"x-team": f"{SECRET}\n"}},
        {"extra_headers": {"x-team": f"{SECRET}é"}},
    ],
)
async def test_what_a_request_may_not_say_is_refused(
    provider: HttpProvider, fault_server: FaultServer, fields: dict[str, Any]
) -> None:
    """Another model by the back door, a key, and a header that no wire carries never leave."""
    error = (await failed(provider, ask("ok", **fields))).error
    assert (error.kind, error.phase) == (ErrorKind.INVALID_REQUEST, ErrorPhase.REQUEST)
    assert not error.retryable
    assert not fault_server.calls


def test_a_refusal_in_one_piece_has_its_deltas_too() -> None:
    """Answers in one body are streamed as they would have been, refusals and bare calls included."""
    parts = (RefusalPart(text="No."), ToolCallPart(id="c1", name="now", arguments={}))
    message = Message(role="assistant", parts=parts)
    response = LLMResponse(message=message, finish_reason=FinishReason.REFUSAL, model="m", provider="p")
    assert as_events(response) == [
        TextDelta(0, "No."),
        PartDone(0, parts[0]),
        ToolCallStart(1, "c1", "now"),
        PartDone(1, parts[1]),
        Done(response),
    ]
