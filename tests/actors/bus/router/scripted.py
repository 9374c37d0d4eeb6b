"""A router core whose clients say and hear exactly what a test writes down."""

from __future__ import annotations

from typing import Any, NamedTuple

from llmgine.actors.bus import BusOptions, RouterCore, SubscriptionRecord, SubscriptionTable, wire
from llmgine.actors.bus.policies import BreakerPolicy, RetryPolicy
from llmgine.actors.bus.router.records import ClientState

LINEAGE = "test.Event|llmgine.Event"
BODY = b"\x94\x01\xc0\xc0\x80"


class Got(NamedTuple):
    """One delivery as its handler's process sees it."""

    number: int
    entry: int
    session: str
    sequence: int
    attempt: int
    redelivered: bool
    missed: int


class Script:
    """One router at virtual time 0; chance draws the highest number, so that delays are their longest."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("retry", RetryPolicy(retries=2, base=1.0, cap=8.0))
        options.setdefault("breaker", BreakerPolicy(enabled=False))
        self.table = SubscriptionTable()
        self.now = 0.0
        self.core = RouterCore("r", BusOptions(**options), random=lambda: 1.0)
        self.core.tick(0.0, 0)
        self.core.load([], 0.0)
        self.clients: dict[str, ClientState] = {}
        self.heard: dict[str, list[Any]] = {}
        self.sent: dict[tuple[str, str], int] = {}
        self.connect("producer")

    # The table and who serves

    def handler(self, name: str = "h", client: str = "worker", **fields: Any) -> int:
        """Register a handler and have its client serve it; the subscription's number."""
        members = bool(fields.get("members"))
        kind = fields.pop("kind", "event")
        record = SubscriptionRecord(kind, "test.Event", name, client, 0 if members else 1, **fields)
        settled = self.table.add(record).subscription
        self.core.add([settled.to_wire()], self.now)
        if not members:
            if client not in self.clients:
                self.connect(client)
            self.say(client, [wire.ATTACH, [settled.number]])
        return settled.number

    def connect(self, name: str, *numbers: int, epoch: int = 1, member_of: str = "", life: str = "") -> None:
        hello = {"client": name, "epoch": epoch, "incarnation": life, "lines": []}
        hello |= {"subscriptions": list(numbers), "member_of": member_of}
        self.clients[name] = self.core.attach(hello, self.now)
        self.heard[name] = []

    def disconnect(self, name: str) -> None:
        self.core.detach(self.clients[name], self.now)
        self.heard[name] = []

    # Talking

    def say(self, client: str, message: list[Any]) -> None:
        self.core.receive(self.clients[client], message, self.now)
        self.core.validate()

    def hear(self, client: str) -> None:
        """Take what the router has for a client, to be looked at by the other methods."""
        while (message := self.core.take(self.clients[client])) is not None:
            self.heard[client].append(message)
        self.core.validate()

    def publish(self, count: int = 1, session: str = "s", **extra: Any) -> None:
        flags = extra.pop("flags", 0)
        first = self.sent.get(("producer", session), 0) + 1
        self.sent["producer", session] = first + count - 1
        run = [session, LINEAGE, first, 1, 0, flags, extra or None, [BODY] * count]
        self.say("producer", [wire.PUBLISH, [run]])

    def execute(self, session: str = "BUS", **extra: Any) -> None:
        self.publish(session=session, flags=wire.COMMAND, **extra)

    def results(self) -> list[list[Any]]:
        """What the producer has been answered since it was last asked: `[success, value, kind, …]` each."""
        self.hear("producer")
        heard, self.heard["producer"] = self.heard["producer"], []
        return [one[2] for message in heard if message[0] == wire.RESULT for one in message[1]]

    def got(self, client: str = "worker") -> list[Got]:
        """The deliveries that have come since this was last asked; other messages stay."""
        self.hear(client)
        deliveries = [one for one in self.heard[client] if one[0] == wire.DELIVER]
        self.heard[client] = [one for one in self.heard[client] if one[0] != wire.DELIVER]
        return [got for one in deliveries for got in _deliveries(one)]

    def order(self, client: str = "worker") -> list[int]:
        """The sequences of what has come."""
        return [one.sequence for one in self.got(client)]

    def verdicts(self, client: str = "worker") -> list[tuple[int, int]]:
        """Entry and recall of each verdict since this was last asked; deliveries stay."""
        self.hear(client)
        found = [(one[2], one[3]) for one in self.heard[client] if one[0] == wire.RESUME]
        self.heard[client] = [one for one in self.heard[client] if one[0] != wire.RESUME]
        return found

    def fail(
        self, number: int, entry: int, reason: str = "handler", *, attempt: int = 1, client: str = "worker"
    ) -> None:
        detail = [reason, "ValueError", "no", attempt, 0.0, False]
        self.say(client, [wire.OUTCOME, [[number, entry, wire.FAILED, detail]]])

    def give_back(self, number: int, *entries: int, client: str = "worker") -> None:
        self.say(client, [wire.OUTCOME, [[number, entry, wire.RETURNED, None] for entry in entries]])

    def done(self, number: int, first: int, last: int = 0, *, client: str = "worker") -> None:
        self.say(client, [wire.DONE, [[number, first, last or first]]])

    def wait(self, seconds: float) -> None:
        """Time passes, with every timer at its time."""
        end = self.now + seconds
        while (due := self.core.next_time()) is not None and due <= end:
            self.now = max(self.now, due)
            self.core.tick(self.now, round(self.now * 1e9))
            if self.core.next_time() == due:
                break
        self.now = end
        self.core.tick(self.now, round(self.now * 1e9))
        self.core.validate()

    # What became of it

    def row(self, number: int) -> dict[str, Any]:
        """The figures of one handler."""
        record = self.table.get(number)
        assert record is not None
        row: dict[str, Any] = self.core.statistics()["per_handler"][record.key_text]
        return row

    def story(self, **question: str) -> list[tuple[str, str]]:
        """What, and more in words."""
        self.say("producer", [wire.ASK, 1, "story", question])
        self.hear("producer")
        answer = next(one for one in reversed(self.heard["producer"]) if one[0] == wire.ANSWER)
        assert answer[2], answer
        return [(line[1], line[5]) for line in answer[3]]


def _deliveries(message: list[Any]) -> list[Got]:
    flat = [(run[2], sequence) for run in message[1] for sequence, _ in enumerate(run[9], run[4])]
    return [
        Got(number, entry + offset, *where, attempt, redelivered, 0 if offset else missed)
        for number, entry, index, count, attempt, redelivered, _, missed in message[2]
        for offset, where in enumerate(flat[index : index + count])
    ]
