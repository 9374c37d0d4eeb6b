if __name__ != "llmgine.actors.bus":
    raise ImportError(f"import llmgine.actors.bus, not {__name__}")

from llmgine.actors.bus.messages import (
    BUS,
    Command,
    CommandError,
    CommandResult,
    Envelope,
    Event,
    HandlerOutcome,
    Message,
    Receipt,
)
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.subscriptions import SubscriptionRecord, SubscriptionTable, TableStatistics

__all__ = [
    "BUS",
    "BusOptions",
    "Command",
    "CommandError",
    "CommandResult",
    "Envelope",
    "Event",
    "HandlerOutcome",
    "Message",
    "Receipt",
    "SubscriptionRecord",
    "SubscriptionTable",
    "TableStatistics",
]
