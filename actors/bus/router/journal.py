"""Durable messages: in the journal before they are routed, in their line's order, until handled. Pure.

A message that is to be kept, and everything of its line that comes after it, waits at the line's gate
until the store has it. From then on the journal answers for its durable handlers: where only those are
left, the message is settled for its producer. A new life of the router reads the journal before it lets
any durable message through; what a producer sends again is recognised by its sequence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from llmgine.actors.bus import wire
from llmgine.actors.bus.letters import Reason
from llmgine.actors.bus.router.letters import failure_of
from llmgine.actors.bus.router.records import ClientState, Head, Kept, ProducerLine, Record
from llmgine.actors.bus.router.returning import Returning
from llmgine.actors.store.operations import HandlerDone, MarkHanded, PutJournal
from llmgine.actors.store.rows import JournalRow

if TYPE_CHECKING:
    from llmgine.actors.bus.router.ends import Ends
    from llmgine.actors.bus.router.mailbox import Mailbox
    from llmgine.actors.bus.router.routes import Stages
    from llmgine.actors.bus.router.state import RouterState


class Entrance(Protocol):
    """What the journal needs of admission."""

    def enter(self, record: Record, stages: Stages, *, anew: bool = True) -> None:
        """Into these mailboxes; where not `anew`, those of its durable handlers have it already."""

    def readmit(self, record: Record, mailboxes: Iterable[Mailbox]) -> None:
        """Into these mailboxes as soon as there is room, whatever their policies."""

    def refuse(self, record: Record, reason: Reason, text: str) -> None:
        """It goes nowhere."""


class Journal:
    """What of the router's messages is in the store, and what waits for that."""

    def __init__(self, state: RouterState, ends: Ends, entrance: Entrance) -> None:
        self._state = state
        self._ends = ends
        self._entrance = entrance
        # The journal has been read: until then nobody knows what of a line is in it.
        self.ready = False
        self._rows: list[JournalRow] | None = None
        self._unread: dict[Record, None] = {}
        # What was in it and waits at a gate, with the durable handlers that are left.
        self._found: dict[Record, list[Mailbox]] = {}
        self._gated: dict[ProducerLine, None] = {}
        self.returning = Returning(state, ends)

    # At the gate

    def keep(self, record: Record, stages: Stages, keys: tuple[str, ...]) -> None:
        """Route it once the store has it; `keys` are its durable handlers."""
        record.kept = Kept(keys, stages)
        self._wait(record)
        if self.ready:
            self._write(record)
            return
        self._unread[record] = None
        if record.head.flags & wire.PROMISED:
            return
        state = self._state
        state.timers.at(state.now + state.options.journal_timeout, partial(self._unheard, record))

    def follow(self, record: Record, stages: Stages) -> None:
        """It has nothing to wait for but what is before it at its line's gate."""
        if record.kept is None:
            record.kept = Kept((), stages)
            record.kept.committed = record.kept.marked = True
        self._wait(record)

    def _wait(self, record: Record) -> None:
        line = record.head.line
        record.open += 1
        record.waiting += 1
        if line.gate is None:
            line.gate = deque()
            self._gated[line] = None
        line.gate.append(record)

    def _write(self, record: Record) -> None:
        head, line = record.head, record.head.line
        row = JournalRow(
            producer=line.client.name,
            epoch=line.client.epoch,
            session=line.session,
            sequence=record.sequence,
            lineage=head.lineage,
            flags=head.flags,
            depth=head.depth,
            body=record.body,
            pending=record.kept.keys if record.kept is not None else (),
            time=self._state.wall(),
            replay_of=head.replay_of,
        )
        # What was admitted once cannot be refused any more, however long the store is away.
        refused = None if head.flags & wire.PROMISED else partial(self._refused, record)
        self._state.writes.add(PutJournal(row), partial(self._committed, record), refused)

    def _committed(self, record: Record) -> None:
        if record.kept is not None:
            record.kept.committed = True
            self._flush(record.head.line)

    def _unheard(self, record: Record) -> None:
        if record in self._unread:
            del self._unread[record]
            limit = self._state.options.journal_timeout
            text = f"the journal was not read within {limit:g} s (bus option journal_timeout)"
            head = record.head
            if head.command and head.again:
                # An earlier life of the router may have had it done.
                self._refused(record, text, "outcome_unknown")
            else:
                self._refused(record, text)

    def _refused(self, record: Record, text: str, reason: Reason = "store") -> None:
        line = record.head.line
        if line.gate is None or record.kept is None or record.kept.committed:
            return
        line.gate.remove(record)
        record.kept = None
        record.open -= 1
        record.waiting -= 1
        self._entrance.refuse(record, reason, text)
        self._flush(line)

    def cancel(self, record: Record) -> bool:
        """Nobody waits for this command any more; whether it still stood at its line's gate."""
        if record not in (record.head.line.gate or ()):
            return False
        text = "the deadline passed before the journal had the command"
        self._state.resolve(record, wire.failed_answer("deadline", text))
        record.failed = True
        return True

    def _flush(self, line: ProducerLine) -> None:
        """Let through what need not wait any longer, in order."""
        gate = line.gate
        while gate:
            record = gate[0]
            kept = record.kept
            if kept is None or not kept.committed:
                return
            gate.popleft()
            record.open -= 1
            record.waiting -= 1
            found = self._found.pop(record, None)
            if found is None:
                self._route(record, kept)
            else:
                self._hand_out(record, found)
        line.gate = None
        self._gated.pop(line, None)

    def _route(self, record: Record, kept: Kept) -> None:
        """Into the mailboxes that it was for when it came, as far as they are still there."""
        if record.resolved:
            # Nobody waits for this command any more.
            kept.stages = ()
        there = self._state.mailboxes
        stages = tuple(
            tuple(box for box in stage if there.get(box.subscription.number) is box) for stage in kept.stages
        )
        wanted = set(kept.keys)
        for stage in stages:
            for mailbox in stage:
                key = mailbox.subscription.key_text
                if key in wanted:
                    wanted.discard(key)
                    kept.pending[mailbox] = None
        for key in wanted:
            self._state.writes.add(HandlerDone(record.id, key))
        left = tuple(stage for stage in stages if stage)
        if record.head.command and not left and not record.resolved:
            self._entrance.refuse(record, "no_handler", "its handler was removed before it was called")
        else:
            self._entrance.enter(record, left)

    # While handlers work

    def done(self, mailbox: Mailbox, record: Record) -> bool:
        """Whether the journal answered for this handler, which is done now, however it went."""
        kept = record.kept
        if kept is None or mailbox not in kept.pending:
            return False
        del kept.pending[mailbox]
        written = None
        if record.failed:
            # A crash may bring it back, and its handler is then to fail it again.
            record.head.line.keep_open(record.sequence)
            kept.unwritten += 1
            written = partial(self._written, record, kept)
        self._state.writes.add(HandlerDone(record.id, mailbox.subscription.key_text), written)
        self._ends.queued(mailbox, mailbox.finished(record))
        return True

    def _written(self, record: Record, kept: Kept) -> None:
        kept.unwritten -= 1
        if not (kept.unwritten or kept.pending):
            self._close(record)

    def settle(self, record: Record, kept: Kept) -> None:
        """Only durable handlers are left: its producer need not keep it any longer."""
        head, line = record.head, record.head.line
        if kept.told or record.waiting or head.wants_result:
            return
        self._store(record, kept)
        if head.on_settled is not None:
            head.on_settled(not record.failed)
        elif line.client.connected:
            self._state.settled_range(line.client, line.session, record.sequence, record.sequence)

    def _store(self, record: Record, kept: Kept) -> None:
        kept.told = True
        record.head.line.keep_open(record.sequence)
        self._state.stored += 1

    def forget(self, record: Record, kept: Kept) -> bool:
        """It is done, or its producer has come back for it; whether that had been told it was settled."""
        if not kept.told:
            return False
        kept.told = False
        self._state.stored -= 1
        if not kept.unwritten:
            self._close(record)
        return True

    def _close(self, record: Record) -> None:
        line = record.head.line
        line.close(record.sequence)
        self.returning.closed(line)

    def mark(self, mailbox: Mailbox, record: Record) -> None:
        """A command goes to its handler once the journal knows that it does."""
        mailbox.marking[record] = None
        self._state.writes.add(
            MarkHanded(record.id),
            partial(self._marked, mailbox, record),
            partial(self._unmarked, mailbox, record),
        )

    def _marked(self, mailbox: Mailbox, record: Record) -> None:
        if record.kept is not None and mailbox.marked(record):
            record.kept.marked = True
            self._state.mark_ready(mailbox)

    def _unmarked(self, mailbox: Mailbox, record: Record, text: str) -> None:
        if mailbox.marking.pop(record, record) is None:
            self._ends.fail(mailbox, record, "store", "store", text)

    # A new life of the router

    def recover(self, rows: Iterable[JournalRow]) -> None:
        """What the journal holds, in order, once: it is handed out, and the gates open."""
        if self.ready:
            return
        self._rows = list(rows)
        if self._state.loaded:
            self.loaded()

    def loaded(self) -> None:
        """The table is there."""
        rows, self._rows = self._rows, None
        if rows is None or self.ready:
            return
        self.ready = True
        boxes = {box.subscription.key_text: box for box in self._state.mailboxes.values()}
        absent: dict[tuple[str, int], ClientState] = {}
        # Of lives that have ended since, too.
        gated = {(line.client.name, line.client.epoch, line.session): line for line in self._gated}
        for row in rows:
            line = self._line(row, absent, gated)
            line.journaled = max(line.journaled, row.sequence)
            known = line.unsettled.get(row.sequence)
            if known is not None:
                self._adopt(known, row)
            elif row.flags & wire.COMMAND and row.sequence <= line.received:
                # Its caller has an answer: what this life has refused must not run any more.
                self._forget_row(row)
            else:
                record, found = self._take_over(line, row, boxes)
                if line.gate:
                    # Its producer has sent what is before it, or behind it, once more.
                    self._found[record] = found
                    self._wait(record)
                else:
                    self._hand_out(record, found)
        self._begin()
        state = self._state
        for client in state.clients.values():
            if client.floors is not None:
                self.greet(client, client.floors)
        if self.returning:
            state.timers.at(state.now + state.options.client_lease, self.returning.give_up)

    def _begin(self) -> None:
        """The gates: what is not in the journal is written, or was done with long ago."""
        unread, self._unread = self._unread, {}
        for record in unread:
            kept = record.kept
            if kept is None or kept.committed:
                continue
            if record.head.again and record.sequence <= record.head.line.journaled:
                self._leave_out(kept, ())
            elif kept.stages:
                self._write(record)
            else:
                kept.committed = True
        for line in list(self._gated):
            if line.gate is not None:
                line.gate = deque(sorted(line.gate, key=attrgetter("sequence")))
            self._flush(line)

    def _line(
        self,
        row: JournalRow,
        absent: dict[tuple[str, int], ClientState],
        gated: dict[tuple[str, int, str], ProducerLine],
    ) -> ProducerLine:
        client = self._state.clients.get(row.producer)
        if client is not None and client.epoch == row.epoch and row.session in client.lines:
            return client.lines[row.session]
        return gated.get((row.producer, row.epoch, row.session)) or self.returning.line(row, absent)

    def _adopt(self, record: Record, row: JournalRow) -> None:
        """Its producer has sent again what is in the journal, perhaps for handlers that are gone."""
        if record.kept is not None and record in self._unread:
            self._leave_out(record.kept, row.pending)
            record.kept.marked = row.handed
            return
        self._forget_row(row)

    def _forget_row(self, row: JournalRow) -> None:
        for key in row.pending:
            self._state.writes.add(HandlerDone(row.id, key))

    def _leave_out(self, kept: Kept, pending: tuple[str, ...]) -> None:
        """Its other durable handlers are done."""
        done = set(kept.keys) - set(pending)
        kept.stages = tuple(
            tuple(box for box in stage if box.subscription.key_text not in done) for stage in kept.stages
        )
        kept.keys = pending
        kept.committed = True

    def _take_over(
        self, line: ProducerLine, row: JournalRow, boxes: dict[str, Mailbox]
    ) -> tuple[Record, list[Mailbox]]:
        """What is known of it, and for whom it is."""
        state = self._state
        extra = {"replay_of": row.replay_of} if row.replay_of is not None else None
        head = Head(line, row.lineage, row.depth, (row.flags | wire.AGAIN) & ~wire.WAIT, extra)
        record = Record(head, row.sequence, row.body)
        line.unsettled[row.sequence] = record
        state.unsettled += 1
        state.counters["commands_sent_total" if head.command else "events_published_total"] += 1
        kept = record.kept = Kept(row.pending, ())
        kept.committed, kept.marked = True, row.handed
        self._store(record, kept)
        found = [boxes[key] for key in row.pending if key in boxes]
        for key in row.pending:
            if key not in boxes:
                self._orphan(record, key)
        kept.pending = dict.fromkeys(found)
        return record, found

    def _hand_out(self, record: Record, found: list[Mailbox]) -> None:
        if record.head.command and found:
            record.home = found[0]
            if self.returning.command(record, found[0]):
                return
        if found:
            self._entrance.readmit(record, found)
        else:
            self._state.settle(record)

    def _orphan(self, record: Record, key: str) -> None:
        """The handler was removed for good."""
        if record.head.command:
            text = "its handler is not registered any more"
            self._state.failures.take(failure_of(record, None, "no_handler", "no_handler", text))
            record.failed = True
            self._state.resolve(record, wire.failed_answer("no_handler", text))
        self._state.writes.add(HandlerDone(record.id, key))

    # Producers that come back

    def greet(self, client: ClientState, floors: dict[str, int]) -> None:
        """Where its lines stand; said again once it is known what was theirs."""
        client.floors = None if self.ready else floors
        self.returning.greet(client, floors)

    def recognise(self, record: Record, stages: Stages) -> bool:
        """Whether this one, sent again, needs nothing more: it was in the journal when the router began."""
        line = record.head.line
        if record.sequence > line.journaled:
            line.journaled = 0
            return False
        known = line.unsettled.get(record.sequence)
        if known is None:
            return self._was_done(record, stages)
        kept = known.kept
        if kept is not None and self.forget(known, kept):
            known.head = record.head
            self._go_on(known, kept, stages)
        return True

    def _was_done(self, record: Record, stages: Stages) -> bool:
        """What stood before another one in the journal and is not there itself is done there."""
        line = record.head.line
        if record.head.command:
            answer = line.results.get(record.sequence)
            if answer is not None and line.client.connected:
                line.client.results.append([line.session, record.sequence, answer])
                self._state.touch(line.client)
            return answer is not None
        keys = tuple(box.subscription.key_text for stage in stages for box in stage if box.durable)
        record.kept = Kept(keys, stages)
        self._leave_out(record.kept, ())
        return False

    def _go_on(self, known: Record, kept: Kept, stages: Stages) -> None:
        """Its producer wants to hear of it again, and its other handlers may have missed it."""
        mailbox = self.returning.undecided.pop(known, None)
        if mailbox is not None:
            self._entrance.enter(known, ((mailbox,),))
            return
        kept.stages = stages
        kept.keys = tuple(box.subscription.key_text for stage in stages for box in stage if box.durable)
        self._leave_out(kept, tuple(box.subscription.key_text for box in kept.pending))
        self._entrance.enter(known, tuple(stage for stage in kept.stages if stage), anew=False)

    # For checks

    def holding(self) -> Iterator[Record]:
        """What waits at gates, and commands that are not decided yet."""
        for line in self._gated:
            yield from line.gate or ()
        yield from self.returning.undecided
