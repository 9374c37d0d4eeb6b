"""A streamed answer as Chat Completions tell it, chunk by chunk."""

from __future__ import annotations

from typing import Any

from llmgine.actors.gateway.vendor.chat.response import annotation, finish_reason, usage
from llmgine.actors.gateway.vendor.frames import Frame
from llmgine.actors.gateway.vendor.ordering import PartEvent
from llmgine.providers.contracts import AnyPart, LLMResponse, RefusalPart, TextPart, ToolCallPart
from llmgine.providers.events import (
    PartDone,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)


class ChatStream:
    """Turns the events of one call into the frames of its answer.

    A refusal is known as one only when it is whole: it is streamed as content, and told again as a refusal.
    """

    def __init__(self, *, id: str, created: int, model: str, include_usage: bool) -> None:
        self._head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._include_usage = include_usage
        self._calls: dict[int, int] = {}  # the place of each call among the calls, by its part's index
        self._argued: set[int] = set()
        self._said = 0  # characters of the text parts that are whole

    def begin(self) -> list[Frame]:
        return [self._chunk({"role": "assistant", "content": "", "refusal": None})]

    def event(self, event: PartEvent) -> list[Frame]:
        """The frames of an event that is not the last one."""
        match event:
            case TextDelta(text=text):
                return [self._chunk({"content": text})]
            case ThinkingDelta(text=text):
                return [self._chunk({"reasoning_content": text})]
            case ToolCallStart(index, id_, name):
                return [self._call(index, id_, name)]
            case ToolCallDelta(index, arguments):
                self._argued.add(index)
                return [self._arguments(index, arguments)]
            case PartDone(index, part):
                return self._whole(index, part)
        return []

    def end(self, response: LLMResponse) -> list[Frame]:
        """The frames of the end; the last one is no JSON."""
        last = self._choice({}, finish_reason(response))
        if logprobs := response.provider_data.get("logprobs"):
            last["logprobs"] = logprobs
        frames = [self._framed([last])]
        if self._include_usage:
            frames.append(self._framed([], usage=usage(response.usage)))
        return [*frames, Frame("[DONE]")]

    def failed(self, error: dict[str, Any]) -> list[Frame]:
        """The frames of an error in the midst of the answer; `error` is the vendor's body of one."""
        return [Frame(error)]

    def _whole(self, index: int, part: AnyPart) -> list[Frame]:
        """What the deltas of a part have not told."""
        match part:
            case RefusalPart(text=text):
                return [self._chunk({"refusal": text})]
            case TextPart(text=text, citations=citations):
                before, self._said = self._said, self._said + len(text)
                told = [annotation(one, before) for one in citations if one.url is not None]
                return [self._chunk({"annotations": told})] if told else []
            case ToolCallPart() if index in self._calls and index not in self._argued:
                return [self._arguments(index, part.raw_arguments or "{}")]
        return []

    def _call(self, index: int, id_: str, name: str) -> Frame:
        place = self._calls.setdefault(index, len(self._calls))
        call = {"index": place, "id": id_, "type": "function", "function": {"name": name, "arguments": ""}}
        return self._chunk({"tool_calls": [call]})

    def _arguments(self, index: int, arguments: str) -> Frame:
        call = {"index": self._calls[index], "function": {"arguments": arguments}}
        return self._chunk({"tool_calls": [call]})

    def _chunk(self, delta: dict[str, Any]) -> Frame:
        return self._framed([self._choice(delta, None)])

    def _choice(self, delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}

    def _framed(self, choices: list[dict[str, Any]], **others: Any) -> Frame:
        told = {**self._head, "choices": choices, **others}
        if self._include_usage and "usage" not in others:
            told["usage"] = None
        return Frame(told)
