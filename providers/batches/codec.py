"""What a batch codec is: the batch API of one protocol, as pure steps.

A step yields what is to be sent and is given the server's answer, so that it knows neither HTTP nor clocks.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from llmgine.providers.clients.routes import BatchPurpose
from llmgine.providers.codecs import Target
from llmgine.providers.contracts import BatchStatus, LLMRequest
from llmgine.providers.errors import ErrorPhase, ProviderError
from llmgine.providers.provider import BatchResult

# Vendors take 200 and 256 MB. A provider actor holds what it sends, and other calls go on beside it.
MOST_BYTES = 100_000_000
# A batch that was made just now may be dated a little earlier: clocks differ.
CLOCK_SKEW = 3600.0
MOST_PAGES = 100

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Sending:
    """One request to the server: `item` is the id in its path, `file` the name of a body sent as a file."""

    purpose: BatchPurpose
    item: str = ""
    body: bytes = b""
    query: Mapping[str, str] = field(default_factory=dict)
    file: str = ""


Steps = Generator[Sending, dict[str, Any], R]


class BatchCodec(Protocol):
    """One protocol's batches."""

    most_requests: int

    def line(self, custom_id: str, request: LLMRequest, target: Target) -> bytes:
        """A request as a batch holds it; `InvalidRequest` or `ProviderError` for what cannot be sent."""
        ...

    def submit(self, target: Target, tag: str, lines: Sequence[bytes]) -> Steps[BatchStatus]: ...

    def find(
        self, target: Target, tag: str, since: float, total: int, excluded: Collection[str]
    ) -> Steps[BatchStatus | None]:
        """The batch that was submitted under `tag`, no earlier than `since`; None where there is none.

        Where the protocol keeps no tags it is one of `total` requests that may be it; the ids of its results
        tell. Those `excluded` are not.
        """
        ...

    def status(self, target: Target, id: str) -> Steps[BatchStatus]: ...

    def cancel(self, target: Target, id: str) -> Steps[BatchStatus]: ...

    def least_results(self, status: BatchStatus) -> int:
        """How many results a whole download holds at least."""
        ...

    def read(self, target: Target, line: bytes) -> BatchResult:
        """One line of the results; `ProviderError` of kind malformed or truncated where it is none."""
        ...

    def decode_error(
        self, target: Target, status: int, headers: Mapping[str, str], body: bytes, phase: ErrorPhase
    ) -> ProviderError:
        """What a non-2xx answer means; never raises."""
        ...
