"""Behaviours 46, 47, 50, 51 and 52 over real HTTP: whatever the server does, one clear end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from llmgine.providers.clients import Site
from llmgine.providers.contracts import (
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    RefusalPart,
    ToolCallPart,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope
from llmgine.providers.events import Done, Failed, PartDone, StreamEvent, TextDelta, ToolCallStart
from llmgine.providers.exchange import as_events
from llmgine.providers.options import EndpointOptions, ProvidersOptions, Timeouts
from llmgine.providers.provider import HttpProvider, codec_for
from llmgine.providers.registry import open_provider

if TYPE_CHECKING:
    from tests.providers.conftest import FaultServer

SECRET = "sk-secret-0123456789"
BOUND = 5.0  # seconds within which a server must see that its client left


@pytest.fixture(params=["openai", "anthropic"])
async def provider(request: pytest.FixtureRequest, fault_server: FaultServer) -> AsyncIterator[HttpProvider]:
    """One of each protocol, with limits that a busy machine keeps."""
    endpoint = EndpointOptions(kind=request.param)
    url = f"{fault_server.base_url}/v1" if request.param == "openai" else fault_server.base_url
    site = Site(api=endpoint.protocol, base_url=url, key=SecretStr(SECRET))
    made = HttpProvider("there", codec_for(endpoint), site, Timeouts(first_byte=30, idle=30))
    yield made
    await made.aclose()


def ask(fault: str, **fields: Any) -> LLMRequest:
    return LLMRequest(model=f"there/{fault}", messages=(Message.user("Hi"),), **fields)


async def collect(provider: HttpProvider, request: LLMRequest) -> list[StreamEvent]:
    events = [event async for event in provider.stream(request)]
    assert [event for event in events if isinstance(event, Done | Failed)] == events[-1:]
    return events


async def failed(provider: HttpProvider, request: LLMRequest) -> Failed:
    last = (await collect(provider, request))[-1]
    assert isinstance(last, Failed)
    assert (last.error.provider, last.error.model) == ("there", request.model.removeprefix("there/"))
    assert SECRET not in f"{last!r} {last.error} {last.error.__dict__}"
    return last


@pytest.mark.parametrize("fault", ["ok", "bytewise", "unknown", "reset-at-end", "json"])
async def test_a_whole_answer_is_whole(provider: HttpProvider, fault: str) -> None:
    """However the bytes come, streamed or as one JSON body, the reply is the same and deltas make it up."""
    events = await collect(provider, ask(fault))
    last = events[-1]
    assert isinstance(last, Done)
    response = last.response
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Hello big world"
    assert (response.text, response.finish_reason) == ("Hello big world", FinishReason.STOP)
    assert (response.usage.input_tokens, response.usage.output_tokens) == (5, 3)
    assert response.usage.source is UsageSource.REPORTED
    assert (response.provider, response.model, response.request_id) == ("there", "served", "req-1")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("cut", ErrorKind.CONNECTION),
        ("reset", ErrorKind.CONNECTION),
        ("clean-end", ErrorKind.TRUNCATED),
        ("malformed", ErrorKind.MALFORMED),
        ("error-frame", ErrorKind.OVERLOADED),
        ("stall", ErrorKind.TIMEOUT),
    ],
)
async def test_a_broken_stream_is_an_error_with_what_had_arrived(
    provider: HttpProvider, fault: str, kind: ErrorKind
) -> None:
    """Cut, reset, without end marker, malformed, failed inside, stalled: an error with the partial text."""
    last = await failed(provider, ask(fault, idle_timeout=0.3 if fault == "stall" else None))
    assert last.error.kind is kind
    assert last.error.phase is ErrorPhase.MID_STREAM
    assert last.error.retryable
    assert last.error.request_id == "req-1"
    assert last.partial is not None
    assert last.partial.text == "Hello"


@pytest.mark.parametrize(
    ("status", "kind", "scope", "retryable"),
    [
        (401, ErrorKind.AUTHENTICATION, ErrorScope.KEY, False),
        (429, ErrorKind.RATE_LIMIT, ErrorScope.KEY, True),
        (500, ErrorKind.SERVER, ErrorScope.ENDPOINT, True),
        (529, ErrorKind.OVERLOADED, ErrorScope.MODEL, True),
    ],
)
async def test_an_error_status_is_a_clear_error(
    provider: HttpProvider,
    fault_server: FaultServer,
    status: int,
    kind: ErrorKind,
    scope: ErrorScope,
    retryable: bool,
) -> None:
    """A refused call says kind, scope and the provider's own wait; the SDK never sends it again."""
    error = (await failed(provider, ask(f"status:{status}"))).error
    assert (error.kind, error.scope, error.retryable, error.status) == (kind, scope, retryable, status)
    assert error.phase is ErrorPhase.PRE_TOKEN
    assert error.request_id == "req-1"
    assert error.retry_after == (7 if status == 429 else None)
    assert f"fault {status}" in error.message
    assert len(fault_server.calls) == 1


