"""From publishers into mailboxes: duplicates, routes, room, and the answer to the publisher."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from math import inf
from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.errors import ProtocolViolation
from llmgine.actors.bus.letters import Reason
from llmgine.actors.bus.messages import LINEAGE_SEPARATOR
from llmgine.actors.bus.router.counters import Offer
from llmgine.actors.bus.router.ends import Ends
from llmgine.actors.bus.router.journal import Journal
from llmgine.actors.bus.router.letters import failure_of
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.origins import Origins
from llmgine.actors.bus.router.records import ClientState, Head, ProducerLine, Record
from llmgine.actors.bus.router.routes import Route, Stages
from llmgine.actors.bus.router.state import RouterState
from llmgine.actors.bus.wire import failed_answer


class Admission:
    """Takes what clients publish and execute, each message once."""

    def __init__(self, state: RouterState, ends: Ends) -> None:
        self._state = state
        self._ends = ends
        self._journal = state.journal = Journal(state, ends, self)
        self._origins = Origins(state, self)
        state.originate = self._origins.send
        state.holding = self._holding
        # Answers to publishers that an adaptive mailbox holds back.
        self._delayed: dict[Record, None] = {}
        # Where events came in all at once: told when all of their batch have.
        self._fed: dict[Mailbox, None] = {}
        # Where a message gave up its place to one that has to wait behind others.
        self._thinned: list[Mailbox] = []

    def publish(self, client: ClientState, runs: list[Any]) -> None:
        """Runs of one client in the order in which it sent them."""
        state = self._state
        if not state.loaded:
            state.backlog.append((client, runs))
            return
        try:
            self._take_in(client, runs)
        finally:
            for mailbox in self._fed:
                state.press(mailbox)
                state.mark_ready(mailbox)
            self._fed.clear()

    def _take_in(self, client: ClientState, runs: list[Any]) -> None:
        state = self._state
        for session, lineage, first, floor, depth, flags, extra, bodies in runs:
            line = client.lines.get(session)
            if line is None:
                line = self._journal.returning.claim(client, session, first - 1, floor)
                line = client.lines[session] = line or ProducerLine(client, session, first - 1)
            if floor > line.floor:
                line.floor = floor
            if line.received + 1 < floor:
                # Below its floor the producer has seen everything settled, or never used the sequence.
                line.received = floor - 1
            known = line.received + 1 - first
            if known < 0:
                raise ProtocolViolation(
                    f"messages {line.received + 1} to {first - 1} of {session!r} are missing"
                )
            if known:
                state.restate(line, first, min(line.received, first + len(bodies) - 1))
            fresh = bodies[known:] if known else bodies
            if fresh:
                line.received = first + len(bodies) - 1
                head = Head(line, lineage, depth, flags, extra)
                if extra is not None and "deadline" in extra:
                    head.until = state.now + extra["deadline"]
                self._route(head, first + known, fresh)

    def _route(self, head: Head, first: int, bodies: list[bytes]) -> None:
        if head.flags & wire.VOID:
            client, last = head.line.client, first + len(bodies) - 1
            client.admitted.append([head.line.session, first, last, None, False])
            self._state.settled_range(client, head.line.session, first, last)
        elif head.depth > self._state.options.max_depth:
            self._too_deep(head, first, bodies)
        elif head.command:
            self._commands(head, first, bodies)
        else:
            self._events(head, first, bodies)

    def load(self) -> None:
        """The table is there: route what came before it."""
        state = self._state
        state.loaded = True
        self._journal.loaded()
        while state.backlog:
            client, runs = state.backlog.popleft()
            self.publish(client, runs)

    # Events

    def _events(self, head: Head, first: int, bodies: list[bytes]) -> None:
        state = self._state
        line = head.line
        route = state.routes.event(head.lineage, line.session)
        count = len(bodies)
        state.counters["events_published_total"] += count
        # Nothing of the line is in the journal, or on its way there: no message is to be looked at.
        simple = line.gate is None and not line.journaled
        if simple and route.plain and not head.chain:
            size, nested = sum(map(len, bodies)), head.depth > 0
            for mailbox in route.stages[0]:
                if not mailbox.has_room(count, size, nested=nested):
                    break
            else:
                if route.screened:
                    self._screen(route.screened, head, first, count)
                self._all_at_once(head, first, bodies, route.stages[0], size)
                return
        elif simple and not route.stages and not head.wants_result:
            self._to_nobody(head, first, count, route)
            return
        for sequence, body in enumerate(bodies, first):
            self._event(Record(head, sequence, body), route)

    def _to_nobody(self, head: Head, first: int, count: int, route: Route) -> None:
        state, line = self._state, head.line
        if route.screened:
            self._screen(route.screened, head, first, count)
        state.counters["events_processed_total"] += count
        client = line.client
        last = first + count - 1
        if not route.screened:
            name = head.lineage.partition(LINEAGE_SEPARATOR)[0]
            state.story.unheard(f"{client.name}:{client.epoch}", line.session, first, last, name)
        if client.connected:
            client.admitted.append([line.session, first, last, None, False])
            state.settled_range(client, line.session, first, last)

    def _all_at_once(
        self, head: Head, first: int, bodies: list[bytes], mailboxes: tuple[Mailbox, ...], size: int
    ) -> None:
        """One priority, and room everywhere: no message needs a look of its own."""
        state = self._state
        line = head.line
        unsettled, fan_out = line.unsettled, len(mailboxes)
        records = []
        for sequence, body in enumerate(bodies, first):
            record = unsettled[sequence] = Record(head, sequence, body, fan_out)
            records.append(record)
        state.unsettled += len(records)
        for mailbox in mailboxes:
            mailbox.enter_all(records, size)
            if mailbox.trouble is not None:
                state.arrived(mailbox, records)
            self._fed[mailbox] = None
        client = line.client
        if client.connected:
            client.admitted.append([line.session, first, first + len(records) - 1, None, False])
            state.dirty[client] = None

    def _event(self, record: Record, route: Route) -> None:
        """One message, by the filters, the journal and the mailboxes' policies."""
        head, state = record.head, self._state
        if route.asks:
            route = state.routes.sift(route, record, state.now)
        if self._journal.recognise(record, route.stages):
            state.counters["events_published_total"] -= 1
            return
        if route.screened:
            self._screen(route.screened, head, record.sequence, 1)
        self.pass_on(record, route.stages, durable=route.durable)

    def pass_on(self, record: Record, stages: Stages, *, durable: bool) -> None:
        """To its mailboxes, by way of the journal where it is to be kept or something before it is."""
        line = record.head.line
        self._register(record)
        if record.kept is not None:
            stages = tuple(stage for stage in record.kept.stages if stage)
        elif durable:
            boxes = [box for stage in stages for box in stage]
            keys = tuple(box.subscription.key_text for box in boxes if box.durable or record.head.command)
            self._journal.keep(record, stages, keys)
            return
        if line.gate is not None:
            self._journal.follow(record, stages)
        else:
            self.enter(record, stages)

    def _register(self, record: Record) -> None:
        record.head.line.unsettled[record.sequence] = record
        self._state.unsettled += 1

    def enter(self, record: Record, stages: Stages, *, anew: bool = True) -> None:
        """Into every mailbox with room at once; the answer waits for those without."""
        state = self._state
        head = record.head
        pending = record.kept.pending if record.kept is not None else {}
        boxes = [mailbox for stage in stages for mailbox in stage if anew or mailbox not in pending]
        # The extra count keeps the record from settling while mailboxes are still being tried.
        record.open += 1 + sum(mailbox not in pending for mailbox in boxes)
        if len(stages) > 1 or not anew:
            record.stages = [list(stage) for stage in stages] if len(stages) > 1 else None
            record.stage, record.opened_at = 0, state.now
            for mailbox in list(pending):
                # Where its turn was still to come, it may have come by this.
                self._ends.queued(mailbox, mailbox.release(head.line))
        delay = 0.0
        for mailbox in boxes:
            delay = max(delay, self._offer(mailbox, record))
        if delay and not head.depth:
            self._hold_back(record, delay)
        if record.waiting == 0:
            state.admitted(record)
        elif head.depth:
            state.admitted(record, deferred=True)
        record.open -= 1
        if record.open == 0:
            state.settle(record)
        while self._thinned:
            self._ends.admit_waiting(self._thinned.pop())

    def _offer(self, mailbox: Mailbox, record: Record) -> float:
        """Returns for how long the mailbox wants the publisher to be held back."""
        state, head = self._state, record.head
        # A publish inside a handler does not wait for room, its message does; so do the router's own.
        patient = head.depth or head.on_settled is not None
        until = inf if patient else state.now + state.options.block_timeout
        result, lost = mailbox.offer(record, until)
        self._ends.give_up(mailbox, lost)
        if result is Offer.REJECTED:
            self._ends.refuse(mailbox, record, "overflow", _fullness(mailbox))
            return 0.0
        if result is Offer.WAITING:
            record.waiting += 1
            state.stalled[mailbox] = None
            if lost:
                self._thinned.append(mailbox)
            return 0.0
        self._entered(mailbox, record, lost=bool(lost))
        return mailbox.delay()

    def _entered(self, mailbox: Mailbox, record: Record, *, lost: bool = False) -> None:
        state = self._state
        if mailbox.held:
            state.stalled[mailbox] = None
        if mailbox.trouble is not None:
            state.arrived(mailbox, list(mailbox.queued()) if lost else [record])
        state.press(mailbox)
        state.mark_ready(mailbox)

    def readmit(self, record: Record, mailboxes: Iterable[Mailbox]) -> None:
        """Into these mailboxes as soon as there is room, whatever their policies."""
        stages: dict[int, list[Mailbox]] = {}
        for mailbox in mailboxes:
            stages.setdefault(mailbox.subscription.priority, []).append(mailbox)
        if len(stages) > 1:
            record.stages = [stages[priority] for priority in sorted(stages)]
            record.opened_at = self._state.now
        for stage in list(stages.values()):
            for mailbox in list(stage):
                if mailbox.wait(record):
                    record.waiting += 1
                    self._state.stalled[mailbox] = None
                else:
                    self._entered(mailbox, record)

    def _hold_back(self, record: Record, delay: float) -> None:
        record.waiting += 1
        record.open += 1
        self._delayed[record] = None
        self._state.timers.at(self._state.now + delay, partial(self._let_go, record))

    def _let_go(self, record: Record) -> None:
        del self._delayed[record]
        record.open -= 1
        self._ends.entered(record)

    def _screen(self, mailboxes: Iterable[Mailbox], head: Head, first: int, count: int) -> None:
        """Their filters, or the bus's, want none of these."""
        state = self._state
        line = head.line
        message = f"{line.client.name}:{line.client.epoch}:{line.session}:{first}"
        for mailbox in mailboxes:
            mailbox.counters.filtered += count
            text = f"and {count - 1} after it" if count > 1 else ""
            name = mailbox.subscription.name
            state.story.note("filtered", handler=name, session=line.session, message=message, text=text)

    # Commands

    def _commands(self, head: Head, first: int, bodies: list[bytes]) -> None:
        state = self._state
        line = head.line
        state.counters["commands_sent_total"] += len(bodies)
        mailbox = state.routes.command(head.lineage, line.session)
        durable = bool(head.flags & wire.DURABLE)
        # An earlier life of the router may have taken it: then the journal says what becomes of it.
        unknown = durable and head.again and not self._journal.ready
        for sequence, body in enumerate(bodies, first):
            record = Record(head, sequence, body)
            record.home = mailbox
            stages = ((mailbox,),) if mailbox is not None else ()
            if line.journaled and self._journal.recognise(record, stages):
                state.counters["commands_sent_total"] -= 1
            elif mailbox is not None or unknown:
                self.pass_on(record, stages, durable=durable)
            else:
                name = head.lineage.partition(LINEAGE_SEPARATOR)[0]
                text = f"no handler for command {name} in session {line.session!r} nor in the bus scope"
                self._register(record)
                self.refuse(record, "no_handler", text)

    # What goes nowhere

    def _too_deep(self, head: Head, first: int, bodies: list[bytes]) -> None:
        state = self._state
        text = f"more than {state.options.max_depth} messages have caused one another (bus option max_depth)"
        kind = "commands_sent_total" if head.command else "events_published_total"
        state.counters[kind] += len(bodies)
        for sequence, body in enumerate(bodies, first):
            record = Record(head, sequence, body)
            self._register(record)
            self.refuse(record, "depth", text)

    def refuse(self, record: Record, reason: Reason, text: str) -> None:
        """It goes nowhere, and its producer is told why."""
        state = self._state
        state.failures.take(failure_of(record, None, reason, reason, text))
        record.failed = True
        if record.head.command:
            answer = failed_answer(reason, text, retryable=reason == "store")
            state.resolve(record, answer)
        else:
            record.refused = [("", reason)]
            record.outcomes = [["", False, reason, reason, text, 0, 0.0]]
        self.enter(record, ())

    # Time

    def tick(self) -> None:
        """Waiting ends where it has been too long, for room and for another priority's handlers."""
        state = self._state
        for mailbox in list(state.stalled):
            for record in mailbox.expired(state.now):
                text = (
                    f"its mailbox was full for {state.options.block_timeout:g} s (bus option block_timeout)"
                )
                self._ends.turn_away(mailbox, record, text)
            self._open_late(mailbox)
            if mailbox.waiting:
                # Not every end of a message lets in who waits: a command that may not go any more does not.
                self._ends.admit_waiting(mailbox)
                state.press(mailbox)
                state.mark_ready(mailbox)
            if not mailbox.waiting and not mailbox.held:
                state.stalled.pop(mailbox, None)

    def _open_late(self, mailbox: Mailbox) -> None:
        state = self._state
        late = []
        for record in mailbox.held.first():
            if record.stages is None or record.is_open_for(mailbox):
                continue
            holders = record.stages[record.stage]
            limit = max((one.subscription.deadline for one in holders), default=0.0)
            if record.opened_at + limit <= state.now:
                late.append(record)
        for record in late:
            state.counters["priorities_passed_total"] += 1
            self._ends.open_next(record)

    # For checks

    def _holding(self) -> Iterator[Record]:
        """What is in no mailbox and not settled."""
        yield from self._delayed
        yield from self._journal.holding()


def _fullness(mailbox: Mailbox) -> str:
    full = f"its mailbox of {mailbox.subscription.capacity} is full"
    trouble = mailbox.trouble
    return full if trouble is None or trouble.parked is None else f"{full}, and its breaker is open"
