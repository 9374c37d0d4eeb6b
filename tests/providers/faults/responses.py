"""OpenAI Responses, from the server's side."""

from __future__ import annotations

import itertools
import json
from typing import Any

from tests.providers.faults.said import Heard, Novelty, Piece, Said, Text, Thought, ToolUse
from tests.providers.faults.wire import BROKEN, blocks, halves, sse


class ResponsesWire:
    """OpenAI's own protocol."""

    def heard(self, body: dict[str, Any]) -> Heard:
        heard = Heard(system=body.get("instructions") or "")
        asked = body["input"]
        items = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
        for item in items:
            heard.turns += _turns(item)
        heard.tools = {tool["name"]: tool["parameters"] for tool in body.get("tools", ())}
        choice = body.get("tool_choice", "auto")
        heard.choice = choice if isinstance(choice, str) else choice["name"]
        heard.output = body.get("text", {}).get("format", {}).get("schema")
        return heard

    def frames(self, said: Said) -> list[str]:
        numbers = itertools.count()

        def frame(kind: str, **more: Any) -> str:
            return sse({"type": kind, "sequence_number": next(numbers), **more}, kind)

        whole = self.body(said)
        begun = {**whole, "status": "in_progress", "output": [], "usage": None}
        frames = [frame("response.created", response=begun), frame("response.in_progress", response=begun)]
        for index, piece in enumerate(said.pieces):
            for kind, more in _events(index, piece):
                frames.append(frame(kind, **more))
        if said.odd_usage:
            whole["output"] = []
        last = "response.incomplete" if said.finish == "length" else "response.completed"
        return [*frames, frame(last, response=whole)]

    def body(self, said: Said) -> dict[str, Any]:
        into, out = said.input_tokens, said.output_tokens
        cut = said.finish == "length"
        return {
            "id": "c1",
            "object": "response",
            "model": "served",
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "error": None,
            "output": [_item(index, piece) for index, piece in enumerate(said.pieces)],
            "usage": {"input_tokens": into, "output_tokens": out, "total_tokens": into + out},
        }

    def error(self, status: int, word: str, message: str) -> dict[str, Any]:
        return {"error": {"type": word, "message": message, "code": None, "param": None}}

    def error_frame(self, message: str) -> str:
        error = {"code": "overloaded_error", "message": message, "param": None}
        return sse({"type": "error", "sequence_number": 99, **error}, "error")

    def broken_frame(self) -> str:
        return BROKEN

    def odd_frame(self) -> str:
        kind = "response.novelty.delta"
        return sse({"type": kind, "sequence_number": 98, "delta": "x"}, kind)


def _turns(item: dict[str, Any]) -> list[tuple[str, str, str]]:
    match item.get("type", "message"):
        case "function_call":
            told = f"{item['name']} {json.dumps(json.loads(item['arguments']))}"
            return [("assistant", "call", told)]
        case "function_call_output":
            return [("tool", "result", "".join(one.get("text", "") for one in blocks(item["output"])))]
        case "message":
            return [_content(item["role"], block) for block in blocks(item["content"])]
        case other:
            return [("assistant", other, "")]


def _content(role: str, block: dict[str, Any]) -> tuple[str, str, str]:
    if block["type"] == "input_image":
        return role, "image", block["image_url"].partition(";")[0]
    kind = str(block["type"]).removeprefix("input_").removeprefix("output_")
    return role, kind, block.get("text", "")


def _item(index: int, piece: Piece) -> dict[str, Any]:
    match piece:
        case Text(chunks):
            content = {"type": "output_text", "text": "".join(chunks), "annotations": []}
            whole = {"id": f"msg_{index}", "type": "message", "role": "assistant", "status": "completed"}
            return {**whole, "content": [content]}
        case Thought(text, signature):
            summary = [{"type": "summary_text", "text": text}]
            return {
                "id": f"rs_{index}",
                "type": "reasoning",
                "summary": summary,
                "encrypted_content": signature,
            }
        case Novelty(name):
            return {"id": f"nov_{index}", "type": name, "x": 1}
        case ToolUse(name, arguments, id_):
            call = {"id": f"fc_{index}", "type": "function_call", "status": "completed", "name": name}
            call["arguments"] = json.dumps(arguments)
            return call if id_ is None else {**call, "call_id": id_}


def _events(index: int, piece: Piece) -> list[tuple[str, dict[str, Any]]]:
    whole = _item(index, piece)
    at = {"item_id": whole["id"], "output_index": index}
    begun = dict(whole)
    inner: list[tuple[str, dict[str, Any]]] = []
    match piece:
        case Text(chunks):
            begun |= {"content": [], "status": "in_progress"}
            part = {**at, "content_index": 0}
            empty = {"type": "output_text", "text": "", "annotations": []}
            inner = [
                ("response.content_part.added", {**part, "part": empty}),
                *(("response.output_text.delta", {**part, "delta": chunk}) for chunk in chunks),
                ("response.output_text.done", {**part, "text": "".join(chunks)}),
                ("response.content_part.done", {**part, "part": whole["content"][0]}),
            ]
        case Thought(text):
            begun |= {"summary": [], "encrypted_content": None}
            part = {**at, "summary_index": 0}
            kind = "response.reasoning_summary"
            inner = [
                (f"{kind}_part.added", {**part, "part": {"type": "summary_text", "text": ""}}),
                *((f"{kind}_text.delta", {**part, "delta": half}) for half in halves(text)),
                (f"{kind}_text.done", {**part, "text": text}),
                (f"{kind}_part.done", {**part, "part": whole["summary"][0]}),
            ]
        case ToolUse():
            begun |= {"arguments": "", "status": "in_progress"}
            kind = "response.function_call_arguments"
            inner = [(f"{kind}.delta", {**at, "delta": half}) for half in halves(whole["arguments"])]
            inner.append((f"{kind}.done", {**at, "arguments": whole["arguments"]}))
    return [
        ("response.output_item.added", {"output_index": index, "item": begun}),
        *inner,
        ("response.output_item.done", {"output_index": index, "item": whole}),
    ]
