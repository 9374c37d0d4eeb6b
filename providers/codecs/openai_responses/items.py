"""Items of an OpenAI Responses output, each as it grows into parts."""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.assembly import Assembly, Kind, Slot, compact
from llmgine.providers.contracts import Citation
from llmgine.providers.events import StreamEvent

_CALL_TEXTS = {"function_call": "arguments", "custom_tool_call": "input"}
_CALL_FIELDS = frozenset({"type", "call_id", "name", "arguments", "input", "status"})
# What lies in the text of a message by the type of its content: our kind, and the field that holds it.
_CONTENT: dict[str, tuple[Kind, str]] = {"output_text": ("text", "text"), "refusal": ("refusal", "refusal")}


class Item:
    """One item of the output. What its deltas left out is taken from the whole item at its end."""

    def __init__(self, item: dict[str, Any], assembly: Assembly, events: list[StreamEvent]) -> None:
        self.type = _string(item["type"])
        self.id = item.get("id")
        self.slots: dict[Any, Slot] = {}
        self.done = False
        self._assembly = assembly
        self._begin(item, events)

    def read(self, kind: str, frame: dict[str, Any], events: list[StreamEvent]) -> bool:
        """Take a frame about this item; False where it is none that this type of item has."""
        raise NotImplementedError

    def complete(self, item: dict[str, Any], events: list[StreamEvent]) -> None:
        """Take the whole item and close its parts."""
        self._complete(item, events)
        self.done = True
        for slot in self.slots.values():
            self._assembly.close(slot, events)

    def _begin(self, item: dict[str, Any], events: list[StreamEvent]) -> None:
        raise NotImplementedError

    def _complete(self, item: dict[str, Any], events: list[StreamEvent]) -> None:
        raise NotImplementedError


class MessageItem(Item):
    """A message: one part for each piece of its content, and each knows the message's id and phase."""

    def read(self, kind: str, frame: dict[str, Any], events: list[StreamEvent]) -> bool:
        index = frame.get("content_index", 0)
        match kind:
            case "response.output_text.delta":
                self._assembly.write(self._slot(index, "text", events), _string(frame["delta"]), events)
            case "response.refusal.delta":
                self._assembly.write(self._slot(index, "refusal", events), _string(frame["delta"]), events)
            case "response.output_text.annotation.added":
                self._slot(index, "text", events).citations += _citations([frame.get("annotation")])
            case "response.output_text.done":
                self._fill(self._slot(index, "text", events), frame["text"], events)
            case "response.refusal.done":
                self._fill(self._slot(index, "refusal", events), frame["refusal"], events)
            case "response.content_part.added" | "response.content_part.done":
                self._content(index, frame["part"], events)
            case _:
                return False
        return True

    def _begin(self, item: dict[str, Any], events: list[StreamEvent]) -> None:
        self._of = _named(item, "id", "phase")
        self._slot(0, "text", events)  # the message's place is before that of later items

    def _complete(self, item: dict[str, Any], events: list[StreamEvent]) -> None:
        for index, block in enumerate(item.get("content") or ()):
            self._content(index, block, events)
        self._of |= _named(item, "id", "phase")
        if item.get("status") != "completed":
            self._of |= _named(item, "status")
        for slot in self.slots.values():
            slot.data.update(self._of)

    def _content(self, index: Any, block: dict[str, Any], events: list[StreamEvent]) -> None:
        name = _string(block["type"])
        kind, field = _CONTENT.get(name, ("opaque", ""))
        slot = self._slot(index, kind, events)
        if slot.kind != kind:
            return  # what its deltas said holds
        if kind == "opaque":
            slot.name, slot.block = name, dict(block)
            return
        self._fill(slot, block[field], events)
        if annotations := block.get("annotations"):
            slot.citations = _citations(annotations)

    def _fill(self, slot: Slot, whole: Any, events: list[StreamEvent]) -> None:
        if rest := _rest(slot, _string(whole)):
            self._assembly.write(slot, rest, events)

    def _slot(self, index: Any, kind: Kind, events: list[StreamEvent]) -> Slot:
        slot = self.slots.get(index)
        if slot is None:
            slot = self.slots[index] = self._assembly.open(kind, events)
            slot.data.update(self._of)
        elif slot.kind != kind and not slot.pieces:
            slot.kind = kind
        return slot


