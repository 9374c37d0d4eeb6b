"""Both ways to Gemini: the google-genai package, and the end-of-life google-generativeai."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from llmgine.providers.calls.provider import HttpProvider
from llmgine.providers.clients import Call, Client, Site, lease, load, pool, release
from llmgine.providers.clients.gemini_legacy import GeminiLegacyAnswer
from llmgine.providers.codecs.gemini import GeminiCodec
from llmgine.providers.contracts import FinishReason, LLMRequest, Message, TextPart
from llmgine.providers.errors import ErrorKind, ErrorPhase
from llmgine.providers.events import Done, Failed, StreamEvent, TextDelta
from llmgine.providers.options import Timeouts, Transport
from tests.providers.clients.gemini_server import TEXT, GeminiServer, gemini_server

__all__ = ["gemini_server"]

BOTH = pytest.mark.parametrize("transport", ["google-genai", "google-generativeai"])
BODY: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


def site(base_url: str | None, transport: Transport = "google-genai", **fields: Any) -> Site:
    fields = {"key": SecretStr("the-key"), **fields}
    return Site(api="gemini", base_url=base_url, transport=transport, **fields)


def call(model: str, **fields: Any) -> Call:
    return Call(model, json.dumps(BODY).encode(), fields.pop("headers", {}), Timeouts(connect=1.0), **fields)


async def body_of(client: Client, asked: Call) -> tuple[int, bytes]:
    answer = await client.send(asked)
    pieces = [chunk async for chunk in answer.chunks()]
    await answer.aclose()
    return answer.status, b"".join(pieces)


def provider(server: GeminiServer, transport: Transport, timeouts: Timeouts | None = None) -> HttpProvider:
    codec = GeminiCodec(legacy=transport == "google-generativeai")
    return HttpProvider("gemini", codec, site(server.base_url, transport), timeouts)


async def events_of(opened: HttpProvider, model: str) -> list[StreamEvent]:
    request = LLMRequest(model=f"gemini/{model}", messages=(Message.user("Hi"),))
    try:
        return [event async for event in opened.stream(request)]
    finally:
        await opened.aclose()


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    yield
    assert not pool._clients


@BOTH
async def test_a_call_streams(gemini_server: GeminiServer, transport: Transport) -> None:
    """The text arrives piece by piece and whole, with the usage, and the key goes in its header."""
    events = await events_of(provider(gemini_server, transport), "ok")
    assert [event.text for event in events if isinstance(event, TextDelta)] == list(TEXT)
    assert isinstance(done := events[-1], Done)
    assert done.response.text == "".join(TEXT)
    assert done.response.finish_reason is FinishReason.STOP
    assert (done.response.usage.input_tokens, done.response.usage.output_tokens) == (5, 3)
    asked = gemini_server.calls[0]
    assert asked.path.startswith("/v1beta/models/ok:streamGenerateContent")
    assert asked.headers["x-goog-api-key"] == "the-key"
    assert asked.body["contents"] == BODY["contents"]


@BOTH
@pytest.mark.parametrize(
    ("model", "kind", "phase"),
    [
        ("status-429", ErrorKind.RATE_LIMIT, ErrorPhase.PRE_TOKEN),
        ("status-401", ErrorKind.AUTHENTICATION, ErrorPhase.PRE_TOKEN),
        ("status-500", ErrorKind.SERVER, ErrorPhase.PRE_TOKEN),
        ("status-503", ErrorKind.OVERLOADED, ErrorPhase.PRE_TOKEN),
        ("redirect", ErrorKind.NOT_FOUND, ErrorPhase.PRE_TOKEN),
        ("short", ErrorKind.TRUNCATED, ErrorPhase.MID_STREAM),
        ("cut", ErrorKind.CONNECTION, ErrorPhase.MID_STREAM),
    ],
)
async def test_a_failure_is_told_as_what_it_is(
    gemini_server: GeminiServer, transport: Transport, model: str, kind: ErrorKind, phase: ErrorPhase
) -> None:
    """Whatever the package makes of a failure, its kind and phase are those of the wire, after one try."""
    events = await events_of(provider(gemini_server, transport), model)
    assert isinstance(failed := events[-1], Failed)
    assert (failed.error.kind, failed.error.phase) == (kind, phase)
    assert len(gemini_server.calls) == 1
    if phase is ErrorPhase.MID_STREAM:
        assert failed.partial is not None
        assert failed.partial.text == "".join(TEXT[:2])


@BOTH
async def test_nobody_is_there(transport: Transport) -> None:
    """A refused connection is told as one."""
    opened = HttpProvider("gemini", GeminiCodec(), site("http://127.0.0.1:9", transport))
    events = await events_of(opened, "ok")
    assert isinstance(failed := events[-1], Failed)
    assert (failed.error.kind, failed.error.phase) == (ErrorKind.CONNECTION, ErrorPhase.CONNECT)


@BOTH
async def test_leaving_early_closes_the_connection(gemini_server: GeminiServer, transport: Transport) -> None:
    """A reader that leaves in the middle takes the connection along."""
    opened = provider(gemini_server, transport)
    stream = opened.stream(LLMRequest(model="gemini/stall", messages=(Message.user("Hi"),)))
    assert await anext(stream) == TextDelta(0, TEXT[0])
    await stream.aclose()
    await asyncio.wait_for(gemini_server.calls[0].gone.wait(), 5)
    await opened.aclose()


@BOTH
async def test_leaving_before_the_answer_closes_the_connection(
    gemini_server: GeminiServer, transport: Transport
) -> None:
    """A caller that gives up before the answer's head takes the connection along."""
    client = lease(site(gemini_server.base_url, transport))
    waiting = asyncio.ensure_future(client.send(call("slow")))
    await gemini_server.called.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(gemini_server.calls[0].gone.wait(), 5)
    await release(site(gemini_server.base_url, transport))


