"""Server-sent events on their way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from pydantic_core import to_json

from llmgine.actors.gateway.vendor.ordering import PartEvent
from llmgine.providers.contracts import LLMResponse


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event: a JSON value, or a text as it is; `name` is its event's, "" for none."""

    data: Any
    name: str = ""

    def encode(self) -> bytes:
        head = f"event: {self.name}\n".encode() if self.name else b""
        body = self.data.encode() if isinstance(self.data, str) else to_json(self.data)
        return head + b"data: " + body + b"\n\n"


class Telling(Protocol):
    """How one vendor streams one answer; frames come in this order, and nothing after an end or a failure."""

    def begin(self) -> list[Frame]: ...

    def event(self, event: PartEvent) -> list[Frame]:
        """The frames of an event that is not the last one."""
        ...

    def end(self, response: LLMResponse) -> list[Frame]: ...

    def failed(self, error: dict[str, Any]) -> list[Frame]:
        """The frames of an error in the midst of the answer; `error` is the vendor's body of one."""
        ...
