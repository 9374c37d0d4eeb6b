"""Recorders and exporters as the options ask for them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import cast

from llmgine.telemetry.exporters import (
    ConsoleExporter,
    Exporter,
    JsonlExporter,
    OtlpExporter,
    OtlpJsonExporter,
)
from llmgine.telemetry.exporters.otlp import target
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


def open_exporters(
    options: TelemetryOptions, runtime: str = "", environ: Mapping[str, str] | None = None
) -> list[Exporter]:
    """The exporters that are switched on, by the options or by OpenTelemetry's variables.

    A receiver that is wrongly described is a ValueError.
    """
    exporters: list[Exporter] = []
    receiver = target(options.otlp, os.environ if environ is None else environ)
    if receiver is not None:
        exporters.append(OtlpExporter(receiver, runtime, options.otlp.resource))
    if options.otlp_json is not None:
        exporters.append(
            OtlpJsonExporter(options.otlp_json, runtime, options.otlp.resource, max_bytes=options.max_file)
        )
    if options.jsonl is not None:
        exporters.append(JsonlExporter(options.jsonl, options.max_file))
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
