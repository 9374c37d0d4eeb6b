"""What goes wrong with the store, as one picklable tree.

LlmgineError
└── StoreError                everything that the store raises
    ├── StoreUnavailable      nothing can be written or read now; what is waiting is tried again
    ├── StoreDamaged          the file is damaged or was written by a newer version; the writer has stopped
    ├── StoreReplaced         another process has opened the same file; this writer has stopped
    ├── OperationRefused      these operations can never be written; nothing of their batch was
    ├── Fenced                another process has the session now, or nobody; nothing of the batch was written
    ├── AlreadyAnswered       the approval was answered before, or its time is over
    ├── UnknownApproval       there is no such approval
    └── EntryDamaged          a session's journal cannot be read from some entry on
"""

from __future__ import annotations

from typing import ClassVar, Final

from llmgine.providers.errors import LlmgineError


class StoreError(LlmgineError):
    """Everything that the store raises; `code` names the class on the wire."""

    code: ClassVar[str] = "store"


class StoreUnavailable(StoreError):
    """The store cannot be reached or cannot write now; the message names what mends it.

    What was handed over may still be written later; an operation that undoes it comes after it.
    """

    code: ClassVar[str] = "store_unavailable"


class StoreDamaged(StoreError):
    """The store's file is not what this version wrote; nothing is written until somebody has mended it."""

    code: ClassVar[str] = "store_damaged"


class StoreReplaced(StoreError):
    """Another process has opened the same file for writing since; this one has stopped."""

    code: ClassVar[str] = "store_replaced"


class OperationRefused(StoreError):
    """The store can never take these operations; nothing of their batch was written."""

    code: ClassVar[str] = "store_refused"


class Fenced(StoreError):
    """The session is another's to write, or is not there; whoever wrote must stop."""

    code: ClassVar[str] = "store_fenced"


class AlreadyAnswered(StoreError):
    """The approval was answered before, or its time is over; the message says how and when."""

    code: ClassVar[str] = "approval_answered"


class UnknownApproval(StoreError):
    """There is no such approval: its session was deleted, or it is long over."""

    code: ClassVar[str] = "approval_unknown"


class EntryDamaged(StoreError):
    """A session's snapshot, or an entry of its journal, cannot be read, so what follows it means nothing.

    What was read before is sound; `SetEntriesAside` lets the session go on from there.
    """

    code: ClassVar[str] = "store_entry_damaged"


_BY_CODE: Final = {
    one.code: one
    for one in (
        StoreUnavailable,
        StoreDamaged,
        StoreReplaced,
        OperationRefused,
        Fenced,
        AlreadyAnswered,
        UnknownApproval,
        EntryDamaged,
    )
}


def error_of(code: str, text: str) -> StoreError:
    """The error that a code from the wire stands for."""
    return _BY_CODE.get(code, StoreError)(text)
