from llmgine.actors.telemetry.actor import TelemetryActor
from llmgine.actors.telemetry.client import TelemetryShipper
from llmgine.actors.telemetry.errors import (
    ObserverUnusable,
    TelemetryError,
    TelemetryOff,
    TraceStoreUnusable,
)
from llmgine.actors.telemetry.host import TelemetryHost
from llmgine.actors.telemetry.observed import ObservedActor
from llmgine.actors.telemetry.query import TelemetryClient, View

__all__ = [
    "ObservedActor",
    "ObserverUnusable",
    "TelemetryActor",
    "TelemetryClient",
    "TelemetryError",
    "TelemetryHost",
    "TelemetryOff",
    "TelemetryShipper",
    "TraceStoreUnusable",
    "View",
]
