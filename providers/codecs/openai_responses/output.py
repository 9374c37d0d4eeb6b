"""The output of one OpenAI Responses answer: its items, whatever a server leaves out or names anew."""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.assembly import Assembly
from llmgine.providers.codecs.openai_responses.items import (
    CallItem,
    Item,
    MessageItem,
    OpaqueItem,
    ReasoningItem,
)
from llmgine.providers.events import StreamEvent

_TYPES: dict[str, type[Item]] = {
    "message": MessageItem,
    "reasoning": ReasoningItem,
    "function_call": CallItem,
    "custom_tool_call": CallItem,
}


class Output:
    """The items of one output, found by their place in it, else by their id."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._all: list[Item] = []
        self._by_place: dict[Any, Item] = {}

    def begin(self, place: Any, item: dict[str, Any], events: list[StreamEvent]) -> Item:
        begun = _TYPES.get(item["type"], OpaqueItem)(item, self._assembly, events)
        self._all.append(begun)
        if place is not None:
            self._by_place[place] = begun
        return begun

    def find(self, frame: dict[str, Any]) -> Item | None:
        """The item that a frame is about."""
        place = frame.get("output_index")
        return self._by_id(frame.get("item_id")) if place is None else self._by_place.get(place)

    def complete(self, place: Any, item: dict[str, Any], events: list[StreamEvent]) -> None:
        """An item came whole, whether or not its beginning had come."""
        held = self._by_place.get(place) if place is not None else self._by_id(item.get("id"))
        if held is not None and held.done and held.id and held.id == item.get("id"):
            return  # said twice
        if held is None or held.done or held.type != item["type"]:
            held = self.begin(place, item, events)
        held.complete(item, events)

    def conclude(self, output: list[dict[str, Any]], events: list[StreamEvent]) -> None:
        """The whole output came: what had not come of it before is taken from it."""
        ids = {item["id"] for item in output if item.get("id")}
        strays = [held for held in self._all if held.id not in ids]
        for item in output:
            held = self._by_id(item.get("id"))
            if held is None:  # some servers give an item another id each time
                held = next((stray for stray in strays if stray.type == item["type"]), None)
                strays = [stray for stray in strays if stray is not held]
            if held is None:
                held = self.begin(None, item, events)
            if not held.done:
                held.complete(item, events)

    def _by_id(self, item_id: Any) -> Item | None:
        if not item_id:
            return None
        return next((item for item in self._all if item.id == item_id), None)
