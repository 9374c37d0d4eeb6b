"""A session's history outside of its session: read from the store, written as JSON, put under another id."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from llmgine.actors.control import SessionConflict
from llmgine.actors.sessions import ContextError, ContextStore
from llmgine.actors.sessions.journal.loading import load
from llmgine.actors.sessions.journal.state import SessionState
from llmgine.actors.store import Fenced, StoreClient, StoreDamaged, StoreError
from llmgine.actors.store.session_operations import Activate, DropSession, PutBlob, PutSession, PutSnapshot
from llmgine.providers import InvalidRequest

FORMAT: Final = "llmgine.session"
VERSION: Final = 1

# What a session was opened with and still says something elsewhere.
_RECORD = ("model", "system", "options", "limits", "window", "when_busy", "recovery", "title")
# Its code, and what hangs on that: they are kept in its own store, and go along to no other.
_CODE = ("code", "runs", "tools", "placement", "fingerprint")
# Texts and media above this are kept beside the snapshot, as sessions keep them.
_BLOB_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class SessionCopy:
    """What a session is without its life: how it was opened, and its conversation."""

    record: dict[str, Any]
    context: ContextStore


async def read(store: StoreClient, session_id: str) -> SessionCopy | None:
    """The session as the store has it; None where it has none. Calls of a turn that runs are answered so."""
    row = await store.session(session_id)
    if row is None:
        return None
    state = (await load(store, session_id)).state
    if state.damage is not None:
        number, reason = state.damage
        raise StoreDamaged(f"entry {number} of session {session_id!r} cannot be read: {reason}")
    context = state.context.fork()
    context.repair("the session was copied while this call was running")
    return SessionCopy({name: row.record[name] for name in (*_RECORD, *_CODE) if name in row.record}, context)


async def write(store: StoreClient, session_id: str, copy: SessionCopy, owner: str) -> None:
    """Puts it into the store as a closed session; SessionConflict where there is one of that id."""
    now = time.time_ns()
    snapshot = SessionState(copy.context).to_snapshot(_BLOB_BYTES)
    changes = {"state": "closed", "record": copy.record, "messages": len(copy.context), "active": now}
    try:
        await store.write([Activate(session_id, 0, now, owner, now), PutSession(session_id, now, changes)])
        try:
            # Each by itself: together they may be more than one message holds.
            for name, body in snapshot.blobs.items():
                await store.write([PutBlob(session_id, now, name, body)])
            await store.write([PutSnapshot(session_id, now, 0, snapshot.body)])
        except Fenced:
            raise  # it is somebody else's by now
        except StoreError:
            await store.write([DropSession(session_id)])
            raise
    except Fenced:
        raise SessionConflict(
            f"there is a session {session_id!r} already; choose another id, or delete that one first"
        ) from None


def to_json(copy: SessionCopy) -> dict[str, Any]:
    """Plain values, with the version of their form; its code is not among them."""
    context = json.loads(copy.context.to_json())
    record = {name: value for name, value in copy.record.items() if name in _RECORD}
    return {"format": FORMAT, "version": VERSION, "record": record, "context": context}


def from_json(data: str | bytes) -> SessionCopy:
    """What `to_json` gave, written as JSON; InvalidRequest for what is none, or of a later version."""
    try:
        value: Mapping[str, Any] = json.loads(data)
        if value["format"] != FORMAT:
            raise InvalidRequest(f"this is no exported session: its format is {value['format']!r}")
        if value["version"] > VERSION:
            raise InvalidRequest(
                f"the export has version {value['version']}, this llmgine reads up to {VERSION}; update it"
            )
        said = dict(value["record"])
        record = {name: said[name] for name in _RECORD if name in said}
        return SessionCopy(record, ContextStore.from_json(json.dumps(value["context"]).encode()))
    except (ValueError, LookupError, TypeError, ContextError) as error:
        raise InvalidRequest(f"this is no exported session: {type(error).__name__}: {error}") from None
