"""Gemini generateContent, from the server's side."""

from __future__ import annotations

import json
from typing import Any

from tests.providers.faults.said import Heard, Novelty, Piece, Said, Text, Thought, ToolUse
from tests.providers.faults.wire import BROKEN, sse

_FINISH = {"stop": "STOP", "tools": "STOP", "length": "MAX_TOKENS"}
# The legacy package sends enumerations as numbers.
_CHOICES = {"AUTO": "auto", "ANY": "required", "NONE": "none", 1: "auto", 2: "required", 3: "none"}
_TYPES = {1: "string", 2: "number", 3: "integer", 4: "boolean", 5: "array", 6: "object"}


class GeminiWire:
    """Google's protocol; with `array` the stream is one JSON array in place of events."""

    def __init__(self, *, array: bool = False) -> None:
        self.array = array

    def heard(self, body: dict[str, Any]) -> Heard:
        system = body.get("systemInstruction", {}).get("parts", ())
        heard = Heard(system="".join(part["text"] for part in system))
        for content in body["contents"]:
            role = {"model": "assistant"}.get(content.get("role"), "user")
            heard.turns += [_turn(role, part) for part in content["parts"]]
        for tool in body.get("tools", ()):
            for one in tool.get("functionDeclarations", ()):
                schema = one.get("parametersJsonSchema") or one.get("parameters") or {}
                heard.tools[one["name"]] = _named_types(schema)
        config = body.get("toolConfig", {}).get("functionCallingConfig", {})
        names = config.get("allowedFunctionNames")
        heard.choice = names[0] if names else _CHOICES[config.get("mode", "AUTO")]
        wanted = body.get("generationConfig", {})
        schema = wanted.get("responseJsonSchema") or wanted.get("responseSchema")
        heard.output = schema and _named_types(schema)
        return heard

    def frames(self, said: Said) -> list[str]:
        usage = self._usage(said)
        answers = [self._answer([part]) for piece in said.pieces for part in _parts(piece)]
        answers.append(self._answer([{"text": ""}], _FINISH[said.finish]))
        if said.odd_usage:
            answers[0]["usageMetadata"] = usage
        else:
            for answer in answers:
                answer["usageMetadata"] = usage
        if not self.array:
            return [sse(answer) for answer in answers]
        texts = [json.dumps(answer) for answer in answers]
        return [f"[{texts[0]}", *(f",\n{text}" for text in texts[1:]), "]"]

    def body(self, said: Said) -> Any:
        parts = [part for piece in said.pieces for part in _parts(piece)]
        whole = {**self._answer(parts, _FINISH[said.finish]), "usageMetadata": self._usage(said)}
        return [whole] if self.array else whole

    def error(self, status: int, word: str, message: str) -> dict[str, Any]:
        return {"error": {"code": status, "status": word, "message": message}}

    def error_frame(self, message: str) -> str:
        error = self.error(503, "UNAVAILABLE", message)
        return f",\n{json.dumps(error)}]" if self.array else sse(error)

    def broken_frame(self) -> str:
        return ",\n{broken}" if self.array else BROKEN

    def odd_frame(self) -> str:
        odd = {"novelty": {"x": 1}}
        return f",\n{json.dumps(odd)}" if self.array else sse(odd)

    def _answer(self, parts: list[dict[str, Any]], finish: str | None = None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}}
        if finish:
            candidate["finishReason"] = finish
        return {"candidates": [candidate], "modelVersion": "served", "responseId": "c1"}

    def _usage(self, said: Said) -> dict[str, int]:
        into, out = said.input_tokens, said.output_tokens
        return {"promptTokenCount": into, "candidatesTokenCount": out, "totalTokenCount": into + out}


def _turn(role: str, part: dict[str, Any]) -> tuple[str, str, str]:
    if "inlineData" in part:
        return role, "image", f"data:{part['inlineData']['mimeType']}"
    if call := part.get("functionCall"):
        return role, "call", f"{call['name']} {json.dumps(_whole_numbers(call.get('args', {})))}"
    if result := part.get("functionResponse"):
        values = result["response"].values()
        return "tool", "result", "".join(one if isinstance(one, str) else json.dumps(one) for one in values)
    return role, "thinking" if part.get("thought") else "text", part.get("text", "")


def _named_types(schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    named = {name: {**one, "type": _TYPES.get(one["type"], one["type"])} for name, one in properties.items()}
    return {**schema, "properties": named}


def _whole_numbers(values: dict[str, Any]) -> dict[str, Any]:
    """Protocol buffers know no whole numbers."""
    return {
        name: int(one) if isinstance(one, float) and one.is_integer() else one for name, one in values.items()
    }


def _parts(piece: Piece) -> list[dict[str, Any]]:
    match piece:
        case Text(chunks):
            return [{"text": chunk} for chunk in chunks]
        case Thought(text, signature):
            return [{"text": text, "thought": True}, {"text": "", "thoughtSignature": signature}]
        case Novelty(name):
            return [{name: {"x": 1}}]
        case ToolUse(name, arguments, id_):
            call: dict[str, Any] = {"name": name, "args": arguments}
            return [{"functionCall": call if id_ is None else {**call, "id": id_}}]
