"""From publishers into mailboxes: duplicates, routes, room, and the answer to the publisher."""

from __future__ import annotations

import math
from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.errors import ProtocolViolation
from llmgine.actors.bus.router.ends import Ends
from llmgine.actors.bus.router.failure import Failure, Reason
from llmgine.actors.bus.router.mailbox import Mailbox, Offer
from llmgine.actors.bus.router.records import ClientState, Head, ProducerLine, Record
from llmgine.actors.bus.router.routes import Stages
from llmgine.actors.bus.router.state import RouterState
from llmgine.actors.bus.wire import failed_answer


class Admission:
    """Takes what clients publish and execute, each message once."""

    def __init__(self, state: RouterState, ends: Ends) -> None:
        self._state = state
        self._ends = ends

    def publish(self, client: ClientState, runs: list[Any]) -> None:
        """Runs of one client in the order in which it sent them."""
        state = self._state
        if not state.loaded:
            state.backlog.append((client, runs))
            return
        for session, lineage, first, floor, depth, flags, extra, bodies in runs:
            line = client.lines.get(session)
            if line is None:
                line = client.lines[session] = ProducerLine(client, session, first - 1)
            line.floor = max(line.floor, floor)
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
        while state.backlog:
            client, runs = state.backlog.popleft()
            self.publish(client, runs)

    def _events(self, head: Head, first: int, bodies: list[bytes]) -> None:
        state = self._state
        line = head.line
        stages = state.routes.event(head.lineage, line.session).stages
        count = len(bodies)
        state.counters["events_published_total"] += count
        if not stages and not head.wants_result:
            state.counters["events_processed_total"] += count
            client = line.client
            if client.connected:
                last = first + count - 1
                client.admitted.append([line.session, first, last, None, False])
                state.settled_range(client, line.session, first, last)
            return
        if len(stages) == 1 and not head.chain and all(mailbox.room() >= count for mailbox in stages[0]):
            self._all_at_once(head, first, bodies, stages[0])
            return
        for sequence, body in enumerate(bodies, first):
            self._one(Record(head, sequence, body), stages)

    def _all_at_once(
        self, head: Head, first: int, bodies: list[bytes], mailboxes: tuple[Mailbox, ...]
    ) -> None:
        """One priority, and room everywhere: no message needs a look of its own."""
        state = self._state
        line = head.line
        fan_out = len(mailboxes)
        records = [Record(head, sequence, body, fan_out) for sequence, body in enumerate(bodies, first)]
        line.unsettled.update(zip(range(first, first + len(records)), records, strict=True))
        state.unsettled += len(records)
        for mailbox in mailboxes:
            mailbox.enter_all(records)
            if mailbox.trouble is not None:
                state.arrived(mailbox, records)
            state.press(mailbox)
            state.mark_ready(mailbox)
        client = line.client
        if client.connected:
            client.admitted.append([line.session, first, first + len(records) - 1, None, False])
            state.dirty[client] = None

    def _one(self, record: Record, stages: Stages) -> None:
        """Into every mailbox with room at once; the answer waits for those without."""
        state = self._state
        head = record.head
        head.line.unsettled[record.sequence] = record
        state.unsettled += 1
        # The extra count keeps the record from settling while mailboxes are still being tried.
        record.open = 1 + sum(len(stage) for stage in stages)
        if len(stages) > 1:
            record.stages = [list(stage) for stage in stages]
            record.opened_at = state.now
        for stage in stages:
            for mailbox in stage:
                self._offer(mailbox, record)
        if record.waiting == 0:
            state.admitted(record)
        elif head.depth:
            state.admitted(record, deferred=True)
        record.open -= 1
        if record.open == 0:
            state.settle(record)

    def _offer(self, mailbox: Mailbox, record: Record) -> None:
        state = self._state
        # A publish inside a handler does not wait for room, its message does.
        until = math.inf if record.head.depth else state.now + state.options.block_timeout
        result, dropped = mailbox.offer(record, until)
        if result is Offer.REJECTED:
            capacity = mailbox.subscription.capacity
            self._ends.refuse(mailbox, record, "overflow", f"its mailbox of {capacity} is full")
            return
        if dropped is not None:
            self._ends.refuse(mailbox, dropped, "dropped", "made room for a newer message")
        if result is Offer.WAITING:
            record.waiting += 1
            state.stalled[mailbox] = None
            return
        if mailbox.held:
            state.stalled[mailbox] = None
        if mailbox.trouble is not None:
            state.arrived(mailbox, [record])
        state.press(mailbox)
        state.mark_ready(mailbox)

    def _commands(self, head: Head, first: int, bodies: list[bytes]) -> None:
        state = self._state
        line = head.line
        state.counters["commands_sent_total"] += len(bodies)
        mailbox = state.routes.command(head.lineage, line.session)
        for sequence, body in enumerate(bodies, first):
            record = Record(head, sequence, body)
            if mailbox is not None:
                record.home = mailbox
                self._one(record, ((mailbox,),))
                continue
            name = head.lineage.partition("|")[0]
            text = f"no handler for command {name} in session {line.session!r} nor in the bus scope"
            self._answer(record, "no_handler", text)

    def _too_deep(self, head: Head, first: int, bodies: list[bytes]) -> None:
        state = self._state
        text = f"more than {state.options.max_depth} messages have caused one another (bus option max_depth)"
        kind = "commands_sent_total" if head.command else "events_published_total"
        state.counters[kind] += len(bodies)
        for sequence, body in enumerate(bodies, first):
            record = Record(head, sequence, body)
            if head.command:
                self._answer(record, "depth", text)
                continue
            record.refused = [("", "depth")]
            record.failed = True
            record.outcomes = [["", False, "depth", "depth", text, 0, 0.0]]
            self._note(record, text)
            self._one(record, ())

    def _answer(self, record: Record, kind: str, text: str) -> None:
        """A command that goes nowhere."""
        state = self._state
        record.head.line.unsettled[record.sequence] = record
        state.unsettled += 1
        state.admitted(record)
        self._note(record, text, kind)
        state.resolve(record, failed_answer(kind, text))
        state.settle(record)

    def _note(self, record: Record, text: str, kind: str = "depth") -> None:
        head = record.head
        reason: Reason = "depth" if kind == "depth" else "no_handler"
        failure = Failure(reason, record.id, head.lineage, head.line.session, "", 0, kind, text)
        self._state.failures.take(failure)

    # Time

    def tick(self) -> None:
        """Waiting ends where it has been too long, for room and for another priority's handlers."""
        state = self._state
        for mailbox in list(state.stalled):
            for record in mailbox.expired(state.now):
                text = (
                    f"its mailbox was full for {state.options.block_timeout:g} s (bus option block_timeout)"
                )
                # `refuse` before `entered`, so that the receipt says it.
                record.open += 1
                self._ends.refuse(mailbox, record, "overflow", text)
                mailbox.counters.rejected += 1
                self._ends.entered(record)
                record.open -= 1
                if record.open == 0:
                    state.settle(record)
            self._open_late(mailbox)
            if not mailbox.waiting and not mailbox.held:
                state.stalled.pop(mailbox, None)

    def _open_late(self, mailbox: Mailbox) -> None:
        state = self._state
        late = []
        for held in mailbox.held.values():
            record = held[0]
            if record.stages is None or record.is_open_for(mailbox):
                continue
            holders = record.stages[record.stage]
            limit = max((one.subscription.deadline for one in holders), default=0.0)
            if record.opened_at + limit <= state.now:
                late.append(record)
        for record in late:
            state.counters["priorities_passed_total"] += 1
            self._ends.open_next(record)
