"""What a codec is: one wire protocol as a pure pair of encode and decode.

A codec knows neither HTTP nor clocks. Bytes are split into frames by the transport's part
(`providers.frames`); a decoder takes one JSON frame at a time and says what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from llmgine.providers.catalogue.profiles import UNKNOWN_MODEL, ModelProfile
from llmgine.providers.contracts import Adjustment, LLMRequest, LLMResponse
from llmgine.providers.errors import ErrorPhase, ProviderError
from llmgine.providers.events import StreamEvent


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: the provider's name in ours, the model's name in theirs, and what it can do."""

    provider: str
    model: str
    profile: ModelProfile = UNKNOWN_MODEL


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request as the protocol wants it; `body` is JSON-ready and always asks for a stream."""

    body: dict[str, Any]
    headers: Mapping[str, str]
    adjustments: tuple[Adjustment, ...]


class Decoder(Protocol):
    """Turns the frames of one answer into events; never raises for what a server sent.

    Whatever happens, the events of all calls together end with exactly one `Done` or `Failed`;
    after it every further frame gives nothing.
    """

    def feed(self, event: str, data: bytes) -> list[StreamEvent]:
        """The events of one frame: `event` is its SSE event name ("" without one), `data` its payload."""
        ...

    def end(self) -> list[StreamEvent]:
        """The body ended: a `Done` if its end marker had come, else a `Failed` of kind truncated."""
        ...

    def fail(self, error: ProviderError) -> list[StreamEvent]:
        """The transport broke: a `Failed` with what had arrived, unless the stream had ended."""
        ...


class Codec(Protocol):
    """One wire protocol."""

    api: str

    def encode(self, request: LLMRequest, target: Target) -> Encoded:
        """The request's body; `InvalidRequest` or `ProviderError(unsupported)` for what cannot be sent."""
        ...

    def decoder(self, target: Target, adjustments: tuple[Adjustment, ...] = ()) -> Decoder:
        """A fresh decoder for one streamed answer."""
        ...

    def decode_body(self, target: Target, body: bytes) -> LLMResponse:
        """An answer that came in one piece; `ProviderError` where it is none."""
        ...

    def decode_error(
        self, target: Target, status: int, headers: Mapping[str, str], body: bytes, phase: ErrorPhase
    ) -> ProviderError:
        """What a non-2xx answer means; never raises, whatever the body holds."""
        ...
