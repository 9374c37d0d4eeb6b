"""What a client is: one way to a server, which takes a body and gives back the answer's bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from llmgine.providers.clients.routes import Purpose
from llmgine.providers.frames import Splitter
from llmgine.providers.options import Timeouts


@dataclass(frozen=True, slots=True)
class Call:
    """One request: `body` is JSON, `model` the server's own name for it.

    Those about batches name their `item`, ask by `query`, and send the body as a file where `file` names one.
    """

    model: str
    body: bytes
    headers: Mapping[str, str]
    timeouts: Timeouts
    purpose: Purpose = "generate"
    item: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    file: str = ""


class Answer(Protocol):
    """A server's answer whose body has not been read yet. It must be closed."""

    status: int
    headers: Mapping[str, str]

    @property
    def content_type(self) -> str:
        """The media type alone, in lower case; "" where the server names none."""
        ...

    @property
    def request_id(self) -> str | None: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes in. For a failed answer, which was read before, all at once."""
        ...

    def splitter(self) -> Splitter:
        """What splits a streamed body of this answer into frames; a `JsonArraySplitter` also one of JSON."""
        ...

    async def aclose(self) -> None:
        """Drop the connection unless the body was read to its end."""
        ...


class Client(Protocol):
    """One pooled way to a server."""

    async def send(self, call: Call) -> Answer:
        """Send the call and return once the answer's head is there, whatever its status.

        Raises what the transport raises (`httpx2.HTTPError`, `OSError`), never an SDK's class.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
