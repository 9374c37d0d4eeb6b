from llmgine.actors.telemetry.keeping.store import TraceStore

__all__ = ["TraceStore"]
