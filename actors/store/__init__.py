from llmgine.actors.store.actor import StoreActor
from llmgine.actors.store.client import StoreClient
from llmgine.actors.store.errors import (
    OperationRefused,
    StoreDamaged,
    StoreError,
    StoreReplaced,
    StoreUnavailable,
)
from llmgine.actors.store.options import StoreOptions
from llmgine.actors.store.queries import LetterFilter, Page

__all__ = [
    "LetterFilter",
    "OperationRefused",
    "Page",
    "StoreActor",
    "StoreClient",
    "StoreDamaged",
    "StoreError",
    "StoreOptions",
    "StoreReplaced",
    "StoreUnavailable",
]
