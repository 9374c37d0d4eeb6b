"""What the parts of the router core share, and how producers are told what became of their messages."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.router.failure import FailureLog
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.records import ClientState, ProducerLine, Record
from llmgine.actors.bus.router.routes import Routes
from llmgine.actors.bus.subscriptions import SubscriptionTable


class RouterState:
    """Tables and counters of one router, and the way of every settled message back to its producer."""

    def __init__(self, incarnation: str, options: BusOptions) -> None:
        self.incarnation = incarnation
        self.options = options
        self.table = SubscriptionTable()
        self.mailboxes: dict[int, Mailbox] = {}
        self.closing: dict[int, Mailbox] = {}
        self.routes = Routes(self.table, self.mailboxes)
        self.clients: dict[str, ClientState] = {}
        # Older lives and expired clients whose messages are not settled yet need no entry anywhere:
        # their records keep them alive.
        self.dirty: dict[ClientState, None] = {}
        # Mailboxes where something waits for room or for its priority's turn.
        self.stalled: dict[Mailbox, None] = {}
        self.backlog: deque[tuple[ClientState, list[Any]]] = deque()
        self.loaded = False
        self.counters: Counter[str] = Counter()
        self.failures = FailureLog(options.history)
        self.unsettled = 0
        self.now = 0.0

    def touch(self, client: ClientState) -> None:
        if client.connected:
            self.dirty[client] = None

    def mark_ready(self, mailbox: Mailbox) -> None:
        """There may be something to hand out."""
        client = mailbox.client
        if client is None or not client.connected:
            return
        if mailbox.urgent or (mailbox.queue and not mailbox.retiring):
            client.ready[mailbox] = None
            self.dirty[client] = None

    def press(self, mailbox: Mailbox) -> None:
        changed = mailbox.press()
        if changed is not None:
            self.counters["backpressure_on_total" if changed else "backpressure_off_total"] += 1

    def admitted(self, record: Record, *, deferred: bool = False) -> None:
        """Every mailbox has taken or refused its copy; `deferred`: not yet, and nobody may wait for it."""
        client = record.head.line.client
        if not client.connected:
            return
        refused = record.refused
        session, sequence = record.head.line.session, record.sequence
        last = client.admitted[-1] if client.admitted else None
        if (
            last is not None
            and last[2] == sequence - 1
            and last[0] == session
            and last[4] is deferred
            and not (refused or last[3])
        ):
            last[2] = sequence
            return
        client.admitted.append([session, sequence, sequence, refused, deferred])
        self.dirty[client] = None

    def settle(self, record: Record) -> None:
        """Every handler of this message is done."""
        head = record.head
        line = head.line
        del line.unsettled[record.sequence]
        self.unsettled -= 1
        if not head.command:
            self.counters["events_failed_total" if record.failed else "events_processed_total"] += 1
            if head.wants_result:
                self.resolve(record, record.outcomes or [])
                return
        client = line.client
        if head.wants_result or not client.connected:
            return
        self.settled_range(client, line.session, record.sequence, record.sequence)

    def settled_range(self, client: ClientState, session: str, first: int, last: int) -> None:
        settled = client.settled
        if settled:
            latest = settled[-1]
            if latest[2] == first - 1 and latest[0] == session:
                latest[2] = last
                return
        settled.append([session, first, last])
        self.dirty[client] = None

    def resolve(self, record: Record, answer: Any) -> None:
        """The answer that the producer waits for; later ones change nothing."""
        if record.resolved:
            return
        record.resolved = True
        line = record.head.line
        if record.head.command:
            self.counters["commands_processed_total" if answer[0] else "commands_failed_total"] += 1
        line.results[record.sequence] = answer
        line.client.results.append([line.session, record.sequence, answer])
        self.touch(line.client)

    def restate(self, line: ProducerLine, first: int, last: int) -> None:
        """Say again what has become of these, for a producer that may have missed it."""
        client = line.client
        for sequence in range(first, last + 1):
            if sequence in line.results:
                client.results.append([line.session, sequence, line.results[sequence]])
                continue
            record = line.unsettled.get(sequence)
            if record is None:
                self.settled_range(client, line.session, sequence, sequence)
            elif not record.waiting:
                self.admitted(record)
            elif record.head.depth:
                self.admitted(record, deferred=True)
        self.touch(client)
