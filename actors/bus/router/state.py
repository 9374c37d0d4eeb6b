"""What the parts of the router core share, and how producers are told what became of their messages."""

from __future__ import annotations

import random as chance
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.router.letters import FailureLog
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.questions import Question
from llmgine.actors.bus.router.records import ClientState, Origin, ProducerLine, Record
from llmgine.actors.bus.router.routes import Routes
from llmgine.actors.bus.router.serving import Serving, share
from llmgine.actors.bus.router.sleepers import Sleepers
from llmgine.actors.bus.router.story import Stories, What
from llmgine.actors.bus.router.timers import Timers
from llmgine.actors.bus.router.writes import Writes
from llmgine.actors.bus.subscriptions import SubscriptionTable

if TYPE_CHECKING:
    from llmgine.actors.bus.router.journal import Journal


class RouterState:
    """Tables and counters of one router, and the way of every settled message back to its producer."""

    # Set by the parts that offer these.
    journal: Journal
    originate: Callable[[Origin], bool]
    arrived: Callable[[Mailbox, Iterable[Record]], None]
    holding: Callable[[], Iterable[Record]]

    def __init__(
        self,
        incarnation: str,
        options: BusOptions,
        *,
        shard: int = 0,
        shards: int = 1,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self.incarnation = incarnation
        self.options = options
        self.shard = shard
        self.shards = shards
        self.random = random
        self.now = 0.0
        # What to add to `now`, in nanoseconds, for the time of day.
        self._wall = 0
        self.timers = Timers()
        self.writes = Writes(lambda: self.now, options.journal_timeout)
        self.story = Stories(options.story, options.stories, self.wall)
        self.verbs: dict[str, Callable[[Question], None]] = {}
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
        # Members that an earlier life of the router had are still coming: each is to get what it had then.
        self.gathering = False
        self.gathered = False
        self.counters: Counter[str] = Counter()
        self.failures = FailureLog(self)
        self.sleepers = Sleepers(self)
        self.unsettled = 0
        # Those of them that the journal answers for: settled for their producers, open for durable handlers.
        self.stored = 0

    def wall(self) -> int:
        """The time of day, in nanoseconds since 1970."""
        return self._wall + round(self.now * 1e9)

    def set_time(self, now: float, wall: int) -> None:
        self.now = now
        self._wall = wall - round(now * 1e9)

    def touch(self, client: ClientState) -> None:
        if client.connected:
            self.dirty[client] = None

    def mark_ready(self, mailbox: Mailbox) -> None:
        """There may be something to hand out."""
        serving = mailbox.sole
        if serving is not None:
            if not serving.queue:
                mailbox.refill()
            self._mark(serving)
        elif mailbox.members and not self.gathering:
            share(mailbox)
            for serving in mailbox.members.values():
                if serving.client.connected:
                    self._mark(serving)
        elif mailbox.subscription.wakes:
            self.sleepers.notice(mailbox)

    def _mark(self, serving: Serving) -> None:
        if serving.urgent or (serving.queue and not serving.retiring):
            client = serving.client
            client.ready[serving] = None
            self.dirty[client] = None

    def verdict(self, client: ClientState, number: int, entry: int, recall: int) -> None:
        """What its handler is to do after a failed attempt."""
        if client.connected:
            client.verdicts.append((number, entry, recall))
            self.dirty[client] = None

    def next_verdict(self, client: ClientState) -> list[Any]:
        return [wire.RESUME, *client.verdicts.popleft()]

    def note(self, what: What, mailbox: Mailbox, record: Record | None = None, text: str = "") -> None:
        """Into the stories of this handler and of the message's session."""
        name = mailbox.subscription.name
        if record is None:
            self.story.note(what, handler=name, text=text)
        else:
            session = record.head.line.session
            self.story.note(what, handler=name, session=session, message=record.id, text=text)

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
        """Every handler of this message is done, but for those that the journal answers for."""
        kept, head = record.kept, record.head
        if kept is not None and kept.pending:
            self.journal.settle(record, kept)
            return
        line = head.line
        told = kept is not None and self.journal.forget(record, kept)
        del line.unsettled[record.sequence]
        self.unsettled -= 1
        if not head.command:
            self.counters["events_failed_total" if record.failed else "events_processed_total"] += 1
        if head.plain:
            if line.client.connected and not told:
                self.settled_range(line.client, line.session, record.sequence, record.sequence)
        elif head.on_settled is not None:
            if not told:
                head.on_settled(not record.failed)
        elif not head.command:
            # Commands were answered when their handlers were done.
            self.resolve(record, record.outcomes or [])

    def settle_all(self, records: list[Record]) -> None:
        """`settle` for many, mostly of one line and in a row."""
        processed = failed = 0
        line: ProducerLine | None = None
        first = last = 0
        for record in records:
            head = record.head
            if not head.plain or record.kept is not None:
                self.settle(record)
                continue
            sequence = record.sequence
            if record.failed:
                failed += 1
            else:
                processed += 1
            if head.line is line and sequence == last + 1:
                last = sequence
            else:
                self._told(line, first, last)
                line, first, last = head.line, sequence, sequence
            del line.unsettled[sequence]
        self._told(line, first, last)
        self.unsettled -= processed + failed
        if processed:
            self.counters["events_processed_total"] += processed
        if failed:
            self.counters["events_failed_total"] += failed

    def _told(self, line: ProducerLine | None, first: int, last: int) -> None:
        if line is not None and line.client.connected:
            self.settled_range(line.client, line.session, first, last)

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
        if record.head.on_settled is not None:
            return
        line.results[record.sequence] = answer
        if line.client.connected:
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
            if record is None or (record.kept is not None and record.kept.told):
                self.settled_range(client, line.session, sequence, sequence)
            elif not record.waiting:
                self.admitted(record)
            elif record.head.depth:
                self.admitted(record, deferred=True)
        self.touch(client)