@BOTH
async def test_a_stall_is_a_timeout(gemini_server: GeminiServer, transport: Transport) -> None:
    """A stream that says nothing more fails by the idle limit, with what had come."""
    events = await events_of(provider(gemini_server, transport, Timeouts(idle=0.05)), "stall")
    assert isinstance(failed := events[-1], Failed)
    assert failed.error.kind is ErrorKind.TIMEOUT
    assert failed.partial is not None
    assert isinstance(failed.partial.parts[0], TextPart)


@BOTH
async def test_connections_are_used_again(gemini_server: GeminiServer, transport: Transport) -> None:
    """Two calls one after the other go over one connection."""
    where = site(gemini_server.base_url, transport)
    client = lease(where)
    assert [await body_of(client, call("ok")), await body_of(client, call("ok"))][1][0] == 200
    await release(where)
    assert [asked.connection for asked in gemini_server.calls] == [1, 1]


@BOTH
async def test_a_call_of_a_tool(gemini_server: GeminiServer, transport: Transport) -> None:
    """Its id and its arguments arrive as the model made them, whole numbers as such."""
    done = (await events_of(provider(gemini_server, transport), "call"))[-1]
    assert isinstance(done, Done)
    (made,) = done.response.tool_calls
    assert (made.id, made.name) == ("i", "f")
    assert made.arguments == {"whole": 1, "half": 0.5, "text": "ü"}
    assert type(made.arguments["whole"]) is int


@BOTH
async def test_embeddings(gemini_server: GeminiServer, transport: Transport) -> None:
    """The other purpose goes to its own path, and its answer comes in one piece."""
    body = {"requests": [{"model": "models/e", "content": {"parts": [{"text": "one"}]}}]}
    where = site(gemini_server.base_url, transport)
    client = lease(where)
    asked = Call("e", json.dumps(body).encode(), {}, Timeouts(), purpose="embed")
    status, answer = await body_of(client, asked)
    await release(where)
    assert (status, json.loads(answer)) == (200, {"embeddings": [{"values": [0.5, 1.5]}]})
    assert gemini_server.calls[0].path.startswith("/v1beta/models/e:batchEmbedContents")
    assert gemini_server.calls[0].body["requests"] == body["requests"]


