"""The router's pure core: frozen facts in, messages per client out; it never waits and reads no clock.

Inputs are clients coming and going, their messages, changes of the subscription table, and ticks
of time. After any input, `dirty` names the clients to whom there is something to say, and `take`
gives it message by message, as long as the caller has room on that client's link.
"""

from __future__ import annotations

import random as chance
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.errors import ProtocolViolation, StaleRegistration
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.router import figures
from llmgine.actors.bus.router.admission import Admission
from llmgine.actors.bus.router.breakers import Breakers
from llmgine.actors.bus.router.checks import check
from llmgine.actors.bus.router.delivery import Deliveries
from llmgine.actors.bus.router.ends import Ends
from llmgine.actors.bus.router.handover import Handover
from llmgine.actors.bus.router.letters import Failure
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.questions import Question
from llmgine.actors.bus.router.records import ClientState
from llmgine.actors.bus.router.replay import Replays
from llmgine.actors.bus.router.schedule import Schedules
from llmgine.actors.bus.router.state import RouterState
from llmgine.actors.bus.router.verdicts import Verdicts
from llmgine.actors.bus.router.whereabouts import whereabouts
from llmgine.actors.bus.subscriptions import SubscriptionRecord
from llmgine.actors.store.operations import Operation
from llmgine.actors.store.rows import JournalRow, ScheduleRow


