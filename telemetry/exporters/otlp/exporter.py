"""Finished spans to a receiver of the OpenTelemetry protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from llmgine.telemetry.exporters.exporter import Taken
from llmgine.telemetry.exporters.otlp.answers import Answer
from llmgine.telemetry.exporters.otlp.encoding import Encoder
from llmgine.telemetry.exporters.otlp.target import Target
from llmgine.telemetry.records import Span

MAX_REQUEST: Final = 1_000_000
"""Bytes of one request: proxies begin to refuse there, and gRPC receivers at four times as many."""


class Sender(Protocol):
    """A connection to a receiver."""

    def send(self, body: bytes) -> Answer: ...

    def close(self) -> None: ...


class OtlpExporter:
    """Sends each batch once; what may be sent again is handed back, and what is lost is told.

    It is opened in the thread that exports: what it needs takes a while to import.
    """

    name = "otlp"

    def __init__(
        self,
        target: Target,
        runtime: str = "",
        resource: dict[str, str] | None = None,
        *,
        max_request: int = MAX_REQUEST,
    ) -> None:
        self.target = target
        self._runtime = runtime
        self._resource = resource
        self._max_request = max_request
        self._opened: tuple[Encoder, Sender] | None = None

    def export(self, spans: Sequence[Span]) -> Taken | None:
        encoder, sender = self._open()
        refused, reason, done = 0, "", 0
        for part, body in self._requests(encoder, spans):
            answer = sender.send(body)
            if answer.again:
                return Taken(refused, spans[done:], answer.after, answer.reason)
            refused += min(answer.rejected, len(part)) if answer.ok else len(part)
            reason = answer.reason or reason
            done += len(part)
        return Taken(refused, reason=reason) if refused else None

    def idle(self) -> None:
        """Nothing waits in here."""

    def close(self) -> None:
        if self._opened is not None:
            self._opened[1].close()

    def _open(self) -> tuple[Encoder, Sender]:
        if self._opened is None:
            self._opened = Encoder(self._runtime, self._resource), _sender(self.target)
        return self._opened

    def _requests(self, encoder: Encoder, spans: Sequence[Span]) -> Iterator[tuple[Sequence[Span], bytes]]:
        """The spans in order, in as few requests as their sizes allow."""
        body = encoder.request(spans).SerializeToString()
        if len(body) <= self._max_request or len(spans) == 1:
            yield spans, body
            return
        middle = len(spans) // 2
        yield from self._requests(encoder, spans[:middle])
        yield from self._requests(encoder, spans[middle:])


def _sender(target: Target) -> Sender:
    if target.protocol == "grpc":
        from llmgine.telemetry.exporters.otlp.grpc import GrpcSender

        return GrpcSender(target)
    from llmgine.telemetry.exporters.otlp.http import HttpSender

    return HttpSender(target)
