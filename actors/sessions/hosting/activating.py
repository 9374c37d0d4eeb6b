"""Takes a session for this process: a new epoch, and what its last writer left."""

from __future__ import annotations

import logging
from typing import Any

from llmgine.actors.sessions.context.store import ContextStore
from llmgine.actors.sessions.errors import SessionMoved
from llmgine.actors.sessions.journal.keeping import SessionStore
from llmgine.actors.sessions.journal.loading import Loaded, load
from llmgine.actors.sessions.journal.records import TurnEnded
from llmgine.actors.store import Fenced
from llmgine.actors.store.session_operations import Activate, PutSession, SetEntriesAside

logger = logging.getLogger(__name__)


async def activate(
    store: SessionStore,
    session_id: str,
    changes: dict[str, Any],
    record: dict[str, Any],
    *,
    owner: str,
    now: int,
    anew: bool = False,
) -> tuple[int, Loaded]:
    """The session's new epoch, and the session as it stands; `SessionMoved` where another was quicker.

    `changes` are of its row, `record` goes over what the row's record holds. One that is opened `anew` is
    not looked up before it turns out to be there.
    """
    row = None if anew else await store.session(session_id)
    known, kept = (0, {}) if row is None else (row.epoch, row.record)
    epoch = max(known + 1, now)
    put = {**changes, "record": {**kept, **record}, "active": now}
    try:
        await store.write(
            [Activate(session_id, known, epoch, owner, now), PutSession(session_id, epoch, put)]
        )
    except Fenced as error:
        if anew:
            return await activate(store, session_id, changes, record, owner=owner, now=now)
        raise SessionMoved(f"session {session_id!r} was opened elsewhere at the same time: {error}") from None
    if row is None:
        row = await store.session(session_id)
        if row is None or not row.head:
            return epoch, Loaded()
        # What stood in its row was damaged; its journal is here.
    # Nobody else writes from here on, so what is read is all there is.
    loaded = await load(store, session_id)
    for number, reason in loaded.state.skipped:
        logger.warning("entry %d of session %s is passed over: %s", number, session_id, reason)
    if loaded.state.damage is not None:
        await _set_aside(store, session_id, epoch, loaded)
    return epoch, loaded


async def _set_aside(store: SessionStore, session_id: str, epoch: int, loaded: Loaded) -> None:
    """Goes on from before the damage; a turn whose end is beyond it has ended all the same."""
    state = loaded.state
    assert state.damage is not None
    number, reason = state.damage
    logger.error("session %s goes on from before entry %d: %s", session_id, number, reason)
    await store.write([SetEntriesAside(session_id, epoch, number, reason)])
    for turn_id in list(state.queue):
        row = await store.turn(session_id, turn_id)
        if row is None or row.state not in ("done", "failed", "cancelled"):
            continue
        if state.progress is not None and state.progress.turn_id == turn_id:
            _end_unanswered(state.context, state.progress.began.mark)
        state.note(TurnEnded(turn_id, row.state))


def _end_unanswered(context: ContextStore, mark: int) -> None:
    """Ends a turn that began at `mark` as a failed one: what nothing was answered to is taken back."""
    if any(message.role == "assistant" for message in context.view()[mark:]):
        context.repair("what came of this call is lost: the journal is damaged")
    else:
        context.rollback(mark, to_open_calls=True)
