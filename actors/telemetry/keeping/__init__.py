from llmgine.actors.telemetry.keeping import sums, traces
from llmgine.actors.telemetry.keeping.store import TraceStore

__all__ = ["TraceStore", "sums", "traces"]
