"""The parts of one answer as they grow, in the order in which they appeared."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Literal

from llmgine.providers.codecs.json_text import read_json
from llmgine.providers.contracts import (
    AnyPart,
    Citation,
    OpaquePart,
    Origin,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from llmgine.providers.events import (
    PartDone,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)

Kind = Literal["text", "thinking", "tool_call", "refusal", "opaque"]


class Slot:
    """One growing part; its pieces are joined once, when it is whole."""

    __slots__ = (
        "announced",
        "block",
        "citations",
        "data",
        "encrypted",
        "id",
        "index",
        "kind",
        "name",
        "part",
        "pieces",
        "redacted",
        "signature",
        "synthesised",
    )

    def __init__(self, index: int, kind: Kind) -> None:
        self.index = index
        self.kind = kind
        self.pieces: list[str] = []
        self.part: AnyPart | None = None
        self.data: dict[str, Any] = {}
        self.announced = False
        self.id = ""
        self.synthesised = False
        self.name = ""
        self.signature: str | None = None
        self.redacted: str | None = None
        self.encrypted: str | None = None
        self.citations: list[Citation] = []
        self.block: dict[str, Any] = {}


def new_call_id() -> str:
    """An id for a tool call that came without one, unlike any other."""
    return "call_" + secrets.token_hex(12)


class Assembly:
    """Collects parts and says what each step means to a reader of the stream.

    Parts are given out whole in the order of their index: one that is finished early waits for
    those before it.
    """

    def __init__(self, origin: Origin, new_id: Callable[[], str] = new_call_id) -> None:
        self._origin = origin
        self._new_id = new_id
        self._slots: list[Slot] = []
        self._whole: list[AnyPart] = []
        self._unannounced: Slot | None = None
        self._called: dict[str, Slot] = {}  # which call has which id

    @property
    def started(self) -> bool:
        """Whether a reader has been told anything of the answer."""
        return any(slot.pieces or slot.announced for slot in self._slots) or bool(self._whole)

    @property
    def whole(self) -> tuple[AnyPart, ...]:
        return tuple(self._whole)

    def partial(self) -> tuple[AnyPart, ...]:
        """Everything that had arrived, unfinished parts as far as they came."""
        return tuple(slot.part or self._build(slot, complete=False) for slot in self._slots)

    def open(self, kind: Kind, events: list[StreamEvent]) -> Slot:
        self._announce_waiting(events)
        slot = Slot(len(self._slots), kind)
        self._slots.append(slot)
        if kind == "tool_call":
            self._unannounced = slot
        return slot

    def write(self, slot: Slot, text: str, events: list[StreamEvent]) -> None:
        """More text of a text, thinking or refusal part."""
        slot.pieces.append(text)
        if slot.kind == "thinking":
            events.append(ThinkingDelta(slot.index, text))
        else:
            events.append(TextDelta(slot.index, text))

    def argue(self, slot: Slot, arguments: str, events: list[StreamEvent]) -> None:
        """More of a call's arguments; id and name are fixed from now on."""
        if not slot.announced:
            self._announce(slot, events)
        slot.pieces.append(arguments)
        events.append(ToolCallDelta(slot.index, arguments))

    def close(self, slot: Slot, events: list[StreamEvent]) -> None:
        if slot.part is not None:
            return
        if slot.kind == "tool_call" and not slot.announced:
            self._announce(slot, events)
        slot.part = self._build(slot, complete=True)
        self._release(events)

    def put(self, part: AnyPart, events: list[StreamEvent]) -> None:
        """A part that came whole."""
        slot = self.open("opaque", events)
        slot.part = part.model_copy(update={"origin": self._origin})
        self._release(events)

    def _release(self, events: list[StreamEvent]) -> None:
        slots, whole = self._slots, self._whole
        while len(whole) < len(slots) and (part := slots[len(whole)].part) is not None:
            events.append(PartDone(len(whole), part))
            whole.append(part)

    def close_all(self, events: list[StreamEvent]) -> None:
        for slot in self._slots:
            self.close(slot, events)

    def _announce_waiting(self, events: list[StreamEvent]) -> None:
        if self._unannounced is not None:
            self._announce(self._unannounced, events)

    def _announce(self, slot: Slot, events: list[StreamEvent]) -> None:
        self._identify(slot)
        slot.announced = True
        self._unannounced = None
        events.append(ToolCallStart(slot.index, slot.id, slot.name))

    def _identify(self, slot: Slot) -> None:
        """An id that no other call of this answer has, for results are told apart by nothing else."""
        if not slot.id or self._called.setdefault(slot.id, slot) is not slot:
            slot.id, slot.synthesised = self._new_id(), True
            self._called[slot.id] = slot

    def _build(self, slot: Slot, *, complete: bool) -> AnyPart:
        origin, data, text = self._origin, slot.data, "".join(slot.pieces)
        match slot.kind:
            case "text":
                return TextPart(
                    text=text,
                    citations=tuple(slot.citations),
                    signature=slot.signature,
                    origin=origin,
                    provider_data=data,
                )
            case "thinking":
                return ThinkingPart(
                    text=text,
                    signature=slot.signature,
                    redacted=slot.redacted,
                    encrypted=slot.encrypted,
                    origin=origin,
                    provider_data=data,
                )
            case "refusal":
                return RefusalPart(text=text, origin=origin, provider_data=data)
            case "opaque":
                return OpaquePart(kind=slot.name, data=slot.block, origin=origin, provider_data=data)
            case "tool_call":
                self._identify(slot)
                return ToolCallPart(
                    id=slot.id,
                    name=slot.name,
                    arguments=parse_arguments(text, complete=complete),
                    raw_arguments=text,
                    id_source="synthesised" if slot.synthesised else "provider",
                    signature=slot.signature,
                    origin=origin,
                    provider_data=data,
                )


def parse_arguments(raw: str, *, complete: bool = True) -> dict[str, Any] | None:
    """A call's arguments; None where the text is no JSON object. A whole call may have none at all."""
    if not raw.strip():
        return {} if complete else None
    try:
        value = read_json(raw.encode(), allow_inf_nan=False)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def compact(value: Any) -> str:
    """JSON text of a value, the same for equal values in equal order."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def merge_known(into: dict[str, Any], update: Mapping[str, Any]) -> None:
    """Field by field the last value that is not null, in nested objects too."""
    for name, value in update.items():
        held = into.get(name)
        if isinstance(value, dict):
            into[name] = held = dict(held) if isinstance(held, dict) else {}
            merge_known(held, value)
        elif value is not None or name not in into:
            into[name] = value


def count(raw: Mapping[str, Any], *path: str) -> int | None:
    """The number of tokens at a path, or None where there is no such number."""
    value: Any = raw
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value if type(value) is int and value >= 0 else None