@pytest.mark.parametrize(("fault", "kind"), [("html", ErrorKind.MALFORMED), ("json-error", ErrorKind.SERVER)])
async def test_what_is_no_answer_is_an_error(provider: HttpProvider, fault: str, kind: ErrorKind) -> None:
    """A page, or an error in a 200 body, is not taken for a reply."""
    error = (await failed(provider, ask(fault))).error
    assert (error.kind, error.phase) == (kind, ErrorPhase.PRE_TOKEN)


@pytest.mark.parametrize("fault", ["slow", "slow-body"])
async def test_a_server_that_says_nothing_is_left(
    provider: HttpProvider, fault_server: FaultServer, fault: str
) -> None:
    """No first byte in time is a timeout, and the server sees the client go."""
    provider._timeouts = Timeouts(first_byte=0.3)
    error = (await failed(provider, ask(fault))).error
    assert (error.kind, error.phase) == (ErrorKind.TIMEOUT, ErrorPhase.PRE_TOKEN)
    assert "0.3 s" in error.message
    await asyncio.wait_for(fault_server.calls[0].gone.wait(), BOUND)


async def test_the_request_s_own_limits_go_before(provider: HttpProvider, fault_server: FaultServer) -> None:
    """Idle timeout and deadline of the request replace those of the endpoint."""
    idle = (await failed(provider, ask("stall", idle_timeout=0.05))).error
    assert "nothing came for 0.05 s" in idle.message
    deadline = (await failed(provider, ask("stall", deadline=0.1))).error
    assert "deadline of 0.1 s" in deadline.message
    await asyncio.wait_for(fault_server.calls[1].gone.wait(), BOUND)


async def test_closing_the_stream_reaches_the_server(
    provider: HttpProvider, fault_server: FaultServer
) -> None:
    """A reader that stops in the middle closes the exchange at once."""
    stream = provider.stream(ask("stall"))
    async for event in stream:
        if isinstance(event, TextDelta):
            break
    assert not fault_server.calls[0].gone.is_set()
    await stream.aclose()
    await asyncio.wait_for(fault_server.calls[0].gone.wait(), BOUND)


@pytest.mark.parametrize("fault", ["slow", "stall"])
async def test_cancelling_the_reader_reaches_the_server(
    provider: HttpProvider, fault_server: FaultServer, fault: str
) -> None:
    """A task that is cancelled while it waits for the server leaves nothing open."""

    async def read() -> None:
        async for _ in provider.stream(ask(fault)):
            got.set()

    got = asyncio.Event()
    task = asyncio.create_task(read())
    await (got if fault == "stall" else fault_server.called).wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await asyncio.wait_for(fault_server.calls[0].gone.wait(), BOUND)


async def test_a_connection_serves_again(provider: HttpProvider, fault_server: FaultServer) -> None:
    """Calls in a row share one connection, though each body is read only to its end marker."""
    for _ in range(3):
        assert isinstance((await collect(provider, ask("ok")))[-1], Done)
        await asyncio.gather(*provider._tidying)
    assert fault_server.connections == 1


async def test_a_server_that_does_not_end_is_not_waited_for(
    provider: HttpProvider, fault_server: FaultServer
) -> None:
    """After the end marker the reply is there at once; the connection is given up soon after."""
    async with asyncio.timeout(BOUND):
        assert isinstance((await collect(provider, ask("linger")))[-1], Done)
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


