"""What a streamed call says, event by event, and how each event travels.

A stream is any number of deltas and finished parts, then exactly one `Done` or `Failed`.
The deltas of one part share its `index` (ours, counted from 0 in order of appearance) and
concatenate to that part. `Reset` takes back everything before it.

These are plain slotted classes, not pydantic models: one is made per token, in the provider actor
and again in each reader. On the wire an event is a short list that begins with its code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import TypeAdapter

from llmgine.providers.contracts import AnyPart, Attempt, LLMResponse, Message, Usage
from llmgine.providers.errors import ProviderError

_PART: TypeAdapter[Any] = TypeAdapter(AnyPart)


@dataclass(slots=True)
class TextDelta:
    type: ClassVar[Literal["text_delta"]] = "text_delta"
    index: int
    text: str


@dataclass(slots=True)
class ThinkingDelta:
    type: ClassVar[Literal["thinking_delta"]] = "thinking_delta"
    index: int
    text: str


@dataclass(slots=True)
class ToolCallStart:
    """A tool call began; its arguments follow as deltas of the same index."""

    type: ClassVar[Literal["tool_call_start"]] = "tool_call_start"
    index: int
    id: str
    name: str


@dataclass(slots=True)
class ToolCallDelta:
    """A piece of the call's arguments as JSON text."""

    type: ClassVar[Literal["tool_call_delta"]] = "tool_call_delta"
    index: int
    arguments: str


@dataclass(slots=True)
class PartDone:
    """A part is whole; `part` holds it with everything that deltas cannot carry."""

    type: ClassVar[Literal["part_done"]] = "part_done"
    index: int
    part: AnyPart


@dataclass(slots=True)
class Reset:
    """What came before is void: the call begins anew."""

    type: ClassVar[Literal["reset"]] = "reset"
    reason: str


@dataclass(slots=True)
class Done:
    """The call ended well; `response` is whole."""

    type: ClassVar[Literal["done"]] = "done"
    response: LLMResponse


@dataclass(slots=True)
class Failed:
    """The call failed; `partial` and `usage` are what had arrived, `attempts` what was tried."""

    type: ClassVar[Literal["error"]] = "error"
    error: ProviderError
    partial: Message | None = None
    usage: Usage | None = None
    attempts: tuple[Attempt, ...] = ()


StreamEvent = TextDelta | ThinkingDelta | ToolCallStart | ToolCallDelta | PartDone | Reset | Done | Failed


def to_wire(event: StreamEvent) -> list[Any]:
    """A msgpack-ready list; `from_wire` gives back an equal event."""
    match event:
        case TextDelta(index, text):
            return [0, index, text]
        case ThinkingDelta(index, text):
            return [1, index, text]
        case ToolCallStart(index, id_, name):
            return [2, index, id_, name]
        case ToolCallDelta(index, arguments):
            return [3, index, arguments]
        case PartDone(index, part):
            return [4, index, _PART.dump_json(part)]
        case Reset(reason):
            return [5, reason]
        case Done(response):
            return [6, response.model_dump_json().encode()]
        case Failed(error, partial, usage, attempts):
            return [
                7,
                error.to_wire(),
                partial and partial.model_dump_json().encode(),
                usage and usage.model_dump_json().encode(),
                [attempt.model_dump() for attempt in attempts],
            ]


def ends_call(wire: Sequence[Any]) -> bool:
    """Whether the event in wire form is a call's last."""
    return wire[0] in (6, 7)


def from_wire(wire: list[Any]) -> StreamEvent:
    """The event that `to_wire` wrote; ValueError for a code that this version does not know."""
    code = wire[0]
    if code == 0:
        return TextDelta(wire[1], wire[2])
    if code == 1:
        return ThinkingDelta(wire[1], wire[2])
    if code == 2:
        return ToolCallStart(wire[1], wire[2], wire[3])
    if code == 3:
        return ToolCallDelta(wire[1], wire[2])
    if code == 4:
        return PartDone(wire[1], _PART.validate_json(wire[2]))
    if code == 5:
        return Reset(wire[1])
    if code == 6:
        return Done(LLMResponse.model_validate_json(wire[1]))
    if code == 7:
        partial = None if wire[2] is None else Message.model_validate_json(wire[2])
        usage = None if wire[3] is None else Usage.model_validate_json(wire[3])
        attempts = tuple(Attempt.model_validate(attempt) for attempt in wire[4])
        return Failed(ProviderError.from_wire(wire[1]), partial, usage, attempts)
    raise ValueError(f"unknown stream event code {code!r}")
