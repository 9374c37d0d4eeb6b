"""What came of calls, as the function responses of Gemini's generateContent protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.gemini.parts import Block, Called, Parts
from llmgine.providers.contracts import AudioPart, TextPart, ToolResultPart

_UNWANTED_IN_NAME = re.compile(r"[^a-zA-Z0-9_.:-]")


@dataclass(slots=True)
class _Result:
    part: ToolResultPart
    field: str
    number: int
    called: Called | None


class Results:
    """Results of one turn, all together; media that a result cannot hold follow after them.

    Gemini matches a result to its call by the id, where the call has one, else by name and order.
    """

    def __init__(self, encoding: Encoding, parts: Parts) -> None:
        self._encoding = encoding
        self._parts = parts

    def of(self, number: int, after: int) -> list[Block]:
        """What the tool messages from `number` up to `after` are sent as."""
        results = [
            _Result(part, f"messages[{at}].parts[{position}]", at, self._parts.calls.get(part.call_id))
            for at in range(number, after)
            for position, part in enumerate(self._encoding.request.messages[at].parts)
            if isinstance(part, ToolResultPart)
        ]
        if any(result.called is not None and result.called.id is None for result in results):
            results.sort(key=lambda result: result.called.place if result.called else -1)
        sent: list[Block] = []
        media: list[Block] = []
        for result in results:
            sent.append(self._response(result, media))
        return sent + media

    def _response(self, result: _Result, media: list[Block]) -> Block:
        part, called = result.part, result.called
        response: Block = {"id": called.id} if called is not None and called.id is not None else {}
        response["name"] = called.name if called is not None else self._name(result)
        response["response"] = {"error" if part.is_error else "output": part.text}
        if within := self._media(result, media):
            response["parts"] = within
        return {"functionResponse": response}

    def _name(self, result: _Result) -> str:
        name = _UNWANTED_IN_NAME.sub("_", result.part.name)[:64]
        if name != result.part.name or not name:
            reason = "the tool's name is not known here; give the result its name"
            self._encoding.changed(f"{result.field}.name", reason)
        return name or "unnamed"

    def _media(self, result: _Result, after: list[Block]) -> list[Block]:
        within: list[Block] = []
        for position, item in enumerate(result.part.content):
            if isinstance(item, TextPart):
                continue
            field = f"{result.field}.content[{position}]"
            blocks = self._parts.medium(item, field, result.number)
            worded = any("text" in block for block in blocks)
            if self._parts.third and not worded and not isinstance(item, AudioPart):
                within += blocks
            elif blocks:
                reason = "a result takes only text here; this follows after the results"
                self._encoding.changed(field, reason)
                after += blocks
        return within
