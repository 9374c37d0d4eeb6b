"""Chat Completions, from the server's side."""

from __future__ import annotations

import json
from typing import Any

from tests.providers.faults.said import Heard, Novelty, Piece, Said, Text, Thought, ToolUse
from tests.providers.faults.wire import BROKEN, blocks, halves, sse

_FINISH = {"stop": "stop", "tools": "tool_calls", "length": "length"}


class ChatWire:
    """OpenAI's older protocol, and that of all compatible servers."""

    def heard(self, body: dict[str, Any]) -> Heard:
        heard = Heard()
        for message in body["messages"]:
            self._message(message, heard)
        for tool in body.get("tools", ()):
            heard.tools[tool["function"]["name"]] = tool["function"]["parameters"]
        choice = body.get("tool_choice", "auto")
        heard.choice = choice if isinstance(choice, str) else choice["function"]["name"]
        wanted = body.get("response_format", {})
        heard.output = wanted["json_schema"]["schema"] if wanted.get("type") == "json_schema" else None
        return heard

    def _message(self, message: dict[str, Any], heard: Heard) -> None:
        role = message["role"]
        for block in blocks(message.get("content")):
            text = block.get("text", "")
            if role in ("system", "developer"):
                heard.system += text
            elif role == "tool":
                heard.turns.append(("tool", "result", text))
            elif block["type"] == "image_url":
                heard.turns.append((role, "image", block["image_url"]["url"].partition(";")[0]))
            else:
                heard.turns.append((role, block["type"], text))
        for call in message.get("tool_calls") or ():
            function = call["function"]
            told = f"{function['name']} {json.dumps(json.loads(function['arguments']))}"
            heard.turns.append((role, "call", told))

    def frames(self, said: Said) -> list[str]:
        usage = self._usage(said)
        finish = {"delta": {}, "finish_reason": _FINISH[said.finish]}
        frames = [_frame({"delta": {"role": "assistant", "content": ""}})]
        for piece in said.pieces:
            frames += [_frame({"delta": delta}) for delta in _deltas(piece, said)]
        if said.odd_usage:
            return [*frames, _frame(finish, usage=usage), "data: [DONE]\n\n"]
        return [*frames, _frame(finish), _frame(None, usage=usage), "data: [DONE]\n\n"]

    def body(self, said: Said) -> dict[str, Any]:
        text = "".join("".join(piece.chunks) for piece in said.pieces if isinstance(piece, Text))
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if said.calls:
            message["tool_calls"] = [_call(use, 0) for use in said.calls]
        return {
            "id": "c1",
            "object": "chat.completion",
            "model": "served",
            "choices": [{"index": 0, "message": message, "finish_reason": _FINISH[said.finish]}],
            "usage": self._usage(said),
        }

    def error(self, status: int, word: str, message: str) -> dict[str, Any]:
        return {"error": {"type": word, "message": message}}

    def error_frame(self, message: str) -> str:
        return sse({"error": {"type": "overloaded_error", "message": message}})

    def broken_frame(self) -> str:
        return BROKEN

    def odd_frame(self) -> str:
        return sse({"type": "novelty", "object": "chat.completion.novelty", "x": 1}, "novelty")

    def _usage(self, said: Said) -> dict[str, int]:
        into, out = said.input_tokens, said.output_tokens
        return {"prompt_tokens": into, "completion_tokens": out, "total_tokens": into + out}


def _frame(choice: dict[str, Any] | None, **more: Any) -> str:
    data: dict[str, Any] = {"id": "c1", "object": "chat.completion.chunk", "model": "served", **more}
    data["choices"] = [] if choice is None else [{"index": 0, "finish_reason": None, **choice}]
    return sse(data)


def _deltas(piece: Piece, said: Said) -> list[dict[str, Any]]:
    match piece:
        case Text(chunks):
            return [{"content": chunk} for chunk in chunks]
        case Thought(text):
            return [{"reasoning_content": half} for half in halves(text)]
        case Novelty(name):
            return [{name: {"x": 1}}]
        case ToolUse():
            call = _call(piece, said.calls.index(piece))
            begin, rest = halves(call["function"]["arguments"])
            call["function"]["arguments"] = begin
            more = {"index": call["index"], "function": {"arguments": rest}}
            return [{"tool_calls": [call]}, {"tool_calls": [more]}]


def _call(use: ToolUse, index: int) -> dict[str, Any]:
    call: dict[str, Any] = {"index": index, "type": "function"}
    if use.id is not None:
        call["id"] = use.id
    return {**call, "function": {"name": use.name, "arguments": json.dumps(use.arguments)}}
