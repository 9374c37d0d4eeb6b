"""What of a call's messages is kept, and how it is told to who did not make the call. Pure.

Only whole good answers are kept. A kept one is told in the same events as the first time, its deltas put
together to fewer; it says of itself that it is `cached`, cost nothing and used nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeVar

import msgpack

from llmgine.actors.pools import wire
from llmgine.providers import (
    Attempt,
    Done,
    EmbeddingRequest,
    EmbeddingResponse,
    Failed,
    LLMRequest,
    LLMResponse,
    Message,
    Reset,
    StreamEvent,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    ToolCallPart,
    ToolCallStart,
)
from llmgine.providers.contracts import AnyPart, FinishReason, Usage, UsageSource
from llmgine.providers.events import PartDone, ends_call, from_wire, to_wire

# The outcome of an attempt in whose place another's answer was taken.
CACHED: Final = "cached"
# A replayed delta is a piece of a stream still, and far from what a link carries at once.
_DELTA_CHARACTERS: Final = 4_096
_CHECK_BYTES: Final = 4

_NOTHING: Final = Usage(input_tokens=0, output_tokens=0, source=UsageSource.REPORTED)
_GOOD: Final = frozenset({FinishReason.STOP, FinishReason.TOOL_CALLS})
_Delta = TextDelta | ThinkingDelta | ToolCallDelta
_Response = TypeVar("_Response", LLMResponse, EmbeddingResponse)


class Saved(NamedTuple):
    """What the call was worth whose answer is told again; 0 where that is unknown."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0

    @classmethod
    def by(cls, usage: Usage, cost: Decimal | None) -> Saved:
        return cls(usage.input_tokens or 0, usage.output_tokens or 0, float(cost or 0))


class Answer(NamedTuple):
    """A kept answer: the messages that tell it, the verdict left out, and what it saves."""

    messages: list[Any]
    saved: Saved


def is_last(message: Sequence[Any]) -> bool:
    """Whether nothing follows this message of a call."""
    return message[0] in (wire.EMBEDDED, wire.FAILED, wire.REFUSED) or ends_call(message)


def told_again(last: Sequence[Any]) -> tuple[Sequence[Any], Saved]:
    """A call's last message as those hear it who did not make the call, and what they save."""
    if last[0] == wire.EMBEDDED:
        vectors = EmbeddingResponse.model_validate_json(last[1])
        free = [wire.EMBEDDED, _free(vectors).model_dump_json().encode()]
        return free, Saved.by(vectors.usage, vectors.cost)
    if ends_call(last):
        event = from_wire(list(last))
        if isinstance(event, Done):
            response = event.response
            return to_wire(Done(_free(response))), Saved.by(response.usage, response.cost)
        if isinstance(event, Failed):
            return to_wire(Failed(event.error, event.partial, None, event.attempts)), Saved()
    return last, Saved()


def sealed(request: LLMRequest | EmbeddingRequest, messages: Sequence[Sequence[Any]]) -> bytes | None:
    """An answer as it is kept, of all messages of its call but the verdict; None where it is not to be."""
    if isinstance(request, EmbeddingRequest):
        told = list(messages[:-1]) if messages[-1][0] == wire.EMBEDDED else None
    else:
        told = _told(request, [from_wire(list(message)) for message in messages])
    if told is None:
        return None
    last, saved = told_again(messages[-1])
    packed = msgpack.packb([[*told, last], saved])
    return zlib.crc32(packed).to_bytes(_CHECK_BYTES, "big") + packed


def opened(body: bytes) -> Answer | None:
    """What was sealed; None for what is damaged."""
    packed = body[_CHECK_BYTES:]
    if zlib.crc32(packed).to_bytes(_CHECK_BYTES, "big") != body[:_CHECK_BYTES]:
        return None
    messages, saved = msgpack.unpackb(packed)
    return Answer(messages, Saved(*saved))


def _told(request: LLMRequest, events: list[StreamEvent]) -> list[Any] | None:
    """The messages before the last, fewer than they came; None where the answer is not good."""
    last = events[-1]
    if not isinstance(last, Done) or not _is_good(request, last.response):
        return None
    resets = [place for place, event in enumerate(events) if isinstance(event, Reset)]
    heard = events[resets[-1] + 1 if resets else 0 : -1]
    return [to_wire(event) for event in _fewer(heard)]


def partial(messages: Iterable[Sequence[Any]]) -> Message | None:
    """What events had said by then that were not the last."""
    parts: dict[int, AnyPart] = {}
    for message in messages:
        match from_wire(list(message)):
            case Reset():
                parts.clear()
            case PartDone(index, part):
                parts[index] = part
            case ToolCallStart(index, id_, name):
                parts[index] = ToolCallPart(id=id_, name=name, arguments=None)
            case TextDelta() | ThinkingDelta() | ToolCallDelta() as delta:
                parts[delta.index] = _longer(parts.get(delta.index), delta)
    return Message(role="assistant", parts=tuple(parts.values())) if parts else None


def _longer(part: AnyPart | None, delta: _Delta) -> AnyPart:
    if isinstance(delta, ToolCallDelta):
        assert isinstance(part, ToolCallPart)
        return part.model_copy(update={"raw_arguments": part.raw_arguments + delta.arguments})
    if isinstance(part, TextPart | ThinkingPart):
        return part.model_copy(update={"text": part.text + delta.text})
    return TextPart(text=delta.text) if isinstance(delta, TextDelta) else ThinkingPart(text=delta.text)


def _free(response: _Response) -> _Response:
    """What was said of the provider's limits, and of the tries, belongs to the call that was made."""
    if response.cached:
        return response
    return response.model_copy(
        update={
            "cached": True,
            "saved": response.usage,
            "usage": _NOTHING,
            "cost": Decimal(0),
            "attempts": (Attempt(model=response.model, outcome=CACHED, seconds=0.0),),
            "rate_limits": (),
        }
    )


def _is_good(request: LLMRequest, response: LLMResponse) -> bool:
    """Whether the model has said all that it was to say, and calls tools only in whole."""
    if any(call.arguments is None for call in response.tool_calls):
        return False
    if response.finish_reason is FinishReason.LENGTH:
        return request.max_output_tokens is not None and not response.tool_calls
    return response.finish_reason in _GOOD


def _fewer(events: Iterable[StreamEvent]) -> Iterator[StreamEvent]:
    """The events, with deltas of one part that follow each other put together."""
    run: _Delta | None = None
    pieces: list[str] = []
    for event in events:
        if isinstance(event, TextDelta | ThinkingDelta | ToolCallDelta):
            if run is None or type(event) is not type(run) or event.index != run.index:
                yield from _joined(run, pieces)
                run, pieces = event, []
            pieces.append(event.arguments if isinstance(event, ToolCallDelta) else event.text)
            continue
        yield from _joined(run, pieces)
        run, pieces = None, []
        yield event
    yield from _joined(run, pieces)


def _joined(run: _Delta | None, pieces: list[str]) -> Iterator[_Delta]:
    if run is not None:
        text = "".join(pieces)
        for start in range(0, len(text), _DELTA_CHARACTERS):
            yield type(run)(run.index, text[start : start + _DELTA_CHARACTERS])
