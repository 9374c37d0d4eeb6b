"""A router core with producers, handlers and a store around it, all pure: any of them may die at any step."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace
from typing import Any

from llmgine.actors.bus import BusOptions, RouterCore, SubscriptionRecord, SubscriptionTable, wire
from llmgine.actors.bus.client.outbox import Entry, Outbox, RunHead
from llmgine.actors.bus.handling.dedup import Lines
from llmgine.actors.store.operations import (
    DropJournal,
    HandlerDone,
    MarkHanded,
    Operation,
    PutJournal,
    PutLetter,
)
from llmgine.actors.store.rows import JournalRow

LINEAGE = "test.Event|llmgine.Event"
COMMAND = "test.Command|llmgine.Command"
BODY = b"\x94\x01\xc0\xc0\x80"


class Store:
    """The journal and the dead letters; a batch is in effect whole, whether it is acknowledged or not."""

    def __init__(self) -> None:
        self.journal: dict[str, JournalRow] = {}
        self.letters: list[Any] = []

    def apply(self, operations: list[Operation]) -> None:
        for operation in operations:
            match operation:
                case PutJournal(row):
                    self.journal.setdefault(row.id, row)
                case HandlerDone(message, key) if message in self.journal:
                    row = self.journal[message]
                    left = tuple(one for one in row.pending if one != key)
                    self.journal[message] = replace(row, pending=left)
                    if not left:
                        del self.journal[message]
                case MarkHanded(message) if message in self.journal:
                    self.journal[message] = replace(self.journal[message], handed=True)
                case DropJournal(message):
                    self.journal.pop(message, None)
                case PutLetter(row=letter):
                    self.letters.append(letter)
                case _:
                    pass


class Client:
    """One process: the real outbox, duplicate suppression, and handlers that are lists."""

    def __init__(self, name: str, epoch: int, options: BusOptions) -> None:
        self.name = name
        self.epoch = epoch
        self.outbox = Outbox(options)
        self.options = options
        self.life = ""
        self.welcome = False
        self.numbers: list[int] = []
        self.state: Any = None
        self.lines: dict[int, Lines] = {}
        self.handled: dict[int, list[tuple[tuple[str, int, str], int]]] = {}
        self.inbox: deque[Any] = deque()
        self.outgoing: deque[Any] = deque()
        # Number, entry, line, sequence, whether it is a command.
        self.jobs: deque[tuple[int, int, tuple[str, int, str], int, bool]] = deque()
        self.admitted: set[tuple[str, int]] = set()
        self.refused: dict[tuple[str, int], Any] = {}
        self.settled: set[tuple[str, int]] = set()
        self.results: dict[tuple[str, int], Any] = {}
        self.missed: list[int] = []

    def serve(self, record: SubscriptionRecord) -> None:
        self.numbers.append(record.number)
        self.lines[record.number] = Lines(2 * self.options.max_unsettled, 64)
        self.handled[record.number] = []

    def connect(self, core: RouterCore) -> None:
        hello = {
            "client": self.name,
            "epoch": self.epoch,
            "incarnation": self.life,
            "lines": self.outbox.hello(),
            "subscriptions": self.numbers,
            "member_of": "",
        }
        self.state = core.attach(hello, 0.0)

    def lose_link(self) -> None:
        self.welcome = False
        self.inbox.clear()
        self.outgoing.clear()
        self.jobs.clear()

    def publish(self, session: str = "BUS", lineage: str = LINEAGE, **head: Any) -> int:
        body = head.pop("body", BODY)
        return self.outbox.add(session, Entry(RunHead(lineage, **head), body))

    def read(self) -> None:
        message = self.inbox.popleft()
        match message[0]:
            case wire.WELCOME:
                self.outbox.resume([(one[0], one[1]) for one in message[3]], again=message[1] != self.life)
                self.life = message[1]
                self.welcome = True
            case wire.ADMITTED:
                for session, first, last, refused, deferred in message[1]:
                    for sequence in range(first, last + 1):
                        if refused:
                            self.refused[session, sequence] = refused
                        if not deferred:
                            self.admitted.add((session, sequence))
                    if not deferred:
                        list(self.outbox.admitted(session, first, last))
            case wire.SETTLED:
                for session, first, last in message[1]:
                    self.settled.update((session, sequence) for sequence in range(first, last + 1))
                    list(self.outbox.settled(session, first, last))
            case wire.RESULT:
                for session, sequence, answer in message[1]:
                    self.results[session, sequence] = answer
                    list(self.outbox.settled(session, sequence, sequence))
                self.outgoing.append([wire.CONFIRM, [[one[0], one[1]] for one in message[1]]])
            case wire.DELIVER:
                self._take(message[1], message[2])

    def _take(self, runs: list[Any], deliveries: list[Any]) -> None:
        flat = [
            ((run[0], run[1], run[2]), sequence, run[5], bool(run[7] & wire.COMMAND))
            for run in runs
            for sequence, _ in enumerate(run[9], run[4])
        ]
        for number, entry, index, count, _, _, _, missed in deliveries:
            if missed:
                self.missed.append(missed)
            for offset in range(count):
                key, sequence, floor, command = flat[index + offset]
                line = self.lines[number].line(key)
                line.settle(floor)
                running = [(job[0], job[2], job[3]) for job in self.jobs]
                if line.seen(sequence):
                    self.answer(number, entry + offset, command)
                elif (number, key, sequence) not in running:
                    self.jobs.append((number, entry + offset, key, sequence, command))

    def answer(self, number: int, entry: int, command: bool = False) -> None:
        if command:
            detail = [True, b"", "", "", False, 1, 0.0]
            self.outgoing.append([wire.OUTCOME, [[number, entry, wire.VALUE, detail]]])
        else:
            self.outgoing.append([wire.DONE, [[number, entry, entry]]])

    def work(self, choose: random.Random) -> None:
        """One handler ends; each session's in order, several sessions in any order."""
        firsts: dict[tuple[int, str], Any] = {}
        for job in self.jobs:
            firsts.setdefault((job[0], job[2][2]), job)
        number, entry, key, sequence, command = job = choose.choice(list(firsts.values()))
        self.jobs.remove(job)
        self.handled[number].append((key, sequence))
        self.lines[number].line(key).mark(sequence)
        self.answer(number, entry, command)


