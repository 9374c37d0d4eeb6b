"""How a body's bytes become the frames of its protocol."""

from __future__ import annotations

from typing import Protocol

from llmgine.providers.errors import LlmgineError


class MalformedStream(LlmgineError):
    """The body cannot be a stream of frames; the message says why."""


class Splitter(Protocol):
    """Splits a body into `(event name, data)` frames, the same ones however the network cut it.

    Memory is bounded: what cannot be a frame raises `MalformedStream`, after the frames before it were
    given out, and so does every later call.
    """

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """The frames that this piece of the body completes."""
        ...

    def end(self) -> bool:
        """The body ended: True if an unfinished frame was thrown away."""
        ...
