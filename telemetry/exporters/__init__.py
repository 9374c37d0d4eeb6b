from llmgine.telemetry.exporters.console import ConsoleExporter, drawing
from llmgine.telemetry.exporters.exporter import Exporter
from llmgine.telemetry.exporters.jsonl import JsonlExporter

__all__ = ["ConsoleExporter", "Exporter", "JsonlExporter", "drawing"]