@BOTH
async def test_settings_go_before_the_environment(
    gemini_server: GeminiServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable of the environment redirects a call, changes its key, or sends it elsewhere."""
    for name, value in {
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:9",
        "GOOGLE_API_KEY": "another-key",
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_GENAI_API_VERSION": "v9",
        "GOOGLE_GENAI_CLIENT_MODE": "replay",
        "GOOGLE_CLOUD_PROJECT": "project",
        "GOOGLE_CLOUD_LOCATION": "here",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    where = site(gemini_server.base_url, transport)
    client = lease(where)
    status, _ = await body_of(client, call("ok"))
    await release(where)
    assert status == 200
    assert gemini_server.calls[0].path.startswith("/v1beta/models/ok:")
    assert gemini_server.calls[0].headers["x-goog-api-key"] == "the-key"


@BOTH
async def test_headers_of_endpoint_and_request(gemini_server: GeminiServer, transport: Transport) -> None:
    """Both are sent, and the request's own goes before the endpoint's."""
    where = site(gemini_server.base_url, transport, headers=(("X-One", "1"), ("X-Two", "1")))
    client = lease(where)
    await body_of(client, call("ok", headers={"X-Two": "2"}))
    await release(where)
    headers = gemini_server.calls[0].headers
    assert (headers["x-one"], headers["x-two"]) == ("1", "2")


@pytest.mark.parametrize(
    ("base", "model", "path"),
    [
        ("", "m", "/v1beta/models/m"),
        ("/", "models/m", "/v1beta/models/m"),
        ("/v1", "m", "/v1/models/m"),
        ("/proxy/v1beta/", "m", "/proxy/v1beta/models/m"),
        ("/proxy", "tunedModels/m", "/proxy/v1beta/tunedModels/m"),
    ],
)
async def test_paths(gemini_server: GeminiServer, base: str, model: str, path: str) -> None:
    """The version is ours unless the base URL ends with one; names may carry their kind."""
    where = site(gemini_server.base_url + base)
    client = lease(where)
    await body_of(client, call(model))
    await release(where)
    assert gemini_server.calls[0].path == f"{path}:streamGenerateContent?alt=sse"


@pytest.mark.parametrize("model", ["array", "object"])
async def test_a_server_that_knows_no_event_streams(gemini_server: GeminiServer, model: str) -> None:
    """A JSON array is read as it comes in, and one object is an answer too."""
    events = await events_of(provider(gemini_server, "google-genai"), model)
    assert isinstance(done := events[-1], Done)
    assert done.response.text == ("".join(TEXT) if model == "array" else TEXT[0])


@BOTH
async def test_an_error_within_the_stream(gemini_server: GeminiServer, transport: Transport) -> None:
    """An error frame ends the stream as what it says."""
    events = await events_of(provider(gemini_server, transport), "error")
    assert isinstance(failed := events[-1], Failed)
    assert (failed.error.kind, failed.error.message) == (ErrorKind.OVERLOADED, "too much to do")


async def test_without_a_key_none_is_sent(
    gemini_server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of one's own that wants no key gets none, whatever the environment holds."""
    monkeypatch.setenv("GEMINI_API_KEY", "another-key")
    where = site(gemini_server.base_url, key=None)
    client = lease(where)
    await body_of(client, call("ok"))
    await release(where)
    assert "x-goog-api-key" not in gemini_server.calls[0].headers


async def test_the_transport_is_closed_with_the_client() -> None:
    """Closing is ours: the package does not close a transport that it was given."""
    where = site("http://127.0.0.1:9")
    client: Any = lease(where)
    assert isinstance(client._http, httpx2.AsyncClient)
    await release(where)
    assert client._http.is_closed
    assert client._blocking.is_closed


async def test_what_the_old_package_does_not_know_is_refused(gemini_server: GeminiServer) -> None:
    """A field that it has no room for never goes away in silence."""
    opened = provider(gemini_server, "google-generativeai")
    options = {"gemini": {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1}}}}
    request = LLMRequest(model="gemini/ok", messages=(Message.user("Hi"),), provider_options=options)
    events = [event async for event in opened.stream(request)]
    await opened.aclose()
    assert isinstance(failed := events[-1], Failed)
    assert (failed.error.kind, failed.error.phase) == (ErrorKind.UNSUPPORTED, ErrorPhase.REQUEST)
    assert "thinkingConfig" in failed.error.message
    assert not gemini_server.calls


def test_loading_the_old_package_warns_of_nothing() -> None:
    """Its farewell does not reach a caller who chose it."""
    assert load("gemini", "google-generativeai").__name__ == "google.generativeai"
    assert load("gemini").__name__ == "google.genai"


async def test_an_answer_that_nobody_waits_for_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that gives up just as a thread has the answer leaves no connection behind."""
    where = site("http://127.0.0.1:9", "google-generativeai")
    client: Any = lease(where)
    posted, closed = threading.Event(), threading.Event()

    def post(call: Call, line: Any) -> GeminiLegacyAnswer:
        answer = GeminiLegacyAnswer(client, line, 200, {})
        answer.close = closed.set
        posted.set()
        return answer

    monkeypatch.setattr(client, "_post", post)
    sending = asyncio.create_task(client.send(call("ok")))
    await asyncio.sleep(0)
    assert posted.wait(5)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert closed.wait(5)
    await release(where)
