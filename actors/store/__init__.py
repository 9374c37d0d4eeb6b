from llmgine.actors.store.actor import StoreActor
from llmgine.actors.store.client import StoreClient
from llmgine.actors.store.errors import (
    AlreadyAnswered,
    EntryDamaged,
    Fenced,
    OperationRefused,
    StoreDamaged,
    StoreError,
    StoreReplaced,
    StoreUnavailable,
    UnknownApproval,
)
from llmgine.actors.store.options import StoreOptions
from llmgine.actors.store.queries import LetterFilter, Page, SessionFilter

__all__ = [
    "AlreadyAnswered",
    "EntryDamaged",
    "Fenced",
    "LetterFilter",
    "OperationRefused",
    "Page",
    "SessionFilter",
    "StoreActor",
    "StoreClient",
    "StoreDamaged",
    "StoreError",
    "StoreOptions",
    "StoreReplaced",
    "StoreUnavailable",
    "UnknownApproval",
]