class RouterCore:
    """Fans events out and commands in; every accepted message ends handled, failed, dropped or discarded."""

    def __init__(
        self,
        incarnation: str,
        options: BusOptions,
        *,
        shard: int = 0,
        shards: int = 1,
        random: Callable[[], float] = chance.random,
    ) -> None:
        state = self._state = RouterState(incarnation, options, shard=shard, shards=shards, random=random)
        ends = Ends(state)
        self._breakers = Breakers(state, ends)
        verdicts = Verdicts(state, ends, self._breakers)
        self._handover = Handover(state, ends, self._breakers, verdicts)
        self._deliveries = Deliveries(state, ends, self._breakers, verdicts, self._handover)
        state.arrived = self._breakers.arrived
        self._admission = Admission(state, ends)
        self._schedules = Schedules(state)
        self._replays = Replays(state)
        state.verbs["statistics"] = lambda question: question.answer(self.statistics())
        state.verbs["story"] = self._tell
        self._lives = 0

    @property
    def dirty(self) -> Iterable[ClientState]:
        """Clients to whom there is something to say."""
        return self._state.dirty

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The latest failures, oldest first."""
        return tuple(self._state.failures.latest)

    @property
    def unsettled(self) -> int:
        """Messages of which some handler is not done, but those that the journal keeps for durable ones."""
        return self._state.unsettled - self._state.stored

    def snapshot(self) -> list[dict[str, Any]]:
        """The mirrored table in wire form."""
        return self._state.table.snapshot()

    # Clients

    def attach(self, hello: Mapping[str, Any], now: float) -> ClientState:
        """A client's stream has opened; a second one of the same life replaces the first."""
        state = self._state
        state.now = now
        try:
            name, epoch = str(hello["client"]), int(hello["epoch"])
            lines, numbers = list(hello["lines"]), list(hello["subscriptions"])
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolViolation(f"not a hello: {error!r}") from error
        client = state.clients.get(name)
        if client is not None and epoch < client.epoch:
            raise StaleRegistration(f"client {name!r} has a newer life {client.epoch}; life {epoch} is over")
        if client is None or epoch > client.epoch:
            if client is not None:
                self._drop(client)
            self._lives += 1
            client = state.clients[name] = ClientState(name, epoch, f"{state.incarnation}.{self._lives}")
        elif client.connected:
            self.detach(client, now)
        client.connected = True
        client.member_of = str(hello.get("member_of") or "")
        former = str(hello.get("incarnation") or "")
        if former and not former.startswith(f"{state.incarnation}."):
            self._handover.gather()
        client.clear()
        self._welcome(client, lines)
        self._handover.forgo(client, numbers)
        self._attach_subscriptions(client, numbers)
        return client

    def _welcome(self, client: ClientState, lines: list[Any]) -> None:
        received = []
        for session, floor, last in lines:
            line = client.lines.get(session)
            if line is not None:
                line.floor = max(line.floor, floor)
                line.received = max(line.received, floor - 1)
                for sequence in [one for one in line.results if one < floor]:
                    del line.results[sequence]
                received.append([session, line.received])
                self._state.restate(line, floor, min(last, line.received))
        listed = {line[0]: line[1] for line in lines}
        self._state.journal.greet(client, listed)
        for session in client.lines.keys() - listed:
            # All of it is settled for the producer; a late command's record keeps its line alive.
            self._forget(client, session)
        client.notices.append([wire.WELCOME, client.id, self._state.table.serial, received])
        self._state.touch(client)

    def _forget(self, client: ClientState, session: str) -> None:
        line = client.lines.get(session)
        # What is still open for durable handlers, handlers may be given again.
        if line is not None and not line.stored:
            del client.lines[session]

    def detach(self, client: ClientState, now: float) -> None:
        """Its stream is over; it may come back until its lease ends."""
        state = self._state
        state.now = now
        if not client.connected:
            return
        client.connected = False
        client.left_at = now
        client.clear()
        state.dirty.pop(client, None)
        for serving in list(client.servings.values()):
            self._handover.detach(serving)
        for mailbox in state.mailboxes.values():
            if mailbox.heir is client:
                mailbox.heir = None
        if state.backlog:
            kept = [pair for pair in state.backlog if pair[0] is not client]
            state.backlog.clear()
            state.backlog.extend(kept)

    def _drop(self, client: ClientState) -> None:
        """This life will not come back: nobody waits for its answers."""
        self.detach(client, self._state.now)
        self._handover.give_up(client)
        self._state.journal.returning.leave(client)
        client.lines.clear()
        if self._state.clients.get(client.name) is client:
            del self._state.clients[client.name]

    def receive(self, client: ClientState, message: Any, now: float) -> None:
        """One message of a client; raises ProtocolViolation for what is none."""
        self._state.now = now
        try:
            self._receive(client, message)
        except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            raise ProtocolViolation(f"{client.name!r} sent what the bus does not speak: {error!r}") from error

    def _receive(self, client: ClientState, message: Any) -> None:
        code = message[0]
        if code == wire.PUBLISH:
            self._admission.publish(client, message[1])
        elif code == wire.DONE:
            self._deliveries.done(client, message[1])
        elif code == wire.OUTCOME:
            for number, entry, outcome, detail in message[1]:
                self._deliveries.outcome(client, number, entry, outcome, detail)
        elif code == wire.CONFIRM:
            for session, sequence in message[1]:
                line = client.lines.get(session)
                if line is not None:
                    line.results.pop(sequence, None)
        elif code == wire.ATTACH:
            if message[1]:
                self._attach_subscriptions(client, message[1])
            else:
                client.wanted.clear()
                self._handover.leave(client)
        elif code == wire.CANCEL:
            self._deliveries.cancel(client, message[1], message[2])
        elif code == wire.FORGET:
            for session in message[1]:
                self._forget(client, session)
        elif code == wire.ASK:
            self._ask(client, *message[1:])
        else:
            raise ProtocolViolation(f"unknown message code {code!r}")

    def _ask(self, client: ClientState, number: int, verb: str, body: Any) -> None:
        question = Question(self._state, client, number, verb, body)
        answer = self._state.verbs.get(verb)
        if answer is None:
            question.refuse("unknown_verb", f"the router does not know {verb!r}")
        else:
            answer(question)

    def _tell(self, question: Question) -> None:
        try:
            lines = self._state.story.tell(question.body)
            if "event" in question.body:
                lines += whereabouts(self._state, question.body["event"])
            question.answer([list(line) for line in lines])
        except ValueError as error:
            question.refuse("invalid", str(error))

    # Subscriptions

    def _attach_subscriptions(self, client: ClientState, numbers: Iterable[int]) -> None:
        """The client is ready to serve these; those not in the table yet are answered when they are."""
        state = self._state
        for number in numbers:
            mailbox = state.mailboxes.get(number)
            if mailbox is None and number in state.closing:
                client.lost.append(number)
            elif mailbox is None:
                client.wanted.add(number)
            elif _may_serve(mailbox, client):
                self._handover.attach(mailbox, client)
                client.attached.append(number)
            else:
                client.lost.append(number)
        state.touch(client)

    def load(self, snapshot: Iterable[Mapping[str, Any]], now: float) -> None:
        """The whole table; what is not in it any more is removed. Nothing is routed before the first one."""
        self._state.now = now
        records = [SubscriptionRecord.from_wire(wire_) for wire_ in snapshot]
        present = {record.number for record in records}
        self.remove([number for number in self._state.mailboxes if number not in present], now)
        self._put(records)
        for client in self._state.clients.values():
            # What a client still wants was removed, unless it is newer than this table.
            gone = sorted(number for number in client.wanted if number < max(present, default=0))
            client.lost.extend(gone)
            client.wanted.difference_update(gone)
            self._state.touch(client)
        self._admission.load()

    def add(self, records: Iterable[Mapping[str, Any]], now: float) -> None:
        """Subscriptions that are new, or were taken over."""
        self._state.now = now
        self._put([SubscriptionRecord.from_wire(wire_) for wire_ in records])

    def _about_to_change(self) -> None:
        """What was admitted and not told yet was admitted under the table as it is."""
        for client in self._state.clients.values():
            if client.admitted and client.admitted_at is None:
                client.admitted_at = self._state.table.serial

    def _put(self, records: Iterable[SubscriptionRecord]) -> None:
        self._about_to_change()
        state = self._state
        for record in records:
            former = state.table.put(record)
            if former is not None and former.generation >= record.generation:
                continue
            mailbox = state.mailboxes.get(record.number)
            if mailbox is None:
                mailbox = state.mailboxes[record.number] = Mailbox(record, state.options)
                self._breakers.configure(mailbox)
                self._handover.come_again(mailbox)
            else:
                self._replace(mailbox, record)
        state.routes.clear()
        for client in state.clients.values():
            ready = [number for number in client.wanted if number in state.mailboxes]
            if ready:
                client.wanted.difference_update(ready)
                self._attach_subscriptions(client, ready)

    def _replace(self, mailbox: Mailbox, record: SubscriptionRecord) -> None:
        former = mailbox.subscription
        mailbox.configure(record)
        self._breakers.configure(mailbox)
        sole = mailbox.sole
        if sole is not None and sole.client.owner == record.owner:
            sole.retiring, mailbox.heir = False, None
            self._state.mark_ready(mailbox)
        elif former.owner != record.owner:
            self._handover.retire(mailbox)

    def remove(self, numbers: Iterable[int], now: float) -> None:
        """Their handlers receive nothing more; what waits for them is discarded."""
        self._about_to_change()
        state = self._state
        state.now = now
        for number in numbers:
            state.table.remove(number)
            mailbox = state.mailboxes.pop(number, None)
            if mailbox is not None:
                state.stalled.pop(mailbox, None)
                self._handover.close(mailbox)
        state.routes.clear()

    # Out

    def take(self, client: ClientState) -> Any | None:
        """The next message for this client; None when there is nothing to say."""
        if client.notices:
            return client.notices.pop(0)
        if client.admitted:
            at = client.admitted_at
            serial = self._state.table.serial if at is None else at
            message = [wire.ADMITTED, client.admitted, serial]
            client.admitted, client.admitted_at = [], None
            return message
        if client.results:
            return self._results(client)
        if client.settled:
            message, client.settled = [wire.SETTLED, client.settled], []
            return message
        if client.attached:
            message = [wire.ATTACHED, client.attached, self._state.table.serial]
            client.attached = []
            return message
        if client.lost:
            message, client.lost = [wire.LOST, client.lost], []
            return message
        if client.verdicts:
            return self._state.next_verdict(client)
        if client.aborts:
            number, entry = client.aborts.pop()
            return [wire.ABORT, number, entry]
        if client.ready:
            parcel = self._deliveries.take(client)
            if parcel is not None or client.has_news():
                # A command that could not go has been answered: perhaps to this very client.
                return parcel if parcel is not None else self.take(client)
        self._state.dirty.pop(client, None)
        return None

    def _results(self, client: ClientState) -> list[Any]:
        size = count = 0
        for _, _, answer in client.results:
            size += len(answer[1] or b"") if len(answer) > 1 and isinstance(answer[1], bytes) else 64
            count += 1
            if size >= wire.BATCH_BYTES:
                break
        part, client.results = client.results[:count], client.results[count:]
        return [wire.RESULT, part]

    def take_sleepers(self) -> tuple[str, ...]:
        """Sessions that are to be woken, for something waits for their own handlers; each is said once."""
        return self._state.sleepers.take()

    # The store

    def next_write(self) -> tuple[int, list[Operation]] | None:
        """A batch for the store; None where there is none, or one is on its way."""
        return self._state.writes.take()

    @property
    def unwritten(self) -> int:
        """Operations that the store has not committed yet."""
        return len(self._state.writes)

    def written(self, ticket: int, now: float) -> None:
        self._state.now = now
        self._state.writes.written(ticket)

    def write_failed(self, ticket: int, reason: str, now: float) -> None:
        """It may be written all the same; it is handed out again."""
        self._state.now = now
        self._state.writes.write_failed(ticket, reason)

    def write_refused(self, ticket: int, reason: str, now: float) -> None:
        """It was not written and never will be."""
        self._state.now = now
        self._state.writes.write_refused(ticket, reason)

    def no_store(self, text: str) -> None:
        """There is none to write to, and why."""
        self._state.writes.refuse(text)

    def recover(
        self, journal: Iterable[JournalRow], schedules: Iterable[ScheduleRow], now: float, wall: int
    ) -> None:
        """What the store holds of this shard."""
        self._state.set_time(now, wall)
        self._state.journal.recover(journal)
        self._schedules.recover(schedules)

    def set_filters(self, filters: Sequence[Sequence[Any]], now: float) -> None:
        """The bus's own filters, all of them."""
        self._state.now = now
        self._state.routes.set_filters(filters)

    def filters(self) -> list[list[Any]]:
        return self._state.routes.filters

    # Time and figures

    def next_time(self) -> float | None:
        """When `tick` is to be called, at the latest; None where time changes nothing."""
        state = self._state
        due = state.timers.next_time()
        for time in (state.writes.next_time(), self._schedules.next_time(state.now, state.wall())):
            if time is not None and (due is None or time < due):
                due = time
        return due

    def tick(self, now: float, wall: int) -> None:
        """Time has passed: `wall` is the time of day in nanoseconds since 1970."""
        state = self._state
        state.set_time(now, wall)
        state.timers.run(now)
        state.writes.tick(now)
        self._schedules.tick(now, wall)
        self._admission.tick()
        lease = state.options.client_lease
        for client in list(state.clients.values()):
            if not client.connected and client.left_at + lease <= now:
                self._drop(client)

    def levels(self) -> dict[str, Any]:
        """Counters and gauges of the whole, without those of each handler."""
        return figures.levels(self._state)

    def statistics(self) -> dict[str, Any]:
        """Exact counters and gauges, as plain values."""
        return {
            **figures.statistics(self._state),
            **self._state.failures.statistics(),
            **self._schedules.statistics(),
        }

    def validate(self) -> None:
        """Every message is accounted for; call it at the end of a test."""
        check(self._state)
        self._state.writes.validate()
        self._schedules.validate()
        self._replays.validate()


def _may_serve(mailbox: Mailbox, client: ClientState) -> bool:
    record = mailbox.subscription
    if record.members:
        return bool(client.member_of) and client.member_of == record.client
    return record.owner == client.owner
