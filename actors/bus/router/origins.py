"""What the router itself sends: scheduled events, replays, news of dead letters. Pure."""

from __future__ import annotations

from typing import Protocol

from llmgine.actors.bus import wire
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.records import ClientState, Head, Origin, ProducerLine, Record
from llmgine.actors.bus.router.routes import Route, Stages
from llmgine.actors.bus.router.state import RouterState

_FEW = 64


class Entrance(Protocol):
    def pass_on(self, record: Record, stages: Stages, *, durable: bool) -> None: ...


class Origins:
    """Producers inside the router; each of their lines lasts as long as something of it is not settled."""

    def __init__(self, state: RouterState, entrance: Entrance) -> None:
        self._state = state
        self._entrance = entrance
        self._lines: dict[tuple[str, int, str], ProducerLine] = {}
        self._limit = _FEW

    def send(self, origin: Origin) -> bool:
        """Take it in, as if a client had sent it; False where nobody would get it, and nothing is done."""
        state = self._state
        if not state.loaded:
            return False
        home = self._home(origin)
        aimed = origin.only is not None or origin.command
        if aimed:
            route = Route(((home,),) if home is not None else (), (), ())
        else:
            route = state.routes.event(origin.lineage, origin.session)
        if not route.stages and not route.screened:
            return False
        line = self._line(origin)
        record = Record(self._head(origin, line), origin.sequence, origin.body)
        if origin.command:
            record.home = home
        if route.asks and not aimed:
            route = state.routes.sift(route, record, state.now)
        for mailbox in route.screened:
            mailbox.counters.filtered += 1
        if not route.stages:
            if origin.on_settled is not None:
                origin.on_settled(True)
            return True
        line.received = max(line.received, origin.sequence)
        if not state.journal.recognise(record, route.stages):
            state.counters["commands_sent_total" if origin.command else "events_published_total"] += 1
            # Whoever aims at one mailbox keeps the message elsewhere than in the journal.
            self._entrance.pass_on(record, route.stages, durable=route.durable and not aimed)
        return True

    def _home(self, origin: Origin) -> Mailbox | None:
        if origin.only is not None or not origin.command:
            return origin.only
        return self._state.routes.command(origin.lineage, origin.session)

    def _line(self, origin: Origin) -> ProducerLine:
        key = origin.producer, origin.epoch, origin.session
        line = self._lines.get(key)
        if line is None:
            if len(self._lines) >= self._limit:
                self._lines = {one: line for one, line in self._lines.items() if line.unsettled}
                self._limit = 2 * len(self._lines) + _FEW
            client = ClientState(origin.producer, origin.epoch, "")
            before = origin.sequence - 1
            line = self._state.journal.returning.claim(client, origin.session, before, origin.sequence)
            line = self._lines[key] = line or ProducerLine(client, origin.session, before)
        if not line.unsettled:
            line.floor = max(line.floor, origin.sequence)
        return line

    def _head(self, origin: Origin, line: ProducerLine) -> Head:
        flags = wire.COMMAND if origin.command else 0
        if origin.sequence <= line.journaled:
            flags |= wire.AGAIN
        extra = {"replay_of": origin.replay_of} if origin.replay_of is not None else None
        head = Head(line, origin.lineage, origin.depth, flags, extra)
        head.on_settled = origin.on_settled
        head.plain = head.plain and origin.on_settled is None
        return head
