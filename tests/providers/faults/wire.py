"""What the server has to know of a protocol to speak it."""

from __future__ import annotations

import json
from typing import Any, Protocol

from tests.providers.faults.said import Heard, Said


class Wire(Protocol):
    """One protocol, seen from the server's side."""

    def heard(self, body: dict[str, Any]) -> Heard:
        """The request in plain words."""
        ...

    def frames(self, said: Said) -> list[str]:
        """The answer as the pieces of a streamed body."""
        ...

    def body(self, said: Said) -> Any:
        """The answer in one piece."""
        ...

    def error(self, status: int, word: str, message: str) -> dict[str, Any]:
        """The body of a failed answer; `word` is the protocol's own name for the failure."""
        ...

    def error_frame(self, message: str) -> str:
        """A failure inside a stream that had begun well."""
        ...

    def odd_frame(self) -> str:
        """A frame of a kind that nobody has heard of."""
        ...

    def broken_frame(self) -> str:
        """A frame whose payload is no JSON."""
        ...


BROKEN = 'data: {"broken\n\n'


def sse(data: Any, event: str = "") -> str:
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(data, ensure_ascii=False)}\n\n"


def blocks(content: Any) -> list[dict[str, Any]]:
    """The blocks of a content that may be plain text."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())


def halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]
