"""One answer per protocol that shows all it can, as frames of a stream and in one piece."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from llmgine.providers.catalogue.quirks import PLAIN
from llmgine.providers.codecs import (
    AnthropicMessagesCodec,
    Codec,
    GeminiCodec,
    OpenAIChatCodec,
    OpenAIResponsesCodec,
    Target,
)
from llmgine.providers.events import StreamEvent
from llmgine.providers.frames import SseSplitter

TARGET = Target("somewhere", "some-model")

Frame = tuple[str, dict[str, Any] | bytes]


def numbered() -> Callable[[], str]:
    """Ids of calls that are the same in each run."""
    numbers = itertools.count(1)
    return lambda: f"made_{next(numbers)}"


@dataclass(frozen=True)
class Case:
    """One protocol: its codec, a stream that shows all it can, and the same answer in one piece.

    `first_end_marker` is the frame from which on the answer counts as whole; a protocol that does not
    `close` may say more after it, until the body ends. `text` are frames of an answer of these texts.
    """

    name: str
    codec: Callable[[], Codec]
    frames: list[Frame]
    body: dict[str, Any]
    first_end_marker: int
    text: Callable[[list[str]], list[Frame]]
    closes: bool = True

    def payloads(self, frames: list[Frame] | None = None) -> list[tuple[str, bytes]]:
        return [
            (event, data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode())
            for event, data in (self.frames if frames is None else frames)
        ]

    def wire(self, frames: list[Frame] | None = None) -> bytes:
        named = [
            (f"event: {event}\n".encode() if event else b"", data) for event, data in self.payloads(frames)
        ]
        return b"".join(head + b"data: " + data + b"\n\n" for head, data in named)

    def play(self, *chunks: bytes) -> list[StreamEvent]:
        splitter, decoder = SseSplitter(), self.codec().decoder(TARGET)
        events = [
            event for chunk in chunks for frame in splitter.feed(chunk) for event in decoder.feed(*frame)
        ]
        splitter.end()
        return events + decoder.end()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces; places beyond its end count around."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(edges)]


def chat(delta: dict[str, Any], reason: str | None = None, **fields: Any) -> Frame:
    return "", {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **fields}


CHAT_USAGE = {"prompt_tokens": 4, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 1}}
CHAT_FRAMES: list[Frame] = [
    chat({"role": "assistant", "content": ""}),
    chat({"reasoning_content": "hm "}),
    chat({"reasoning_content": "😀"}),
    chat({"content": "Grüße"}),
    chat({"content": ", 世界"}),
    chat({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "weather", "arguments": ""}}]}),
    chat({"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]}),
    chat({"tool_calls": [{"index": 1, "function": {"name": "weather", "arguments": "{}"}}]}),
    chat({"tool_calls": [{"index": 0, "function": {"arguments": '"Köln"}'}}]}),
    chat({}, "tool_calls"),
    ("", {"id": "c", "choices": [], "usage": CHAT_USAGE}),
    ("", b"[DONE]"),
]
CHAT_CALL = {"id": "a", "function": {"name": "weather", "arguments": '{"city": "Köln"}'}}
CHAT_BODY: dict[str, Any] = {
    "id": "c",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Grüße, 世界",
                "reasoning_content": "hm 😀",
                "tool_calls": [CHAT_CALL, {"function": {"name": "weather", "arguments": "{}"}}],
            },
            "finish_reason": "tool_calls",
        }
    ],
    "usage": CHAT_USAGE,
}


def chat_text(texts: list[str]) -> list[Frame]:
    return [*(chat({"content": text}) for text in texts), chat({}, "stop"), ("", b"[DONE]")]


def event(type_: str, **fields: Any) -> Frame:
    return type_, {"type": type_, **fields}


def piece(output: int, kind: str, **fields: Any) -> Frame:
    return event(f"response.{kind}", output_index=output, item_id=f"item-{output}", **fields)


def item(output: int, step: str, fields: dict[str, Any]) -> Frame:
    return event(f"response.output_item.{step}", output_index=output, item=fields)


def of(output: int, type_: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"item-{output}", "type": type_, "status": "completed", **fields}


RESPONSES_USAGE = {
    "input_tokens": 4,
    "input_tokens_details": {"cached_tokens": 1},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 13,
}
CITED = {"type": "url_citation", "url": "https://x.test", "title": "X", "start_index": 0, "end_index": 5}
SPOKEN = {"type": "output_text", "text": "Grüße, 世界", "annotations": [CITED]}
RESPONSES_OUTPUT: list[dict[str, Any]] = [
    of(0, "reasoning", summary=[{"type": "summary_text", "text": "hm 😀"}], encrypted_content="sealed"),
    of(1, "web_search_call", action={"type": "search", "query": "q"}),
    of(2, "message", role="assistant", content=[SPOKEN]),
    of(3, "function_call", call_id="a", name="weather", arguments='{"city": "Köln"}'),
    of(4, "function_call", call_id="b", name="weather", arguments="{}"),
]
RESPONSES_BODY: dict[str, Any] = {
    "id": "r",
    "object": "response",
    "status": "completed",
    "output": RESPONSES_OUTPUT,
    "usage": RESPONSES_USAGE,
}
RESPONSES_FRAMES: list[Frame] = [
    event("response.created", response={"id": "r", "status": "in_progress", "output": []}),
    item(0, "added", of(0, "reasoning", summary=[])),
    piece(0, "reasoning_summary_text.delta", summary_index=0, delta="hm "),
    piece(0, "reasoning_summary_text.delta", summary_index=0, delta="😀"),
    item(0, "done", RESPONSES_OUTPUT[0]),
    item(1, "added", of(1, "web_search_call")),
    piece(1, "web_search_call.searching"),
    item(1, "done", RESPONSES_OUTPUT[1]),
    item(2, "added", of(2, "message", role="assistant", content=[])),
    piece(2, "content_part.added", content_index=0, part=SPOKEN | {"text": "", "annotations": []}),
    piece(2, "output_text.delta", content_index=0, delta="Grüße"),
    piece(2, "output_text.annotation.added", content_index=0, annotation_index=0, annotation=CITED),
    piece(2, "output_text.delta", content_index=0, delta=", 世界"),
    piece(2, "output_text.done", content_index=0, text="Grüße, 世界"),
    item(2, "done", RESPONSES_OUTPUT[2]),
    item(3, "added", of(3, "function_call", call_id="a", name="weather", arguments="")),
    piece(3, "function_call_arguments.delta", delta='{"city": '),
    piece(3, "function_call_arguments.delta", delta='"Köln"}'),
    item(3, "done", RESPONSES_OUTPUT[3]),
    item(4, "added", of(4, "function_call", call_id="b", name="weather", arguments="")),
    item(4, "done", RESPONSES_OUTPUT[4]),
    event("response.completed", response=RESPONSES_BODY),
]


def responses_text(texts: list[str]) -> list[Frame]:
    block = {"type": "output_text", "text": "".join(texts), "annotations": []}
    whole = of(0, "message", role="assistant", content=[block])
    ended = {"id": "r", "status": "completed", "output": [whole], "usage": RESPONSES_USAGE}
    return [
        item(0, "added", of(0, "message", role="assistant", content=[])),
        *(piece(0, "output_text.delta", content_index=0, delta=text) for text in texts),
        item(0, "done", whole),
        event("response.completed", response=ended),
    ]


def delta(index: int, type_: str, **fields: Any) -> Frame:
    return event("content_block_delta", index=index, delta={"type": type_, **fields})


def start(index: int, type_: str, **fields: Any) -> Frame:
    return event("content_block_start", index=index, content_block={"type": type_, **fields})


MESSAGES_USAGE = {"input_tokens": 4, "output_tokens": 1}
SEARCH = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}
MESSAGES_FRAMES: list[Frame] = [
    event("message_start", message={"id": "m", "content": [], "usage": MESSAGES_USAGE}),
    start(0, "thinking", thinking="", signature=""),
    event("ping"),
    delta(0, "thinking_delta", thinking="hm "),
    delta(0, "thinking_delta", thinking="😀"),
    delta(0, "signature_delta", signature="sig"),
    event("content_block_stop", index=0),
    start(1, "server_tool_use", id="s", name="web_search", input={}),
    delta(1, "input_json_delta", partial_json='{"query": "q"}'),
    event("content_block_stop", index=1),
    start(2, "text", text=""),
    delta(2, "text_delta", text="Grüße"),
    delta(2, "citations_delta", citation={"type": "char_location"}),
    delta(2, "text_delta", text=", 世界"),
    event("content_block_stop", index=2),
    start(3, "tool_use", id="a", name="weather", input={}),
    delta(3, "input_json_delta", partial_json='{"city": '),
    delta(3, "input_json_delta", partial_json='"Köln"}'),
    event("content_block_stop", index=3),
    start(4, "tool_use", id="b", name="weather", input={}),
    event("content_block_stop", index=4),
    event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 9}),
    event("message_stop"),
]
MESSAGES_BODY: dict[str, Any] = {
    "id": "m",
    "type": "message",
    "content": [
        {"type": "thinking", "thinking": "hm 😀", "signature": "sig"},
        SEARCH,
        {"type": "text", "text": "Grüße, 世界", "citations": [{"type": "char_location"}]},
        {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Köln"}},
        {"type": "tool_use", "id": "b", "name": "weather", "input": {}},
    ],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 4, "output_tokens": 9},
}


def messages_text(texts: list[str]) -> list[Frame]:
    return [
        event("message_start", message={"id": "m", "content": [], "usage": MESSAGES_USAGE}),
        start(0, "text", text=""),
        *(delta(0, "text_delta", text=text) for text in texts),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9}),
        event("message_stop"),
    ]


def gemini(*parts: dict[str, Any], **fields: Any) -> Frame:
    candidate = {"content": {"role": "model", "parts": list(parts)}, **fields}
    return "", {"responseId": "g", "candidates": [candidate], "usageMetadata": {"promptTokenCount": 4}}


GEMINI_USAGE = {
    "promptTokenCount": 4,
    "candidatesTokenCount": 7,
    "thoughtsTokenCount": 2,
    "cachedContentTokenCount": 1,
}
GEMINI_CALLS: list[dict[str, Any]] = [
    {"functionCall": {"id": "a", "name": "weather", "args": {"city": "Köln"}}, "thoughtSignature": "c2ln"},
    {"functionCall": {"name": "weather", "args": {}}},
]
GEMINI_CODE = {"executableCode": {"language": "PYTHON", "code": "1"}}
GEMINI_FRAMES: list[Frame] = [
    gemini({"text": "hm ", "thought": True}),
    gemini({"text": "😀", "thought": True}),
    gemini(GEMINI_CODE),
    gemini({"text": "Grüße"}),
    gemini({"text": ", 世界"}),
    gemini(GEMINI_CALLS[0]),
    gemini(GEMINI_CALLS[1], finishReason="STOP"),
    ("", {"responseId": "g", "usageMetadata": GEMINI_USAGE}),
]
GEMINI_BODY: dict[str, Any] = {
    "responseId": "g",
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "hm 😀", "thought": True},
                    GEMINI_CODE,
                    {"text": "Grüße, 世界"},
                    *GEMINI_CALLS,
                ],
            },
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": GEMINI_USAGE,
}


def gemini_text(texts: list[str]) -> list[Frame]:
    return [*(gemini({"text": text}) for text in texts), gemini({"text": ""}, finishReason="STOP")]


CASES = [
    Case(
        "openai-chat",
        lambda: OpenAIChatCodec(new_id=numbered()),
        CHAT_FRAMES,
        CHAT_BODY,
        9,
        chat_text,
    ),
    Case(
        "compatible",
        lambda: OpenAIChatCodec(PLAIN, new_id=numbered()),
        CHAT_FRAMES,
        CHAT_BODY,
        9,
        chat_text,
    ),
    Case(
        "openai-responses",
        lambda: OpenAIResponsesCodec(new_id=numbered()),
        RESPONSES_FRAMES,
        RESPONSES_BODY,
        21,
        responses_text,
    ),
    Case(
        "anthropic-messages",
        lambda: AnthropicMessagesCodec(new_id=numbered()),
        MESSAGES_FRAMES,
        MESSAGES_BODY,
        22,
        messages_text,
    ),
    Case(
        "gemini",
        lambda: GeminiCodec(new_id=numbered()),
        GEMINI_FRAMES,
        GEMINI_BODY,
        6,
        gemini_text,
        closes=False,
    ),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
