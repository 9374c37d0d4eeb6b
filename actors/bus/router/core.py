"""The router's pure core: frozen facts in, messages per client out; it never waits and reads no clock.

Inputs are clients coming and going, their messages, changes of the subscription table, and ticks
of time. After any input, `dirty` names the clients to whom there is something to say, and `take`
gives it message by message, as long as the caller has room on that client's link.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.errors import ProtocolViolation, StaleRegistration
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.router.admission import Admission
from llmgine.actors.bus.router.delivery import Deliveries
from llmgine.actors.bus.router.failure import Failure
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.records import ClientState
from llmgine.actors.bus.router.state import RouterState
from llmgine.actors.bus.subscriptions import SubscriptionRecord


class RouterCore:
    """Fans events out and commands in; every accepted message ends handled, failed, dropped or discarded."""

    def __init__(self, incarnation: str, options: BusOptions) -> None:
        self._state = RouterState(incarnation, options)
        self._deliveries = Deliveries(self._state)
        self._admission = Admission(self._state, self._deliveries)
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
        """Messages of which some handler is not done."""
        return self._state.unsettled

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
                self._give_up(client)
                self._drop(client)
            self._lives += 1
            client = state.clients[name] = ClientState(name, epoch, f"{state.incarnation}.{self._lives}")
        elif client.connected:
            self.detach(client, now)
        client.connected = True
        client.clear()
        self._welcome(client, lines)
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
        listed = {line[0] for line in lines}
        for session in client.lines.keys() - listed:
            # All of it is settled for the producer; a late command's record keeps its line alive.
            del client.lines[session]
        client.notices.append([wire.WELCOME, client.id, self._state.table.serial, received])
        self._state.touch(client)

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
        for mailbox in list(client.mailboxes.values()):
            self._deliveries.detach(mailbox)
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
            self._attach_subscriptions(client, message[1])
        elif code == wire.CANCEL:
            self._admission.cancel(client, message[1], message[2])
        elif code == wire.FORGET:
            for session in message[1]:
                client.lines.pop(session, None)
        elif code == wire.ASK:
            client.notices.append([wire.ANSWER, message[1], True, self.statistics()])
            self._state.touch(client)
        else:
            raise ProtocolViolation(f"unknown message code {code!r}")

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
            elif mailbox.subscription.owner == client.owner:
                self._deliveries.attach(mailbox, client)
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
            marks = {"high": state.options.high_mark, "low": state.options.low_mark}
            if mailbox is None:
                state.mailboxes[record.number] = Mailbox(record, prefetch=state.options.prefetch, **marks)
            else:
                self._replace(mailbox, record, marks)
        state.routes.clear()
        for client in state.clients.values():
            ready = [number for number in client.wanted if number in state.mailboxes]
            if ready:
                client.wanted.difference_update(ready)
                self._attach_subscriptions(client, ready)

    def _replace(self, mailbox: Mailbox, record: SubscriptionRecord, marks: dict[str, float]) -> None:
        former = mailbox.subscription
        mailbox.configure(record, prefetch=self._state.options.prefetch, **marks)
        if mailbox.client is not None and mailbox.client.owner == record.owner:
            mailbox.retiring, mailbox.heir = False, None
            self._state.mark_ready(mailbox)
        elif former.owner != record.owner:
            self._deliveries.retire(mailbox)

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
                self._deliveries.close(mailbox)
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

    # Time and figures

    def tick(self, now: float) -> None:
        """Time has passed; call it a few times a second."""
        self._state.now = now
        self._admission.tick()
        lease = self._state.options.client_lease
        for client in list(self._state.clients.values()):
            if not client.connected and client.left_at + lease <= now:
                self._give_up(client)
                self._drop(client)

    def _give_up(self, client: ClientState) -> None:
        """Commands that went with this life of a client have no known outcome."""
        for mailbox in self._state.mailboxes.values():
            if mailbox.subscription.owner != client.owner or mailbox.subscription.idempotent:
                continue
            for record in [one for one in mailbox.suspect if one.head.command and one.sent]:
                mailbox.unqueue(record)
                text = f"the process of {mailbox.subscription.name!r} went away with the command in hand"
                self._deliveries.fail(mailbox, record, "outcome_unknown", "outcome_unknown", text)

    def statistics(self) -> dict[str, Any]:
        """Exact counters and gauges, as plain values."""
        state = self._state
        table = state.table.statistics()
        counters = {
            name: state.counters[name]
            for name in (
                "events_published_total",
                "events_processed_total",
                "events_failed_total",
                "commands_sent_total",
                "commands_processed_total",
                "commands_failed_total",
                "backpressure_on_total",
                "backpressure_off_total",
                "priorities_passed_total",
            )
        }
        boxes = [*state.mailboxes.values(), *state.closing.values()]
        return {
            **counters,
            "queue_size": sum(mailbox.occupancy for mailbox in boxes),
            "in_flight": sum(len(mailbox.inflight) for mailbox in boxes),
            "waiting_for_room": sum(len(mailbox.waiting) for mailbox in boxes),
            "unsettled": state.unsettled,
            "backpressure_active": sum(mailbox.pressed for mailbox in boxes),
            "registered_handlers": table.registered_handlers,
            "active_sessions": table.sessions,
            "handlers": table.handlers,
            "event_handlers": table.event_handlers,
            "command_handlers": table.command_handlers,
            "connected_clients": sum(client.connected for client in state.clients.values()),
            "failures": dict(state.failures.counts),
        }

    def validate(self) -> None:
        """Every message is accounted for; call it at the end of a test."""
        state = self._state
        boxes = [*state.mailboxes.values(), *state.closing.values()]
        held: dict[int, int] = {}
        for mailbox in boxes:
            mailbox.validate()
            waiting = [record for record, _ in mailbox.waiting]
            everything = [*mailbox.urgent, *mailbox.queue, *mailbox.inflight.values(), *waiting]
            for queue in mailbox.held.values():
                everything.extend(queue)
            for record in everything:
                held[id(record)] = held.get(id(record), 0) + 1
                assert record.head.line.unsettled.get(record.sequence) is record, record.id
        for client in state.clients.values():
            for line in client.lines.values():
                for sequence, record in line.unsettled.items():
                    assert record.open == held.get(id(record), 0) > 0, (record.id, record.open)
                    assert sequence <= line.received, record.id
        counters = state.counters
        events = counters["events_processed_total"] + counters["events_failed_total"]
        commands = counters["commands_processed_total"] + counters["commands_failed_total"]
        published = counters["events_published_total"] + counters["commands_sent_total"]
        assert 0 <= published - events - commands <= state.unsettled, (counters, state.unsettled)
