"""Reads what the store holds of a session as a process that wakes it would, after every commit."""

from __future__ import annotations

from llmgine.actors.sessions.journal.state import SessionState
from llmgine.actors.store.session_ledger import SessionLedger
from llmgine.providers.contracts import Message, ToolCallPart
from tests.simulation.sessions.account import Account, unfit

# Of all commits so many are read back.
_GLANCES = 0.1


class Reader:
    """Whatever the moment, a session reads back, and its conversation can go on."""

    def __init__(self, account: Account, ledger: SessionLedger) -> None:
        self._account = account
        self._ledger = ledger

    def glance(self, session: str) -> None:
        """Looks now and then."""
        if self._account.loop.chance(_GLANCES):
            self.look(session)

    def look(self, session: str) -> None:
        ledger, must = self._ledger, self._account.must
        upto, snapshot = ledger.snapshots.get(session, (0, None))
        state = SessionState() if snapshot is None else SessionState.from_snapshot(snapshot, ledger.blobs)
        entries = ledger.entries.get(session, {})
        state.read(((number, body) for number, body in entries.items() if number > upto), ledger.blobs)
        must(state.damage is None, 2, f"what is kept of {session} cannot be read: {state.damage}")
        must(not state.skipped, 2, f"what is kept of {session} is passed over: {state.skipped}")
        why = unfit(closed(state.context.view()))
        must(not why, 2, f"what is kept of {session} is not fit to be sent: {why}")
        waiting = {row.id for row in ledger.turns.values() if row.session == session and row.ended is None}
        row = ledger.rows.get(session)
        if row is not None and row.state == "open":
            must(
                waiting == set(state.queue),
                1,
                f"{session}: turns that have not ended are {waiting} by their rows, and {set(state.queue)}",
            )


def closed(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Without the calls at the end that still wait for their results."""
    while messages and any(isinstance(part, ToolCallPart) for part in messages[-1].parts):
        messages = messages[:-1]
    return messages
