from llmgine.telemetry.exporters.console import ConsoleExporter, drawing
from llmgine.telemetry.exporters.exporter import Exporter, Taken
from llmgine.telemetry.exporters.jsonl import JsonlExporter
from llmgine.telemetry.exporters.otlp import OtlpExporter
from llmgine.telemetry.exporters.otlp_json import OtlpJsonExporter

__all__ = [
    "ConsoleExporter",
    "Exporter",
    "JsonlExporter",
    "OtlpExporter",
    "OtlpJsonExporter",
    "Taken",
    "drawing",
]