class World:
    """Clients around one router and one store; time stands still but where a test moves it."""

    def __init__(self, *, seed: int = 0, store: bool = True, **options: Any) -> None:
        defaults = {"mailbox_capacity": 64, "block_timeout": 1e6, "client_lease": 1e6, "reserve": 0.0}
        self.options = BusOptions(**{**defaults, **options})
        self.choose = random.Random(seed)
        self.table = SubscriptionTable()
        self.store: Store | None = Store() if store else None
        self.clients: dict[str, Client] = {}
        self.lives = 0
        self.now = 0.0
        self.writing: tuple[int, list[Operation]] | None = None
        self.core = RouterCore("r0", self.options)

    def client(self, name: str, epoch: int = 1) -> Client:
        client = self.clients[name] = Client(name, epoch, self.options)
        client.connect(self.core)
        return client

    def handler(self, client: Client, name: str, kind: Any = "event", **fields: Any) -> SubscriptionRecord:
        wire_name = "test.Event" if kind == "event" else "test.Command"
        fields = {"capacity": self.options.mailbox_capacity, "concurrency": 2, **fields}
        record = SubscriptionRecord(kind, wire_name, name, client.name, client.epoch, **fields)
        settled = self.table.add(record).subscription
        client.serve(settled)
        return settled

    def start(self, *, read: bool = True) -> None:
        """A new life of the router: what the store has is all that it knows."""
        self.lives += 1
        self.writing = None
        self.core = RouterCore(f"r{self.lives}", self.options, random=self.choose.random)
        self.core.tick(self.now, 0)
        self.core.load(self.table.snapshot(), self.now)
        for client in self.clients.values():
            client.lose_link()
            client.connect(self.core)
        if read:
            self.read_store()

    def read_store(self) -> None:
        rows = list(self.store.journal.values()) if self.store is not None else []
        self.core.recover(rows, (), self.now, 0)

    def mailbox(self, record: SubscriptionRecord) -> Any:
        return self.core._state.mailboxes[record.number]

    # What goes on; each returns whether anything did

    def send(self, client: Client) -> bool:
        runs = client.outbox.runs() if client.welcome else []
        if runs:
            client.outgoing.append([wire.PUBLISH, runs])
        return bool(runs)

    def arrive(self, client: Client) -> bool:
        if not client.outgoing:
            return False
        self.core.receive(client.state, client.outgoing.popleft(), self.now)
        return True

    def hand(self, client: Client) -> bool:
        message = self.core.take(client.state)
        if message is not None:
            client.inbox.append(message)
        return message is not None

    def write(self) -> bool:
        """A batch goes to the store, or the answer comes back."""
        if self.store is None:
            return False
        if self.writing is None:
            self.writing = self.core.next_write()
            if self.writing is not None:
                self.store.apply(self.writing[1])
            return self.writing is not None
        ticket, _ = self.writing
        self.writing = None
        self.core.written(ticket, self.now)
        return True

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.core.tick(self.now, 0)

    def rest_without_store(self) -> None:
        """The same, while the store answers nothing and nobody works."""
        store, self.store = self.store, None
        self.rest(work=False)
        self.store = store

    def rest(self, *, work: bool = True) -> None:
        """Everything that can still happen happens."""
        idle = 0
        for _ in range(50_000):
            busy = self.write()
            for client in self.clients.values():
                busy |= self.hand(client) | self.send(client) | self.arrive(client)
                if client.inbox:
                    client.read()
                    busy = True
                if client.jobs and work:
                    client.work(self.choose)
                    busy = True
            self.core.validate()
            # What is taken may be written, and what is written may be taken.
            idle = 0 if busy else idle + 1
            if idle > 1:
                return
        raise AssertionError("it does not come to rest")