class ReasoningItem(Item):
    """Reasoning: its summaries and what is shown of it as one part, with blank lines between."""

    def read(self, kind: str, frame: dict[str, Any], events: list[StreamEvent]) -> bool:
        summary, content = (
            ("summary", frame.get("summary_index", 0)),
            ("content", frame.get("content_index", 0)),
        )
        match kind:
            case "response.reasoning_summary_text.delta":
                self._write(summary, frame["delta"], events)
            case "response.reasoning_text.delta":
                self._write(content, frame["delta"], events)
            case "response.reasoning_summary_text.done":
                self._fill(summary, frame["text"], events)
            case "response.reasoning_text.done":
                self._fill(content, frame["text"], events)
            case (
                "response.reasoning_summary_part.added"
                | "response.reasoning_summary_part.done"
                | "response.reasoning_part.added"
                | "response.reasoning_part.done"
                | "response.content_part.added"
                | "response.content_part.done"
            ):
                pass  # the texts come in frames of their own
            case _:
                return False
        return True

    def _begin(self, item: dict[str, Any], events: list[StreamEvent]) -> None:
        self._slot = self.slots[0] = self._assembly.open("thinking", events)
        self._slot.data.update(_named(item, "id"))
        self._shown: list[tuple[str, Any]] = []

    def _complete(self, item: dict[str, Any], events: list[StreamEvent]) -> None:
        """The item's own division of its text is kept where the text alone does not tell it."""
        data, encrypted = self._slot.data, item.get("encrypted_content")
        data.update(_named(item, "id"))
        pieces = {name: list(item.get(name) or ()) for name in ("summary", "content")}
        for name, texts in pieces.items():
            for index, piece in enumerate(texts):
                self._fill((name, index), piece.get("text") or "", events)
        if pieces["content"] or len(pieces["summary"]) > 1:
            data.update(pieces)
        self._slot.encrypted = None if encrypted is None else _string(encrypted)

    def _fill(self, place: tuple[str, Any], text: Any, events: list[StreamEvent]) -> None:
        if place not in self._shown:
            self._write(place, text, events)

    def _write(self, place: tuple[str, Any], text: Any, events: list[StreamEvent]) -> None:
        if not _string(text):
            return
        if not self._shown or self._shown[-1] != place:
            text = "\n\n" + text if self._shown else text
            self._shown.append(place)
        self._assembly.write(self._slot, text, events)


class CallItem(Item):
    """A call of a function, or of a custom tool, whose argument is a text."""

    def read(self, kind: str, frame: dict[str, Any], events: list[StreamEvent]) -> bool:
        match kind:
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                if piece := _string(frame["delta"]):
                    self._assembly.argue(self._slot, piece, events)
            case "response.function_call_arguments.done":
                self._fill(frame["arguments"], events)
            case "response.custom_tool_call_input.done":
                self._fill(frame["input"], events)
            case _:
                return False
        return True

    def _begin(self, item: dict[str, Any], events: list[StreamEvent]) -> None:
        self._slot = self.slots[0] = self._assembly.open("tool_call", events)
        self._identify(item)

    def _complete(self, item: dict[str, Any], events: list[StreamEvent]) -> None:
        self._identify(item)
        self._fill(item.get(_CALL_TEXTS[self.type]), events)

    def _identify(self, item: dict[str, Any]) -> None:
        slot = self._slot
        if not slot.announced:
            slot.id = _string(item.get("call_id") or item.get("id") or "")
            slot.name = _string(item.get("name") or "")
        slot.data.update(_named(item, *(item.keys() - _CALL_FIELDS)))
        if self.type != "function_call":
            slot.data["type"] = self.type
        if item.get("status") not in ("completed", "in_progress"):
            slot.data.update(_named(item, "status"))

    def _fill(self, arguments: Any, events: list[StreamEvent]) -> None:
        whole = arguments if isinstance(arguments, str) else compact(arguments) if arguments else ""
        if rest := _rest(self._slot, whole):
            self._assembly.argue(self._slot, rest, events)


class OpaqueItem(Item):
    """Anything else, as a call of a tool on the server's side; the whole item tells what its frames told."""

    def read(self, kind: str, frame: dict[str, Any], events: list[StreamEvent]) -> bool:
        return True

    def _begin(self, item: dict[str, Any], events: list[StreamEvent]) -> None:
        self._slot = self.slots[0] = self._assembly.open("opaque", events)
        self._complete(item, events)

    def _complete(self, item: dict[str, Any], events: list[StreamEvent]) -> None:
        self._slot.name, self._slot.block = self.type, dict(item)


def _string(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"a string was expected, not {type(value).__name__}")
    return value


def _rest(slot: Slot, whole: str) -> str:
    """What of a whole text had not come in pieces."""
    held = sum(map(len, slot.pieces))
    if held >= len(whole) or (held and not whole.startswith("".join(slot.pieces))):
        return ""
    return whole[held:]


def _named(item: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: item[name] for name in sorted(names) if item.get(name) is not None}


def _citations(annotations: list[Any]) -> list[Citation]:
    return [_citation(annotation) for annotation in annotations if annotation is not None]


def _citation(annotation: dict[str, Any]) -> Citation:
    def told(name: str, kind: type) -> Any:
        value = annotation.get(name)
        return value if type(value) is kind else None

    return Citation(
        url=told("url", str),
        title=told("title", str) or told("filename", str),
        start=told("start_index", int),
        end=told("end_index", int),
        raw=annotation,
    )
