"""A conversation as the turns of the Messages protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmgine.providers.codecs.anthropic_messages.blocks import Blocks
from llmgine.providers.codecs.encoding import Encoding

Block = dict[str, Any]

_REASONING = frozenset({"thinking", "redacted_thinking"})


@dataclass(slots=True)
class _Turn:
    role: str
    blocks: list[Block]
    numbers: list[int]

    def take(self, other: _Turn) -> None:
        self.blocks += other.blocks
        self.numbers += other.numbers


class Turns:
    """Turns in the protocol's roles: neighbours of one role are one turn, with its tool results first.

    `blocks` tells afterwards what each message became. The first `leading` messages are none of the turns.
    """

    def __init__(self, encoding: Encoding, leading: int) -> None:
        self._encoding = encoding
        self._leading = leading
        self._blocks = Blocks(encoding)
        self.blocks: dict[int, list[Block]] = {}

    def build(self) -> list[dict[str, Any]]:
        turns = self._settled(self._answered(self._grouped()))
        if turns and turns[-1].role == "assistant":
            self._trim(turns[-1])
        for turn in turns:
            if turn.role == "user":
                turn.blocks.sort(key=lambda block: block["type"] != "tool_result")
        return [{"role": turn.role, "content": turn.blocks} for turn in turns]

    def _grouped(self) -> list[_Turn]:
        turns: list[_Turn] = []
        for number, message in enumerate(self._encoding.request.messages):
            if number < self._leading:
                continue
            blocks: list[Block] = []
            for position, part in enumerate(message.parts):
                blocks += self._blocks.of(part, f"messages[{number}].parts[{position}]", number)
            self.blocks[number] = blocks
            if blocks:
                role = "user" if message.role == "tool" else message.role
                _add(turns, _Turn(role, list(blocks), [number]))
            elif message.role != "assistant":
                self._encoding.invalid(f"messages[{number}]", "nothing of it can be sent; give it text")
        return turns

    def _answered(self, turns: list[_Turn]) -> list[_Turn]:
        """Turns of the model without reasoning at their end: the protocol refuses one that ends with it."""
        for turn in turns:
            while turn.role == "assistant" and turn.blocks and turn.blocks[-1]["type"] in _REASONING:
                turn.blocks.pop()
                reason = "reasoning without an answer after it is refused"
                self._encoding.dropped(f"messages[{turn.numbers[-1]}]", reason)
        return [turn for turn in turns if turn.blocks]

    def _settled(self, turns: list[_Turn]) -> list[_Turn]:
        """System messages where the protocol takes them, else in the user's turn.

        Models that take them at all take them after the user and before the model.
        """
        settled: list[_Turn] = []
        for place, turn in enumerate(turns):
            if turn.role == "system":
                after_user = bool(settled) and settled[-1].role == "user"
                before_model = place + 1 == len(turns) or turns[place + 1].role == "assistant"
                if not (self._encoding.target.profile.late_system and after_user and before_model):
                    self._hand_over(turn)
            _add(settled, turn)
        return settled

    def _hand_over(self, turn: _Turn) -> None:
        for block in turn.blocks:
            block["text"] = f"<system>\n{block['text']}\n</system>"
        turn.role = "user"
        for number in turn.numbers:
            reason = "this model takes no system message here; it is sent in the user's turn"
            self._encoding.changed(f"messages[{number}]", reason)

    def _trim(self, turn: _Turn) -> None:
        """Takes white space off the end of what the model is to go on from: the protocol refuses it."""
        last = turn.blocks[-1]
        if last["type"] == "text" and last["text"] != last["text"].rstrip():
            last["text"] = last["text"].rstrip()
            reason = "white space at the end of what the model goes on from is refused"
            self._encoding.changed(f"messages[{turn.numbers[-1]}]", reason)


def begun_without_thinking(sent: list[dict[str, Any]]) -> bool:
    """Whether the messages end within a turn of calls and results that did not begin with reasoning."""
    begun: list[Block] | None = None
    for turn in reversed(sent):
        if turn["role"] == "assistant":
            begun = turn["content"]
        elif turn["role"] == "user" and turn["content"][0]["type"] != "tool_result":
            break
    return begun is not None and sent[-1]["role"] != "assistant" and begun[0]["type"] not in _REASONING


def _add(turns: list[_Turn], turn: _Turn) -> None:
    if turns and turns[-1].role == turn.role:
        turns[-1].take(turn)
    else:
        turns.append(turn)
