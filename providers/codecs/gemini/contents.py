"""A conversation as the contents of Gemini's generateContent protocol."""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.gemini.parts import Block, Parts
from llmgine.providers.codecs.gemini.results import Results


class Contents:
    """Turns in the protocol's two roles: neighbours of one role are one turn, with its results first.

    The first `leading` messages are part of the system prompt.
    """

    def __init__(self, encoding: Encoding, leading: int, *, legacy: bool) -> None:
        self._encoding = encoding
        self._messages = encoding.request.messages
        self._leading = leading
        self._parts = Parts(encoding, legacy=legacy)
        self._results = Results(encoding, self._parts)

    def build(self) -> list[dict[str, Any]]:
        turns: list[dict[str, Any]] = []
        number = self._leading
        while number < len(self._messages):
            after, role, blocks = self._next(number)
            if not blocks and role == "user":
                self._encoding.invalid(f"messages[{number}]", "nothing of it can be sent; give it text")
            if blocks and turns and turns[-1]["role"] == role:
                turns[-1]["parts"] += blocks
            elif blocks:
                turns.append({"role": role, "parts": blocks})
            number = after
        if not turns:
            self._encoding.invalid("messages", "Gemini needs one message besides the system's")
        if turns[0]["role"] == "model":
            self._encoding.changed("messages", "the user must begin; an empty text of theirs is sent first")
            turns.insert(0, {"role": "user", "parts": [{"text": ""}]})
        for turn in turns:
            turn["parts"].sort(key=lambda block: "functionResponse" not in block)
        return turns

    def _next(self, number: int) -> tuple[int, str, list[Block]]:
        """The message after those that are read here, the role, and what they are sent as."""
        message = self._messages[number]
        if message.role == "tool":
            after = number
            while after < len(self._messages) and self._messages[after].role == "tool":
                after += 1
            return after, "user", self._results.of(number, after)
        role = "model" if message.role == "assistant" else "user"
        return number + 1, role, self._parts.of(message, number)
