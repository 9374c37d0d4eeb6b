"""Prepared streamed answers on the four wires, and a transport that gives them without a network.

The texts have the sizes that the vendors send: OpenAI a token a chunk, Anthropic some words, Gemini
some lines. A transport hands out one frame per read, as a model that is slower than the network does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from itertools import cycle, islice
from typing import Any, Final

from benchmarks.contract import Effort, Violation

CHUNKS: Final = 2_000

_TOKENS: Final = ("Here", " is", " a", " list", " of", " all", " states", ":\n\n", "1", ".", " Alabama", "\n")
_WORDS: Final = (
    " all 50 U.S. states in",
    " alphab",
    "etical order:\n\n1. Alabama",
    "\n2. Alaska\n3. Arizona",
)
_LINES: Final = (
    " complete stop. Make eye contact with the driver before you step into the street to be sure they see"
    " you.\n\nThe",
    " most important rule is to **stay alert and be predictable**. Always assume a driver might not see you",
    " from the sidewalk: a car that seems far away may be faster than it looks, so wait until it has gone.",
)
# A figure is CPU per chunk: the clock of processes must have moved well beyond its grain.
_CPU_SECONDS: Final = 0.3

Read = Callable[[], Awaitable[str]]
"""Asks once for the prepared answer and gives its whole text as the library gave it out."""


def pieces(wire: str, count: int = CHUNKS) -> list[str]:
    """The texts of an answer's chunks."""
    texts = {"openai_chat": _TOKENS, "openai_responses": _TOKENS, "anthropic": _WORDS, "gemini": _LINES}
    return list(islice(cycle(texts[wire]), count))


@cache
def frames(wire: str, count: int = CHUNKS) -> list[bytes]:
    """The answer as its server-sent events, one by one."""
    makers = {
        "openai_chat": _chat,
        "openai_responses": _responses,
        "anthropic": _messages,
        "gemini": _gemini,
    }
    return makers[wire](pieces(wire, count))


async def us_per_chunk(readers: Mapping[str, Read], effort: Effort) -> dict[str, float]:
    """CPU of this process per chunk on each wire, in microseconds; every text must come out whole."""
    figures = {}
    for wire, read in readers.items():
        expected = "".join(pieces(wire))
        enough = effort.seconds(_CPU_SECONDS, least=0.0)
        streams, begun = 0, time.process_time()
        while not streams or time.process_time() - begun < enough:
            if await read() != expected:
                raise Violation(f"the text of {wire} came out differently")
            streams += 1
        figures[f"us_per_chunk_{wire}"] = (time.process_time() - begun) * 1e6 / (streams * CHUNKS)
    return figures


def client(http: Any, wire: str) -> Any:
    """An asynchronous client of `http` (httpx or httpx2) to whose every request the answer comes."""

    class Body(http.AsyncByteStream):  # type: ignore[misc]
        async def __aiter__(self) -> Any:
            for frame in frames(wire):
                yield frame

    class Prepared(http.AsyncBaseTransport):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:
            return http.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())

    return http.AsyncClient(transport=Prepared(), timeout=60.0)


def _event(data: Mapping[str, Any], name: str = "", end: str = "\n") -> bytes:
    head = f"event: {name}{end}" if name else ""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"{head}data: {text}{end}{end}".encode()


def _chat(texts: list[str]) -> list[bytes]:
    steady = {
        "id": "chatcmpl-CoDWrtI8PdwqcWy1h8p0otdSfbaMt",
        "object": "chat.completion.chunk",
        "created": 1766084441,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "system_fingerprint": "fp_e413f45763",
        "usage": None,
    }

    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event(steady | {"choices": [choice]})

    count = len(texts)
    usage = {"prompt_tokens": 14, "completion_tokens": count, "total_tokens": 14 + count}
    return [
        chunk({"role": "assistant", "content": "", "refusal": None}),
        *(chunk({"content": text}) for text in texts),
        chunk({}, "stop"),
        _event(steady | {"choices": [], "usage": usage}),
        b"data: [DONE]\n\n",
    ]


def _responses(texts: list[str]) -> list[bytes]:
    item_id = "msg_08e1aa358b9a82e50068f966c722948197a193065389346e89"
    place = {"item_id": item_id, "output_index": 0, "content_index": 0}
    text = "".join(texts)
    response: dict[str, Any] = {
        "id": "resp_08e1aa358b9a82e50068f966c692d081978dca84b3c9d6fdcf",
        "object": "response",
        "created_at": 1761175238,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": "gpt-4o-2024-08-06",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1.0,
        "top_p": 1.0,
        "metadata": {},
        "usage": None,
    }
    item: dict[str, Any] = {"id": item_id, "type": "message", "role": "assistant", "status": "in_progress"}
    begun = item | {"content": []}
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    whole = item | {"status": "completed", "content": [part | {"text": text}]}
    count = len(texts)
    usage = {
        "input_tokens": 14,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": count,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 14 + count,
    }
    ended = response | {"status": "completed", "output": [whole], "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response},
        {"type": "response.in_progress", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.content_part.added", **place, "part": part},
        *({"type": "response.output_text.delta", **place, "delta": one, "logprobs": []} for one in texts),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part | {"text": text}},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "response.completed", "response": ended},
    ]
    return [
        _event({"type": one["type"], "sequence_number": number, **one}, one["type"])
        for number, one in enumerate(events)
    ]


def _messages(texts: list[str]) -> list[bytes]:
    def event(type_: str, **fields: Any) -> bytes:
        return _event({"type": type_, **fields}, type_)

    usage = {"input_tokens": 15, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    message: dict[str, Any] = {
        "model": "claude-sonnet-4-20250514",
        "id": "msg_012pLPpz76dZWWux5wWGAf7U",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage | {"output_tokens": 1, "service_tier": "standard"},
    }
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        event("message_start", message=message),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("ping"),
        *(event("content_block_delta", index=0, delta={"type": "text_delta", "text": one}) for one in texts),
        event("content_block_stop", index=0),
        event("message_delta", delta=ended, usage=usage | {"output_tokens": len(texts)}),
        event("message_stop"),
    ]


def _gemini(texts: list[str]) -> list[bytes]:
    def chunk(number: int, text: str) -> bytes:
        candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}}
        if number == len(texts) - 1:
            candidate["finishReason"] = "STOP"
        tokens = 20 * (number + 1)
        usage = {
            "promptTokenCount": 34,
            "candidatesTokenCount": tokens,
            "totalTokenCount": 34 + tokens,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 34}],
        }
        about = {"modelVersion": "gemini-2.5-pro", "responseId": "beHBaJfEMIi-qtsP3769-Q8"}
        answer = {"candidates": [candidate | {"index": 0}], "usageMetadata": usage, **about}
        return _event(answer, end="\r\n")

    return [chunk(number, text) for number, text in enumerate(texts)]
