"""Which mailboxes a message goes to, by lineage and session; cached until the table changes."""

from __future__ import annotations

from collections.abc import Mapping

from llmgine.actors.bus.messages import BUS, LINEAGE_SEPARATOR
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.subscriptions import SubscriptionTable

Stages = tuple[tuple[Mailbox, ...], ...]

_CACHED = 65_536


class Routes:
    """Lookups over the mirrored table. An event's stages run from the lowest priority number up."""

    def __init__(self, table: SubscriptionTable, mailboxes: Mapping[int, Mailbox]) -> None:
        self._table = table
        self._mailboxes = mailboxes
        self._events: dict[tuple[str, str], Stages] = {}
        self._commands: dict[tuple[str, str], Mailbox | None] = {}

    def clear(self) -> None:
        self._events.clear()
        self._commands.clear()

    def event(self, lineage: str, session: str) -> Stages:
        """Bus-scope handlers of the class or an ancestor, and the session's own, by priority."""
        key = (lineage, session)
        found = self._events.get(key)
        if found is None:
            if len(self._events) >= _CACHED:
                self._events.clear()
            found = self._events[key] = self._find_event(lineage, session)
        return found

    def _find_event(self, lineage: str, session: str) -> Stages:
        names = set(lineage.split(LINEAGE_SEPARATOR))
        scopes = (BUS,) if session == BUS else (BUS, session)
        stages: dict[int, list[Mailbox]] = {}
        for scope in scopes:
            for subscription in self._table.scope(scope):
                if subscription.kind == "event" and subscription.wire_name in names:
                    mailbox = self._mailboxes[subscription.number]
                    stages.setdefault(subscription.priority, []).append(mailbox)
        return tuple(tuple(stages[priority]) for priority in sorted(stages))

    def command(self, lineage: str, session: str) -> Mailbox | None:
        """The session's handler of the most specific class, else the bus's."""
        key = (lineage, session)
        if key not in self._commands:
            if len(self._commands) >= _CACHED:
                self._commands.clear()
            self._commands[key] = self._find_command(lineage, session)
        return self._commands[key]

    def _find_command(self, lineage: str, session: str) -> Mailbox | None:
        names = lineage.split(LINEAGE_SEPARATOR)
        for scope in dict.fromkeys((session, BUS)):
            held = {one.wire_name: one for one in self._table.scope(scope) if one.kind == "command"}
            for name in names:
                if name in held:
                    return self._mailboxes[held[name].number]
        return None
