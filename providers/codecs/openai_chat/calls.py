"""Tool calls of Chat Completions streams, told apart whatever a server leaves out or repeats."""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.assembly import Assembly, Slot, compact, parse_arguments
from llmgine.providers.events import StreamEvent

_KNOWN = frozenset({"index", "id", "type", "function", "custom"})


class ChatCalls:
    """Gives each piece to its call: by index, else by id, else by order.

    Id and name are settled when the arguments begin, so that they may come in any order before.
    """

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._by_key: dict[int | str, Slot] = {}
        self._last: Slot | None = None

    def read(self, call: dict[str, Any], events: list[StreamEvent]) -> None:
        """One entry of a `tool_calls` list."""
        function = call.get("function") or call.get("custom") or {}
        call_id = str(call.get("id") or "")
        name = str(function.get("name") or "")
        arguments = function.get("arguments") or function.get("input") or ""
        if not isinstance(arguments, str):
            arguments = compact(arguments)
        slot = self._known(call.get("index"), call_id, name, arguments)
        if slot is None:
            slot = self._last = self._assembly.open("tool_call", events)
            index = call.get("index")
            self._by_key[call_id if index is None else index] = slot
        if not slot.announced:
            slot.id = slot.id or call_id
            if name != slot.name:
                slot.name += name
        if arguments:
            self._assembly.argue(slot, arguments, events)
        for field in call.keys() - _KNOWN:
            slot.data[field] = call[field]
        if "custom" in call:
            slot.data["type"] = "custom"

    def _known(self, index: Any, call_id: str, name: str, arguments: str) -> Slot | None:
        """The call that a piece continues, or None where it begins another."""
        if index is not None:
            slot = self._by_key.get(index)
        elif call_id:
            slot = self._by_key.get(call_id)
        else:
            slot = None if name else self._last
        if slot is None or _begins_another(slot, call_id, name, arguments):
            return None
        return slot


def _begins_another(slot: Slot, call_id: str, name: str, arguments: str) -> bool:
    """Whether a piece under a known index is a new call all the same, as with servers that send only 0."""
    if call_id and slot.id and not slot.synthesised:
        return call_id != slot.id and bool(name)
    if not name or not slot.pieces:
        return False
    if name != slot.name:
        return True
    if not (slot.pieces[-1].rstrip().endswith("}") and arguments.lstrip().startswith("{")):
        return False
    return parse_arguments("".join(slot.pieces)) is not None
