"""Recorders and exporters as the options ask for them."""

from __future__ import annotations

import importlib
from typing import cast

from llmgine.telemetry.exporters import ConsoleExporter, Exporter, JsonlExporter
from llmgine.telemetry.options import TelemetryOptions
from llmgine.telemetry.redact import RedactionHook
from llmgine.telemetry.spans import SpanRecorder


def open_recorder(source: str, options: TelemetryOptions) -> SpanRecorder:
    """The recorder of a process.

    A redactor that cannot be had is a ValueError: nothing may leave unredacted.
    """
    redact = load_redactor(options.redactor) if options.redactor else None
    return SpanRecorder(
        source,
        options.ring,
        content=options.content,
        redact=redact,
        max_value=options.max_value,
        max_content=options.max_content,
    )


def open_exporters(options: TelemetryOptions) -> list[Exporter]:
    """The exporters that are switched on."""
    exporters: list[Exporter] = []
    if options.jsonl is not None:
        exporters.append(JsonlExporter(options.jsonl))
    if options.console:
        exporters.append(ConsoleExporter())
    return exporters


def load_redactor(path: str) -> RedactionHook:
    """The function at `module:function`."""
    module, _, function = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"telemetry.redactor {path!r} cannot be loaded: {error}") from error
    if not callable(found):
        raise ValueError(f"telemetry.redactor {path!r} is not a function")
    return cast(RedactionHook, found)