async def test_keys_and_headers_arrive(provider: HttpProvider, fault_server: FaultServer) -> None:
    """The SDK's client signs the request; extra headers go along."""
    await collect(provider, ask("ok", extra_headers={"x-team": "blue"}))
    headers = fault_server.calls[0].headers
    assert SECRET in headers.get("authorization", "") + headers.get("x-api-key", "")
    assert headers["x-team"] == "blue"
    assert fault_server.calls[0].body["stream"] is True


async def test_nobody_at_home_is_an_error_of_the_connection() -> None:
    """A refused connection is told as such, before anything was sent."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ProvidersOptions.model_validate(
        {"endpoints": {"there": {"base_url": f"http://127.0.0.1:{port}/v1"}}}
    )
    provider = open_provider("there", options)
    assert isinstance(provider, HttpProvider)
    error = (await failed(provider, ask("ok"))).error
    assert (error.kind, error.phase, error.scope) == (
        ErrorKind.CONNECTION,
        ErrorPhase.CONNECT,
        ErrorScope.ENDPOINT,
    )
    await provider.aclose()


async def test_a_compatible_server_needs_no_key(
    fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key no credentials are sent, not even those of another vendor."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    settings = {"base_url": f"{fault_server.base_url}/v1", "headers": {"x-site": "lab"}}
    provider = open_provider("there", ProvidersOptions.model_validate({"endpoints": {"there": settings}}))
    assert isinstance(provider, HttpProvider)
    assert isinstance((await collect(provider, ask("ok")))[-1], Done)
    headers = fault_server.calls[0].headers
    assert headers["x-site"] == "lab"
    assert not {"authorization", "x-api-key", "openai-organization"} & set(headers)
    await provider.aclose()


async def test_a_request_that_cannot_be_sent_is_an_error(
    provider: HttpProvider, fault_server: FaultServer
) -> None:
    """What no JSON can hold is refused before anything goes out."""
    error = (await failed(provider, ask("ok", provider_options={"openai-chat": {"x": float("nan")}}))).error
    assert (error.kind, error.phase) == (ErrorKind.INVALID_REQUEST, ErrorPhase.REQUEST)
    assert not fault_server.calls


async def test_a_redirect_is_not_followed(provider: HttpProvider, fault_server: FaultServer) -> None:
    """Neither key nor prompt goes where a server points: the call fails and says where that was."""
    error = (await failed(provider, ask("redirect"))).error
    assert (error.status, error.retryable) == (307, False)
    assert "/elsewhere" in error.message
    assert "base_url" in error.message
    assert len(fault_server.calls) == 1


async def test_a_deadline_never_lengthens_the_endpoint_s_own(provider: HttpProvider) -> None:
    """The endpoint's limit for a whole call holds for calls of a turn that may take longer."""
    provider._timeouts = Timeouts(total=0.1)
    error = (await failed(provider, ask("stall", deadline=600))).error
    assert error.kind is ErrorKind.TIMEOUT
    assert "deadline of 0.1 s" in error.message


async def test_a_server_that_never_stops_is_cut_off(
    provider: HttpProvider, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that only grows is ended with what had arrived, before it fills the memory."""
    monkeypatch.setattr("llmgine.providers.exchange._LARGEST_BODY", 100_000)
    last = await failed(provider, ask("endless"))
    assert (last.error.kind, last.error.phase) == (ErrorKind.MALFORMED, ErrorPhase.MID_STREAM)
    assert last.partial is not None
    assert len(last.partial.text) < 100_000
    await asyncio.wait_for(fault_server.calls[0].gone.wait(), BOUND)


@pytest.mark.parametrize(
    "fields",
    [
        {"provider_options": {"openai-chat": {"model": "other"}}},
        {"provider_options": {"openai-chat": {"messages": []}}},
        {"extra_headers": {"Authorization": f"Bearer {SECRET}"}},
        {"extra_headers": {"X-Goog-Api-Key": SECRET}},
        {"extra_headers": {"x-team": f"{SECRET}\n"}},
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


async def test_a_server_that_tells_the_key_is_not_quoted(provider: HttpProvider) -> None:
    """The key stands in no field of an error, whichever of its fields a server put it in."""
    error = (await failed(provider, ask("tell-key"))).error
    assert error.code == "no [key]"


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
