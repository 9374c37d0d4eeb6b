"""Finished spans as a file of one JSON object a line."""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmgine.telemetry.records import Span
from llmgine.telemetry.redact import plain

MAX_VALUE = 16_384
MAX_LINE = 262_144


class JsonlExporter:
    """Appends to a file; each line is whole and valid JSON, whatever the attributes hold.

    Threads of one process and several processes may append to one file: a batch is a single write
    at its end. Lines are bounded by MAX_LINE; a larger span keeps everything but its attributes.
    """

    name = "jsonl"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file: int | None = os.open(
            self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")  # a line that a crash cut off must not spoil the next one

    def export(self, spans: Sequence[Span]) -> None:
        data = b"".join(line(span) for span in spans)
        with self._lock:
            if self._file is None:
                raise ValueError(f"the exporter to {self.path} is closed")
            if data:
                _append(self._file, data)

    def idle(self) -> None:
        """Every line is in the file already."""

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None


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
        "attributes": _json(plain(span.attributes, MAX_VALUE)),
    }
    text = json.dumps(fields, allow_nan=False)
    if len(text) > MAX_LINE:
        fields["attributes"] = {"llmgine.dropped_attributes": len(span.attributes)}
        text = json.dumps(fields, allow_nan=False)
    return text.encode("ascii") + b"\n"


def _json(value: Any) -> Any:
    """A plain value with what JSON has no number for written as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    return value


def _append(file: int, data: bytes) -> None:
    """All of the data or, where the disk is full, none of it."""
    before = os.fstat(file).st_size
    written = 0
    try:
        while written < len(data):
            written += os.write(file, data[written:])
    except OSError:
        if os.fstat(file).st_size == before + written:
            os.ftruncate(file, before)
        raise
