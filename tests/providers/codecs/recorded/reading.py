"""What a recorded answer says, read in the plainest way and without anything of the package."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.providers.codecs.recorded.exchanges import Exchange


@dataclass
class Said:
    """An answer by its own words; `calls` are id (or None), name and arguments."""

    text: str = ""
    thinking: list[str] = field(default_factory=list)  # piece by piece, each separate in the answer
    refusal: str = ""
    seals: list[str] = field(default_factory=list)
    citations: list[Any] = field(default_factory=list)
    opaque: list[Any] = field(default_factory=list)
    calls: list[tuple[str | None, str, Any]] = field(default_factory=list)
    raw_calls: list[str] | None = None  # the arguments' texts, where they came as texts
    usage: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int | None] = field(default_factory=dict)
    reason: str | None = None
    id: str | None = None
    model: str | None = None

    def read_usage(self, usage: dict[str, Any] | None) -> None:
        for name, value in (usage or {}).items():
            if value is not None or name not in self.usage:
                self.usage[name] = value


def frames(body: str) -> list[Any]:
    """The JSON of a streamed body, whichever way it is streamed, or of a whole one."""
    if body.lstrip().startswith(("[", "{")):
        value = json.loads(body)
        return value if isinstance(value, list) else [value]
    lines = [line[5:].strip() for line in body.splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def said(exchange: Exchange) -> Said:
    match exchange.wire:
        case "openai-chat":
            return _chat(exchange)
        case "openai-responses":
            return _responses(exchange)
        case "anthropic-messages":
            return _messages(exchange)
        case _:
            return _gemini(exchange)


def _chat(exchange: Exchange) -> Said:
    one = Said(raw_calls=[])
    calls: list[list[Any]] = []
    thinking = ""
    for frame in frames(exchange.body):
        one.id, one.model = one.id or frame.get("id"), one.model or frame.get("model")
        one.read_usage(frame.get("usage"))
        for choice in frame["choices"]:
            one.reason = choice["finish_reason"] or one.reason
            message = choice["delta"] if exchange.streamed else choice["message"]
            one.text += message.get("content") or ""
            one.refusal += message.get("refusal") or ""
            thinking += message.get("reasoning_content") or message.get("reasoning") or ""
            for position, call in enumerate(message.get("tool_calls") or []):
                number = call.get("index", position)
                while len(calls) <= number:
                    calls.append([None, "", ""])
                calls[number][0] = call.get("id") or calls[number][0]
                calls[number][1] = call["function"].get("name") or calls[number][1]
                calls[number][2] += call["function"].get("arguments") or ""
    one.thinking = [thinking] if thinking else []
    one.raw_calls = [raw for _, _, raw in calls]
    one.calls = [(id_, name, json.loads(raw or "{}")) for id_, name, raw in calls]
    usage, prompt = one.usage, one.usage.get("prompt_tokens_details") or {}
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
    one.counts = {
        "input_tokens": usage["prompt_tokens"],
        "output_tokens": usage["completion_tokens"],
        "cache_read_tokens": prompt.get("cached_tokens", usage.get("prompt_cache_hit_tokens")),
        "cache_write_tokens": prompt.get("cache_write_tokens"),
        "reasoning_tokens": reasoning,
    }
    return one


_FINAL = {"response.completed", "response.incomplete", "response.failed"}


def _responses(exchange: Exchange) -> Said:
    found = frames(exchange.body)
    answer = found[0] if not exchange.streamed else found[-1]["response"]
    assert not exchange.streamed or found[-1]["type"] in _FINAL
    one = Said(id=answer["id"], model=answer["model"], usage=answer["usage"], raw_calls=[])
    one.reason = (answer.get("incomplete_details") or {}).get("reason") or answer["status"]
    # What is encrypted is so anew in each frame; the item's own end is the one to keep.
    ends = {
        event["item"]["id"]: event["item"]
        for event in found
        if event.get("type") == "response.output_item.done"
    }
    for item in answer["output"]:
        match item["type"]:
            case "message":
                for block in item["content"]:
                    one.text += block.get("text", "")
                    one.refusal += block.get("refusal", "")
                    one.citations += block.get("annotations") or []
            case "reasoning":
                pieces = [*item["summary"], *(item.get("content") or [])]
                one.thinking.append("\n\n".join(piece["text"] for piece in pieces))
                kept = ends.get(item["id"], item).get("encrypted_content")
                one.seals += [kept] if kept else []
            case "function_call":
                one.calls.append((item["call_id"], item["name"], json.loads(item["arguments"])))
                one.raw_calls = [*(one.raw_calls or ()), item["arguments"]]
            case _:
                one.opaque.append(item)
    of_input, of_output = one.usage["input_tokens_details"], one.usage["output_tokens_details"]
    one.counts = {
        "input_tokens": one.usage["input_tokens"],
        "output_tokens": one.usage["output_tokens"],
        "cache_read_tokens": of_input.get("cached_tokens"),
        "cache_write_tokens": of_input.get("cache_write_tokens"),
        "reasoning_tokens": of_output["reasoning_tokens"],
    }
    return one


def _messages(exchange: Exchange) -> Said:
    one = Said()
    if exchange.streamed:
        blocks, message = _streamed_blocks(exchange, one)
    else:
        message = json.loads(exchange.body)
        blocks = message["content"]
        one.read_usage(message["usage"])
        one.reason = message["stop_reason"]
    one.id, one.model = message["id"], message["model"]
    for block in blocks:
        match block["type"]:
            case "text":
                one.text += block["text"]
                one.citations += block.get("citations") or []
            case "thinking":
                one.thinking.append(block["thinking"])
                one.seals.append(block["signature"])
            case "redacted_thinking":
                one.seals.append(block["data"])
            case "tool_use":
                one.calls.append((block["id"], block["name"], block["input"]))
            case _:
                one.opaque.append(block)
    read, written = (one.usage.get(f"cache_{kind}_input_tokens") for kind in ("read", "creation"))
    one.counts = {
        "input_tokens": one.usage["input_tokens"] + (read or 0) + (written or 0),
        "output_tokens": one.usage["output_tokens"],
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "reasoning_tokens": (one.usage.get("output_tokens_details") or {}).get("thinking_tokens"),
    }
    return one


def _streamed_blocks(exchange: Exchange, one: Said) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    blocks: dict[int, dict[str, Any]] = {}
    inputs: dict[int, str] = {}
    message: dict[str, Any] = {}
    for frame in frames(exchange.body):
        match frame["type"]:
            case "message_start":
                message = frame["message"]
                one.read_usage(message["usage"])
            case "message_delta":
                one.reason = frame["delta"]["stop_reason"]
                one.read_usage(frame["usage"])
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
                        raise AssertionError(f"nobody knows {other}")
    for index, text in inputs.items():
        if text:
            blocks[index]["input"] = json.loads(text)
    return list(blocks.values()), message


def _gemini(exchange: Exchange) -> Said:
    one = Said()
    thinking = ""
    for frame in frames(exchange.body):
        one.read_usage(frame.get("usageMetadata"))
        one.id, one.model = frame.get("responseId") or one.id, frame.get("modelVersion") or one.model
        candidate = (frame.get("candidates") or [{}])[0]
        one.reason = candidate.get("finishReason") or one.reason
        for part in candidate.get("content", {}).get("parts", ()):
            one.seals += [part["thoughtSignature"]] if "thoughtSignature" in part else []
            if part.get("thought"):
                thinking += part["text"]
            elif "text" in part:
                one.text += part["text"]
            elif call := part.get("functionCall"):
                one.calls.append((call.get("id"), call["name"], call.get("args", {})))
            else:
                one.opaque.append({name: part[name] for name in part.keys() - {"thoughtSignature"}})
    one.thinking = [thinking] if thinking else []
    count = one.usage.get
    spoken, thoughts = count("candidatesTokenCount"), count("thoughtsTokenCount")
    one.counts = {
        "input_tokens": one.usage["promptTokenCount"] + (count("toolUsePromptTokenCount") or 0),
        "output_tokens": (spoken or 0) + (thoughts or 0),  # left out where it is nothing
        "cache_read_tokens": count("cachedContentTokenCount"),
        "cache_write_tokens": None,
        "reasoning_tokens": thoughts,
    }
    return one
