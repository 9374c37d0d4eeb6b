"""How an answer ends, wherever its bytes were cut."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import pytest

from llmgine.providers.calls.exchange import Exchange
from llmgine.providers.calls.provider import codec_for
from llmgine.providers.calls.transfer import Prepared
from llmgine.providers.clients import Call
from llmgine.providers.codecs import Target
from llmgine.providers.errors import ErrorKind
from llmgine.providers.events import Done, Failed, StreamEvent
from llmgine.providers.frames import JsonArraySplitter, Splitter, SseSplitter
from llmgine.providers.options import EndpointOptions, Timeouts


class Told:
    """A client and its answer: pieces that are there already."""

    status = 200
    request_id = None

    def __init__(self, pieces: Iterable[bytes], *, array: bool) -> None:
        self._pieces, self._array = pieces, array
        self.content_type = "application/json" if array else "text/event-stream"
        self.headers: Mapping[str, str] = {}

    async def send(self, call: Call) -> Told:
        return self

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    def splitter(self) -> Splitter:
        return JsonArraySplitter() if self._array else SseSplitter()

    async def aclose(self) -> None:
        pass


async def end_of(api: str, *pieces: bytes, array: bool = False) -> Done | Failed:
    """The last event of an answer that comes in these pieces."""
    endpoint = EndpointOptions.model_validate({"kind": "gemini" if api == "gemini" else "openai", "api": api})
    prepared = Prepared(Target("there", "m"), b"{}", {}, Timeouts(), ())
    exchange = Exchange(Told(pieces, array=array), codec_for(endpoint), prepared)
    events: list[StreamEvent] = []
    while batch := await exchange.next():
        events += batch
    last = events[-1]
    assert isinstance(last, Done | Failed)
    return last


def sse(value: Any) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def chat(text: str, reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}


def gemini(text: str, reason: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}]}}
    return {"candidates": [candidate | ({"finishReason": reason} if reason else {})]}


@pytest.mark.parametrize(
    ("api", "array", "begun", "marker", "behind"),
    [
        ("openai-chat", False, sse(chat("Hi")), sse(chat("!", "stop")), b'data: {"usage": {"prompt'),
        ("gemini", False, sse(gemini("Hi")), sse(gemini("!", "STOP")), b'data: {"usageMetadata"'),
        (
            "gemini",
            True,
            b"[" + json.dumps(gemini("Hi")).encode(),
            b"," + json.dumps(gemini("!", "STOP")).encode(),
            b',{"usageMetadata"',
        ),
    ],
)
async def test_the_end_marker_decides(
    api: str, array: bool, begun: bytes, marker: bytes, behind: bytes
) -> None:
    """What is cut off before it, were it by one byte, is truncated; what is cut off behind it is whole."""
    cut = await end_of(api, begun, marker[:-1], array=array)
    assert isinstance(cut, Failed)
    assert cut.error.kind is ErrorKind.TRUNCATED
    assert cut.partial is not None
    assert cut.partial.text == "Hi"
    for pieces in ([begun, marker], [begun, marker, behind], [begun + marker + behind]):
        whole = await end_of(api, *pieces, array=array)
        assert isinstance(whole, Done)
        assert whole.response.text == "Hi!"


async def test_what_is_no_answer_is_none_however_it_is_cut() -> None:
    """Rubbish behind a JSON array fails the answer, whether it comes with the last object or after it."""
    whole = json.dumps([gemini("Hi", "STOP")]).encode()
    for pieces in ([whole + b"rubbish"], [whole, b"rubbish"]):
        last = await end_of("gemini", *pieces, array=True)
        assert isinstance(last, Failed)
        assert last.error.kind is ErrorKind.MALFORMED
