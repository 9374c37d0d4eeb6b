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
    """The file of kept traces cannot be used; where that is `lasting`, memory takes its place."""

    def __init__(self, path: str, what: str, lasting: bool = True) -> None:
        super().__init__(path, what, lasting)
        self.path = path
        self.what = what
        self.lasting = lasting

    def __str__(self) -> str:
        begin = f"the trace store at {self.path} cannot be used: {self.what}"
        if not self.lasting:
            return f"{begin}; it is tried again, and what is to be kept waits"
        return (
            f"{begin}; what is kept is in memory alone. Move the file away or mend its folder, or set "
            "telemetry.store to another file, and launch again"
        )


class ObserverUnusable(TelemetryError):
    """What `telemetry.observers` names is no observer."""
