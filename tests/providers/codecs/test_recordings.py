"""Real answers of real providers through the codecs; what comes out is compared with what was sent.

The reference side reads the recordings on its own, line by line with `json`, and shares nothing
with the package.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from llmgine.providers.codecs import AnthropicMessagesCodec, Codec, OpenAIChatCodec, Target
from llmgine.providers.contracts import (
    LLMRequest,
    LLMResponse,
    Message,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolResultPart,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase
from llmgine.providers.events import Done, PartDone, StreamEvent, TextDelta, ThinkingDelta
from llmgine.providers.frames.sse import SseSplitter

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("RECORDINGS") or ROOT.parent / "shared" / "recordings")


@dataclass(frozen=True)
class Exchange:
    name: str
    anthropic: bool
    compatible: bool
    status: int
    headers: dict[str, str]
    body: str

    @property
    def codec(self) -> Codec:
        return AnthropicMessagesCodec() if self.anthropic else OpenAIChatCodec(self.compatible)

    @property
    def target(self) -> Target:
        return Target("anthropic" if self.anthropic else "openai", "recorded")

    @property
    def streamed(self) -> bool:
        return self.status < 300 and not self.body.lstrip().startswith("{")


def exchanges() -> list[Exchange]:
    found: list[Exchange] = []
    index = FOLDER / "index.json"
    entries = json.loads(index.read_text()) if index.exists() else []
    for entry in entries:
        file = entry["file"]
        interactions = json.loads((FOLDER / file).read_text())["interactions"]
        for number, interaction in enumerate(interactions):
            url = urlsplit(interaction.get("url") or "")
            body = interaction.get("body") or ""
            unnamed = not url.path and '"chat.completion"' in body
            anthropic = url.path.endswith("/messages")
            if anthropic or unnamed or url.path.endswith("/chat/completions"):
                found.append(
                    Exchange(
                        name=f"{file}-{number}",
                        anthropic=anthropic,
                        compatible=url.netloc != "api.openai.com" or "openai_compat" in file,
                        status=interaction["status"],
                        headers=interaction.get("headers") or {},
                        body=body,
                    )
                )
    return found


ALL = exchanges()
STREAMS = [exchange for exchange in ALL if exchange.streamed]
BODIES = [exchange for exchange in ALL if exchange.status < 300 and not exchange.streamed]
ERRORS = [exchange for exchange in ALL if exchange.status >= 300]


def each(found: list[Exchange]) -> pytest.MarkDecorator:
    absent = pytest.param(None, marks=pytest.mark.skip(reason=f"no recordings in {FOLDER}"))
    return pytest.mark.parametrize(
        "exchange", found or [absent], ids=lambda exchange: getattr(exchange, "name", "none")
    )


@dataclass
class Reference:
    """What an answer says, read in the plainest way."""

    texts: list[str] = field(default_factory=list)
    thinking: str = ""
    refusal: str = ""
    signatures: list[str] = field(default_factory=list)
    citations: list[Any] = field(default_factory=list)
    opaque: list[dict[str, Any]] = field(default_factory=list)
    calls: list[list[str]] = field(default_factory=list)  # id, name, JSON text
    usage: dict[str, Any] = field(default_factory=dict)
    parsed: bool = False  # the arguments came as values, so that their text is ours
    reason: str | None = None
    id: str | None = None
    model: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def read_usage(self, usage: dict[str, Any] | None) -> None:
        for name, value in (usage or {}).items():
            if value is not None or name not in self.usage:
                self.usage[name] = value


def payloads(body: str) -> list[Any]:
    lines = [line[5:].strip() for line in body.split("\n") if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def chat_reference(exchange: Exchange) -> Reference:
    said = Reference()
    for frame in payloads(exchange.body) if exchange.streamed else [json.loads(exchange.body)]:
        said.id, said.model = said.id or frame.get("id"), said.model or frame.get("model")
        said.read_usage(frame.get("usage"))
        for choice in frame["choices"]:
            said.reason = choice["finish_reason"] or said.reason
            message = choice["delta"] if exchange.streamed else choice["message"]
            said.texts.append(message.get("content") or "")
            said.refusal += message.get("refusal") or ""
            said.thinking += message.get("reasoning_content") or message.get("reasoning") or ""
            for position, call in enumerate(message.get("tool_calls") or []):
                number = call.get("index", position)
                while len(said.calls) <= number:
                    said.calls.append(["", "", ""])
                said.calls[number][0] = call.get("id") or said.calls[number][0]
                said.calls[number][1] = call["function"].get("name") or said.calls[number][1]
                said.calls[number][2] += call["function"].get("arguments") or ""
    return said


def messages_reference(exchange: Exchange) -> Reference:
    said = Reference(parsed=True)
    if exchange.streamed:
        blocks, message = streamed_blocks(exchange, said)
    else:
        message = json.loads(exchange.body)
        blocks = message["content"]
        said.read_usage(message["usage"])
        said.reason = message["stop_reason"]
    said.id, said.model = message["id"], message["model"]
    for block in blocks:
        match block["type"]:
            case "text":
                said.texts.append(block["text"])
                said.citations += block.get("citations") or []
            case "thinking":
                said.thinking += block["thinking"]
                said.signatures.append(block["signature"])
            case "redacted_thinking":
                said.signatures.append(block["data"])
            case "tool_use":
                said.calls.append([block["id"], block["name"], json.dumps(block["input"])])
            case _:
                said.opaque.append(block)
    return said


def streamed_blocks(exchange: Exchange, said: Reference) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    blocks: dict[int, dict[str, Any]] = {}
    inputs: dict[int, str] = {}
    message: dict[str, Any] = {}
    for frame in payloads(exchange.body):
        match frame["type"]:
            case "message_start":
                message = frame["message"]
                said.read_usage(message["usage"])
            case "message_delta":
                said.reason = frame["delta"]["stop_reason"]
                said.read_usage(frame["usage"])
            case "content_block_start":
                blocks[frame["index"]] = frame["content_block"]
            case "content_block_delta":
                block, delta = blocks[frame["index"]], frame["delta"]
                match delta["type"]:
                    case "text_delta":
                        block["text"] += delta["text"]
                    case "thinking_delta":
                        block["thinking"] += delta["thinking"]
                    case "signature_delta":
                        block["signature"] += delta["signature"]
                    case "citations_delta":
                        block.setdefault("citations", []).append(delta["citation"])
                    case "input_json_delta":
                        inputs[frame["index"]] = inputs.get(frame["index"], "") + delta["partial_json"]
                    case other:
                        raise AssertionError(f"the reference does not know {other}")
    for index, text in inputs.items():
        if text:
            blocks[index]["input"] = json.loads(text)
    return list(blocks.values()), message


def reference(exchange: Exchange) -> Reference:
    return messages_reference(exchange) if exchange.anthropic else chat_reference(exchange)


def check(response: LLMResponse, said: Reference) -> None:
    parts = response.message.parts
    thoughts = [part for part in parts if isinstance(part, ThinkingPart)]
    assert response.text == said.text
    assert "".join(part.text for part in parts if isinstance(part, RefusalPart)) == said.refusal
    assert "".join(part.text for part in thoughts) == said.thinking
    assert [
        part.signature or part.redacted for part in thoughts if part.signature or part.redacted
    ] == said.signatures
    assert [cite for part in parts if isinstance(part, TextPart) for cite in part.citations] == said.citations
    assert [part.data for part in parts if part.type == "opaque"] == said.opaque
    assert [(call.id, call.name, call.arguments) for call in response.tool_calls] == [
        (id_, name, json.loads(raw or "{}")) for id_, name, raw in said.calls
    ]
    if not said.parsed:
        assert [call.raw_arguments for call in response.tool_calls] == [raw for _, _, raw in said.calls]
    assert all(call.id_source == "provider" for call in response.tool_calls)
    assert response.usage.raw == said.usage
    assert response.finish_reason_raw == said.reason
    assert (response.response_id, response.model) == (said.id, said.model)


def check_usage(response: LLMResponse, exchange: Exchange) -> None:
    usage, raw = response.usage, response.usage.raw
    if exchange.anthropic:
        cached = (raw.get("cache_read_input_tokens") or 0) + (raw.get("cache_creation_input_tokens") or 0)
        assert (usage.input_tokens, usage.output_tokens) == (
            raw["input_tokens"] + cached,
            raw["output_tokens"],
        )
    else:
        assert (usage.input_tokens, usage.output_tokens) == (raw["prompt_tokens"], raw["completion_tokens"])


def check_replay(response: LLMResponse, exchange: Exchange) -> None:
    """A follow-up with the reply in it encodes, here without loss and elsewhere with every loss noted."""
    results = tuple(
        ToolResultPart(call_id=call.id, name=call.name, content=(TextPart(text="42"),))
        for call in response.tool_calls
    )
    follow_up = (Message(role="tool", parts=results),) if results else ()
    request = LLMRequest(
        model="x/recorded", messages=(Message.user("q"), response.message, *follow_up, Message.user("and?"))
    )
    here = exchange.codec.encode(request, exchange.target)
    assert here.adjustments == ()
    assert json.dumps(here.body) == json.dumps(exchange.codec.encode(request, exchange.target).body)
    sent = json.dumps(here.body, ensure_ascii=False)
    for call in response.tool_calls:
        assert call.name in sent
    for other in (OpenAIChatCodec(), OpenAIChatCodec(True), AnthropicMessagesCodec()):
        away = other.encode(request, Target("elsewhere", "other"))
        kept = sum(part.type in ("text", "tool_call", "refusal") for part in response.message.parts)
        assert kept + len(away.adjustments) >= len(response.message.parts)


def replay(exchange: Exchange, size: int) -> list[StreamEvent]:
    data, splitter, decoder = exchange.body.encode(), SseSplitter(), exchange.codec.decoder(exchange.target)
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    events = [event for chunk in chunks for frame in splitter.feed(chunk) for event in decoder.feed(*frame)]
    assert splitter.end() is False
    return events + decoder.end()


@each(STREAMS)
def test_streams_lose_nothing(exchange: Exchange) -> None:
    """A recorded stream gives its text, calls, reasoning, usage and reason."""
    events = replay(exchange, 1000)
    done = events[-1]
    assert isinstance(done, Done), done
    said = reference(exchange)
    check(done.response, said)
    check_usage(done.response, exchange)
    check_replay(done.response, exchange)
    assert "unknown_events" not in done.response.provider_data
    assert tuple(event.part for event in events if isinstance(event, PartDone)) == done.response.message.parts
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == said.text + said.refusal
    assert "".join(event.text for event in events if isinstance(event, ThinkingDelta)) == said.thinking


@each(STREAMS)
def test_streams_are_the_same_however_they_were_cut(exchange: Exchange) -> None:
    """Large and tiny pieces of a recorded stream give the same events."""
    assert replay(exchange, 1 << 20) == replay(exchange, 7)


@each(BODIES)
def test_bodies_lose_nothing(exchange: Exchange) -> None:
    """A recorded answer in one piece gives the same."""
    response = exchange.codec.decode_body(exchange.target, exchange.body.encode())
    check(response, reference(exchange))
    check_usage(response, exchange)
    check_replay(response, exchange)


@each(ERRORS)
def test_errors_say_what_they_mean(exchange: Exchange) -> None:
    """A recorded error answer has its kind, the vendor's words and the request's id."""
    error = exchange.codec.decode_error(
        exchange.target, exchange.status, exchange.headers, exchange.body.encode(), ErrorPhase.PRE_TOKEN
    )
    said = json.loads(exchange.body)["error"]
    kinds = {401: ErrorKind.AUTHENTICATION, 400: ErrorKind.INVALID_REQUEST, 404: ErrorKind.NOT_FOUND}
    assert error.kind is kinds[exchange.status]
    assert error.message == said["message"]
    assert error.code == (said.get("code") or said["type"])
    sent = exchange.headers.get("request-id") or exchange.headers.get("x-request-id")
    assert error.request_id == sent
    assert not error.retryable
