if __name__ != "llmgine.actors.bus":
    raise ImportError(f"import llmgine.actors.bus, not {__name__}")

from llmgine.actors.bus.client.client import BusClient
from llmgine.actors.bus.client.registration import Leftover, Subscription, SubscriptionRegistry
from llmgine.actors.bus.errors import (
    AskRefused,
    BusClosed,
    BusError,
    CommandFailed,
    HandlerExists,
    InvalidHandler,
    InvalidOption,
    NotPublished,
    Overloaded,
    RegistrationRefused,
    SchemaConflict,
    ScopeRefused,
    StaleRegistration,
    UnsendableMessage,
)
from llmgine.actors.bus.handling.handlers import Delivery
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
from llmgine.actors.bus.router.core import RouterCore
from llmgine.actors.bus.router.service import RouterService
from llmgine.actors.bus.subscriptions import SubscriptionRecord, SubscriptionTable, TableStatistics

__all__ = [
    "BUS",
    "AskRefused",
    "BusClient",
    "BusClosed",
    "BusError",
    "BusOptions",
    "Command",
    "CommandError",
    "CommandFailed",
    "CommandResult",
    "Delivery",
    "Envelope",
    "Event",
    "HandlerExists",
    "HandlerOutcome",
    "InvalidHandler",
    "InvalidOption",
    "Leftover",
    "Message",
    "NotPublished",
    "Overloaded",
    "Receipt",
    "RegistrationRefused",
    "RouterCore",
    "RouterService",
    "SchemaConflict",
    "ScopeRefused",
    "StaleRegistration",
    "Subscription",
    "SubscriptionRecord",
    "SubscriptionRegistry",
    "SubscriptionTable",
    "TableStatistics",
    "UnsendableMessage",
]
