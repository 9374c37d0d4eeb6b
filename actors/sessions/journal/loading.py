"""Reads what a session has written: its snapshot, the entries after it, and what is kept beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgpack

from llmgine.actors.sessions.journal.entries import Unreadable, all_blobs, read_entry
from llmgine.actors.sessions.journal.keeping import SessionStore
from llmgine.actors.sessions.journal.records import TurnQueued
from llmgine.actors.sessions.journal.state import SessionState
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.actors.store import EntryDamaged
from llmgine.actors.store.rows import TurnRow


@dataclass(slots=True)
class Loaded:
    """A session as its journal left it; `head` is the number of the last entry that counts.

    `entries` are so many that no snapshot covers.
    `blobs` are the hashes of what it refers to. Where the journal is damaged, the state is what came before
    the damage.
    """

    state: SessionState = field(default_factory=SessionState)
    head: int = 0
    entries: int = 0
    blobs: set[str] = field(default_factory=set)


async def load(store: SessionStore, session_id: str) -> Loaded:
    """The session as it stands in the store; only a store that cannot be read raises."""
    loaded = Loaded()
    try:
        kept = await store.snapshot(session_id)
        if kept is not None:
            upto, body = kept
            blobs = await _fetch(store, loaded, [body])
            loaded.state, loaded.head = SessionState.from_snapshot(body, blobs), upto
    except (EntryDamaged, Unreadable) as error:
        loaded.state.damage = (0, str(error))
        return loaded
    state = loaded.state
    try:
        async for page in store.entries(session_id, loaded.head):
            loaded.entries += len(page)
            state.read(page, await _fetch(store, loaded, [body for _, body in page]))
            loaded.head = page[-1][0] if state.damage is None else state.damage[0] - 1
            if state.damage is not None:
                break
    except EntryDamaged as error:
        state.damage = (loaded.head + 1, str(error))
    return loaded


async def _fetch(store: SessionStore, loaded: Loaded, bodies: Iterable[bytes]) -> dict[str, bytes]:
    """What is kept beside these; what is missing is found out where it is needed."""
    names = all_blobs(bodies)
    loaded.blobs.update(names)
    found = {name: await store.blob(name) for name in names}
    return {name: body for name, body in found.items() if body is not None}


async def request_of(store: SessionStore, row: TurnRow) -> TurnRequest | None:
    """What the turn of this row was asked; None where that cannot be read."""
    loaded = Loaded()
    try:
        record = read_entry(row.request, await _fetch(store, loaded, [row.request]))
    except (EntryDamaged, Unreadable):
        return None
    return record.request if isinstance(record, TurnQueued) else None


def last_event(row: TurnRow | None) -> list[Any] | None:
    """What ended the turn of this row, as wire; None where it has not ended."""
    if row is None or row.outcome is None:
        return None
    event: list[Any] = msgpack.unpackb(row.outcome)
    return event
