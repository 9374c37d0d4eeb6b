"""Finished spans as a file of one JSON object a line."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Final

from llmgine.telemetry.exporters.lines import LineFile
from llmgine.telemetry.records import Span
from llmgine.telemetry.redact import plain

MAX_VALUE: Final = 16_384
MAX_LINE: Final = 262_144
MAX_FILE: Final = 100_000_000


class JsonlExporter:
    """Appends to a file; each line is whole and valid JSON, whatever the attributes hold.

    Lines are bounded by MAX_LINE; a larger span keeps everything but its attributes,
    links and events.
    """

    name = "jsonl"

    def __init__(self, path: str | os.PathLike[str], max_bytes: int = MAX_FILE) -> None:
        self._file = LineFile(path, max_bytes)
        self.path = self._file.path

    def export(self, spans: Sequence[Span]) -> None:
        self._file.append(b"".join(line(span) for span in spans))

    def idle(self) -> None:
        """Every line is in the file already."""

    def close(self) -> None:
        self._file.close()


def line(span: Span) -> bytes:
    """The span as one line of ASCII JSON, its newline included."""
    fields = {
        "trace_id": f"{span.trace_id:032x}",
        "span_id": f"{span.span_id:016x}",
        "parent_span_id": f"{span.parent_id:016x}" if span.parent_id else None,
        "name": span.name,
        "kind": span.kind,
        "session": span.session or None,
        "source": span.source,
        "start_time_unix_nano": span.start,
        "end_time_unix_nano": span.end,
        "seconds": span.seconds,
        "error_type": span.error,
        "attributes": plain(span.attributes, MAX_VALUE),
        "links": [
            {"trace_id": f"{link.trace_id:032x}", "span_id": f"{link.span_id:016x}"} for link in span.links
        ],
        "events": [
            {
                "time_unix_nano": event.time,
                "name": event.name,
                "attributes": plain(event.attributes, MAX_VALUE),
            }
            for event in span.events
        ],
    }
    text = json.dumps(fields, allow_nan=False)
    if len(text) > MAX_LINE:
        fields["attributes"] = {"llmgine.dropped_attributes": len(span.attributes)}
        fields["links"] = fields["events"] = []
        text = json.dumps(fields, allow_nan=False)
    return text.encode("ascii") + b"\n"
