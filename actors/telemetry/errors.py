"""What goes wrong in the telemetry actor, as one picklable tree.

LlmgineError
└── TelemetryError
    ├── TelemetryOff          the runtime was launched without telemetry, so there is nothing to ask
    ├── TraceStoreUnusable    the file of kept traces cannot be used; telemetry goes on in memory
    └── ObserverUnusable      what `telemetry.observers` names cannot be loaded
"""

from __future__ import annotations

from llmgine.providers.errors import LlmgineError


class TelemetryError(LlmgineError):
    """Everything that the telemetry actor raises."""


class TelemetryOff(TelemetryError):
    """The runtime was launched without telemetry, so there is nothing to ask."""


class TraceStoreUnusable(TelemetryError):
    """The file of kept traces cannot be used; what is kept is in memory until that is mended."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(path, what)
        self.path = path
        self.what = what

    def __str__(self) -> str:
        return (
            f"the trace store at {self.path} cannot be used: {self.what}; what is kept is in memory alone. "
            "Move the file away or mend its folder, or set telemetry.store to another file, and launch again"
        )


class ObserverUnusable(TelemetryError):
    """What `telemetry.observers` names is no observer."""
