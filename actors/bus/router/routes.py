"""Which mailboxes a message goes to, by lineage and session; cached until table or filters change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from llmgine.actors.bus.filtering import Compiled, Subject, compile_filter
from llmgine.actors.bus.messages import BUS, LINEAGE_SEPARATOR
from llmgine.actors.bus.router.bodies import metadata_of
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.records import Record
from llmgine.actors.bus.subscriptions import SubscriptionTable

Stages = tuple[tuple[Mailbox, ...], ...]

_CACHED = 65_536


class Route:
    """Where events of one class and session go, in stages from the lowest priority number up.

    `plain`: one stage, no message to be looked at and none to be kept. `asks`: filters look at each
    message, the bus's own (`gates`) or those of single mailboxes. `screened` are the mailboxes whose
    filters want none of these events: all, where the bus's do not.
    """

    __slots__ = ("asks", "durable", "gates", "plain", "screened", "stages")

    def __init__(self, stages: Stages, screened: tuple[Mailbox, ...], gates: tuple[Compiled, ...]) -> None:
        self.stages = stages
        self.screened = screened
        self.gates = gates
        boxes = [mailbox for stage in stages for mailbox in stage]
        self.durable = any(mailbox.durable for mailbox in boxes)
        self.asks = bool(gates) or any(_asks(mailbox) for mailbox in boxes)
        self.plain = len(stages) == 1 and not (self.durable or self.asks)


def _asks(mailbox: Mailbox) -> bool:
    """Whether its filter has to see each message."""
    return mailbox.filter is not None and not mailbox.filter.lasting


class Routes:
    """Lookups over the mirrored table."""

    def __init__(self, table: SubscriptionTable, mailboxes: Mapping[int, Mailbox]) -> None:
        self._table = table
        self._mailboxes = mailboxes
        self._events: dict[tuple[str, str], Route] = {}
        self._commands: dict[tuple[str, str], Mailbox | None] = {}
        # The bus's own filters by number, as they were pushed and at work.
        self._filters: dict[int, tuple[list[Any], Compiled]] = {}

    def clear(self) -> None:
        self._events.clear()
        self._commands.clear()

    @property
    def filters(self) -> list[list[Any]]:
        """The bus's filters, `[number, client, wire]` each."""
        return [pushed for pushed, _ in self._filters.values()]

    def set_filters(self, filters: Sequence[Sequence[Any]]) -> None:
        """An event has to pass all of these; one that is known already goes on with its buckets."""
        known, self._filters = self._filters, {}
        for number, client, wire in filters:
            pushed = [number, client, wire]
            former = known.get(number)
            if former is not None and former[0] == pushed:
                self._filters[number] = former
            else:
                self._filters[number] = pushed, compile_filter(wire)
        self._events.clear()

    def event(self, lineage: str, session: str) -> Route:
        """Bus-scope handlers of the class or an ancestor, and the session's own, by priority."""
        key = (lineage, session)
        found = self._events.get(key)
        if found is None:
            if len(self._events) >= _CACHED:
                self._events.clear()
            found = self._events[key] = self._find_event(lineage, session)
        return found

    def _find_event(self, lineage: str, session: str) -> Route:
        names = set(lineage.split(LINEAGE_SEPARATOR))
        scopes = (BUS,) if session == BUS else (BUS, session)
        subject = Subject(lineage, session, dict)
        filters = [compiled for _, compiled in self._filters.values()]
        shut = any(one.lasting and not one.admits(subject, 0.0) for one in filters)
        stages: dict[int, list[Mailbox]] = {}
        screened = []
        for scope in scopes:
            for subscription in self._table.scope(scope):
                if subscription.kind != "event" or subscription.wire_name not in names:
                    continue
                mailbox = self._mailboxes[subscription.number]
                wanted = mailbox.filter
                if shut or (wanted is not None and wanted.lasting and not wanted.admits(subject, 0.0)):
                    screened.append(mailbox)
                else:
                    stages.setdefault(subscription.priority, []).append(mailbox)
        gates = () if shut or not stages else tuple(one for one in filters if not one.lasting)
        in_order = tuple(tuple(stages[priority]) for priority in sorted(stages))
        return Route(in_order, tuple(screened), gates)

    def sift(self, route: Route, record: Record, now: float) -> Route:
        """The route of this one message: filters that look at each message have been asked, once."""
        head = record.head
        read = partial(metadata_of, record.body)
        subject = Subject(head.lineage, head.line.session, read, True if head.again else None)
        if not all(gate.admits(subject, now) for gate in route.gates):
            everyone = tuple(mailbox for stage in route.stages for mailbox in stage)
            return Route((), (*route.screened, *everyone), ())
        screened = list(route.screened)
        stages = []
        for stage in route.stages:
            kept = []
            for mailbox in stage:
                wanted = mailbox.filter
                if wanted is None or wanted.lasting or wanted.admits(subject, now):
                    kept.append(mailbox)
                else:
                    screened.append(mailbox)
            if kept:
                stages.append(tuple(kept))
        return Route(tuple(stages), tuple(screened), ())

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
