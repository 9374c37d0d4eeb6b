"""Anthropic Messages, from the server's side."""

from __future__ import annotations

import json
from typing import Any

from tests.providers.faults.said import Heard, Novelty, Piece, Said, Text, Thought, ToolUse
from tests.providers.faults.wire import BROKEN, blocks, halves, sse

_FINISH = {"stop": "end_turn", "tools": "tool_use", "length": "max_tokens"}


class MessagesWire:
    """Anthropic's protocol."""

    def heard(self, body: dict[str, Any]) -> Heard:
        heard = Heard(system="".join(block["text"] for block in blocks(body.get("system"))))
        for message in body["messages"]:
            for block in blocks(message["content"]):
                heard.turns.append(_turn(message["role"], block))
        heard.tools = {tool["name"]: tool["input_schema"] for tool in body.get("tools", ())}
        choice = body.get("tool_choice", {"type": "auto"})
        heard.choice = choice.get("name") or {"any": "required"}.get(choice["type"], choice["type"])
        heard.output = body.get("output_config", {}).get("format", {}).get("schema")
        return heard

    def frames(self, said: Said) -> list[str]:
        begun = {**self.body(Said(())), "stop_reason": None}
        begun["usage"] = {"input_tokens": said.input_tokens, "output_tokens": 1}
        ended = {"output_tokens": said.output_tokens}
        if said.odd_usage:
            begun["usage"] = {"output_tokens": 1}
            ended["input_tokens"] = said.input_tokens
        frames = [_frame("message_start", message=begun)]
        for index, piece in enumerate(said.pieces):
            frames += _block(index, piece)
            if index == 0:
                frames.insert(2, _frame("ping"))
        return [
            *frames,
            _frame("message_delta", delta={"stop_reason": _FINISH[said.finish]}, usage=ended),
            _frame("message_stop"),
        ]

    def body(self, said: Said) -> dict[str, Any]:
        return {
            "id": "c1",
            "type": "message",
            "role": "assistant",
            "model": "served",
            "content": [_whole(piece) for piece in said.pieces],
            "stop_reason": _FINISH[said.finish],
            "usage": {"input_tokens": said.input_tokens, "output_tokens": said.output_tokens},
        }

    def error(self, status: int, word: str, message: str) -> dict[str, Any]:
        return {"type": "error", "error": {"type": word, "message": message}}

    def error_frame(self, message: str) -> str:
        return sse(self.error(200, "overloaded_error", message), "error")

    def broken_frame(self) -> str:
        return BROKEN

    def odd_frame(self) -> str:
        return _frame("novelty", x=1)


def _frame(kind: str, **more: Any) -> str:
    return sse({"type": kind, **more}, kind)


def _turn(role: str, block: dict[str, Any]) -> tuple[str, str, str]:
    match block["type"]:
        case "image":
            return role, "image", f"data:{block['source']['media_type']}"
        case "tool_use":
            return role, "call", f"{block['name']} {json.dumps(block['input'])}"
        case "tool_result":
            return "tool", "result", "".join(one.get("text", "") for one in blocks(block.get("content")))
        case "thinking":
            return role, "thinking", block["thinking"]
        case _:
            return role, block["type"], block.get("text", "")


def _whole(piece: Piece) -> dict[str, Any]:
    match piece:
        case Text(chunks):
            return {"type": "text", "text": "".join(chunks)}
        case Thought(text, signature):
            return {"type": "thinking", "thinking": text, "signature": signature}
        case Novelty(name):
            return {"type": name, "x": 1}
        case ToolUse(name, arguments, id_):
            block = {"type": "tool_use", "name": name, "input": arguments}
            return block if id_ is None else {**block, "id": id_}


def _block(index: int, piece: Piece) -> list[str]:
    begun, deltas = _whole(piece), []
    match piece:
        case Text(chunks):
            begun["text"] = ""
            deltas = [{"type": "text_delta", "text": chunk} for chunk in chunks]
        case Thought(text, signature):
            begun |= {"thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": half} for half in halves(text)]
            deltas.append({"type": "signature_delta", "signature": signature})
        case ToolUse(_, arguments, _):
            begun["input"] = {}
            raw = halves(json.dumps(arguments))
            deltas = [{"type": "input_json_delta", "partial_json": half} for half in raw]
    return [
        _frame("content_block_start", index=index, content_block=begun),
        *(_frame("content_block_delta", index=index, delta=delta) for delta in deltas),
        _frame("content_block_stop", index=index),
    ]
