"""Finished spans as a file of OpenTelemetry's JSON, a request a line, as its collectors read and write it."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmgine.telemetry.exporters.lines import LineFile
from llmgine.telemetry.exporters.otlp.encoding import Encoder
from llmgine.telemetry.records import Span

MAX_FILE: Final = 100_000_000
_IDS: Final = ("traceId", "spanId", "parentSpanId")


class OtlpJsonExporter:
    """Appends to a file; a line is one request with the spans of one batch."""

    name = "otlp-json"

    def __init__(
        self,
        path: str | os.PathLike[str],
        runtime: str = "",
        resource: Mapping[str, str] | None = None,
        *,
        max_bytes: int = MAX_FILE,
    ) -> None:
        self._file = LineFile(path, max_bytes)
        self.path = self._file.path
        self._runtime = runtime
        self._resource = resource
        self._encoder: Encoder | None = None  # made in the thread that exports; it takes a while to import

    def export(self, spans: Sequence[Span]) -> None:
        if self._encoder is None:
            self._encoder = Encoder(self._runtime, self._resource)
        self._file.append(request_line(self._encoder, spans))

    def idle(self) -> None:
        """Every line is in the file already."""

    def close(self) -> None:
        self._file.close()


def request_line(encoder: Encoder, spans: Sequence[Span]) -> bytes:
    """The spans as one line of ASCII JSON, its newline included.

    The protocol's JSON is that of protobuf, with ids in hexadecimal and enumerations as numbers.
    """
    from google.protobuf.json_format import MessageToDict

    request: dict[str, Any] = MessageToDict(encoder.request(spans), use_integers_for_enums=True)
    for of_resource in request.get("resourceSpans", ()):
        for of_scope in of_resource.get("scopeSpans", ()):
            for span in of_scope.get("spans", ()):
                for bearer in (span, *span.get("links", ())):
                    _in_hexadecimal(bearer)
    return json.dumps(request, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def _in_hexadecimal(bearer: dict[str, Any]) -> None:
    for name in _IDS:
        if name in bearer:
            bearer[name] = b64decode(bearer[name]).hex()
