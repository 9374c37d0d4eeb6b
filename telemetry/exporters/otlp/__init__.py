from llmgine.telemetry.exporters.otlp.answers import Answer
from llmgine.telemetry.exporters.otlp.exporter import OtlpExporter
from llmgine.telemetry.exporters.otlp.target import Target, target

__all__ = ["Answer", "OtlpExporter", "Target", "target"]
