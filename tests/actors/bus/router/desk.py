"""As much of a router's state as letters, replays and schedules need, with a store that is a few dicts."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from llmgine.actors.bus import BusOptions, Event, SubscriptionRecord, SubscriptionTable
from llmgine.actors.bus.payload import Encoder
from llmgine.actors.bus.router.letters import Failure, FailureLog
from llmgine.actors.bus.router.questions import Question
from llmgine.actors.bus.router.records import ClientState, Origin
from llmgine.actors.bus.router.replay import Replays
from llmgine.actors.bus.router.schedule import Schedules
from llmgine.actors.bus.router.timers import Timers
from llmgine.actors.bus.router.writes import Writes
from llmgine.actors.store.coding import row_to_wire
from llmgine.actors.store.operations import DropLetters, DropSchedule, Operation, PutLetter, PutSchedule
from llmgine.actors.store.rows import LetterRow, ScheduleRow

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


class Noted(Event):
    text: str = ""


class Desk:
    """The state of one router, whose messages reach nobody but this desk."""

    def __init__(self, *, recovered: bool = True, **options: Any) -> None:
        self.options = BusOptions(**options)
        self.incarnation = "router-0.1"
        self.now = 0.0
        self.drift = START
        self.timers = Timers()
        self.verbs: dict[str, Callable[[Question], None]] = {}
        self.table = SubscriptionTable()
        self.mailboxes: dict[int, Any] = {}
        self.writes = Writes(lambda: self.now, self.options.journal_timeout)
        self.failures = FailureLog(cast(Any, self))
        self.replays = Replays(cast(Any, self))
        self.schedules = Schedules(cast(Any, self))
        self.sent: list[Origin] = []
        self.handled = True
        self.refused: list[Operation] = []
        self.letters: dict[str, LetterRow] = {}
        self.rows: dict[str, ScheduleRow] = {}
        self._client = ClientState("driver", 1, "life-1")
        self._client.connected = True
        self._asked = 0
        if recovered:
            self.schedules.recover([])

    # What a router's state offers

    def wall(self) -> int:
        return self.drift + round(self.now * SECOND)

    def touch(self, client: ClientState) -> None:
        """Nobody is told."""

    def originate(self, origin: Origin) -> bool:
        if self.handled or origin.only is not None:
            self.sent.append(origin)
            return True
        return False

    # What a test does with it

    def handler(self, name: str) -> SubscriptionRecord:
        record = SubscriptionRecord("event", Noted.__wire_name__, name, "driver", 1)
        settled = self.table.add(record).subscription
        self.mailboxes[settled.number] = SimpleNamespace(subscription=settled)
        return settled

    def ask(self, verb: str, body: Any) -> Callable[[], Any]:
        """Ask, and look later for the answer: None, its body, or a (kind, text) in a list."""
        self._asked += 1
        number = self._asked
        self.verbs[verb](Question(cast(Any, self), self._client, number, verb, body))

        def answer() -> Any:
            for _, asked, answered, said in self._client.notices:
                if asked == number:
                    return said if answered else ("refused", *said)
            return None

        return answer

    def pass_time(self, seconds: float = 0.0) -> None:
        """Time passes, and what is due then happens."""
        self.now += seconds
        self.timers.run(self.now)
        self.writes.tick(self.now)
        self.schedules.tick(self.now, self.wall())

    def store(self) -> None:
        """The store commits everything that waits for it."""
        while (batch := self.writes.take()) is not None:
            ticket, operations = batch
            for operation in operations:
                self.apply(operation)
            self.writes.written(ticket)

    def apply(self, operation: Operation) -> None:
        match operation:
            case PutLetter(row):
                self.letters[row.id] = row
            case DropLetters(ids):
                for id_ in ids:
                    self.letters.pop(id_, None)
            case PutSchedule(row):
                self.rows[row.id] = row
            case DropSchedule(id_):
                self.rows.pop(id_, None)

    def settle(self, origin: Origin, success: bool = True) -> None:
        """Every handler of it is done."""
        self.sent.remove(origin)
        assert origin.on_settled is not None
        origin.on_settled(success)

    def fail(self, message: str, handler: SubscriptionRecord, text: str = "no", **more: Any) -> Failure:
        """A message's last attempt for that handler has failed."""
        values: dict[str, Any] = {"kind": "ValueError", "text": text, "body": body(message), **more}
        failure = Failure(
            more.pop("reason", "handler"),
            message,
            f"{Noted.__wire_name__}|llmgine.Event",
            "chat",
            handler.name,
            values.pop("attempts", 4),
            key=handler.key_text,
            **{name: value for name, value in values.items() if name != "reason"},
        )
        self.failures.take(failure)
        return failure

    def schedule(self, id_: str = "s", **row: Any) -> Callable[[], Any]:
        return self.ask("schedule", {"row": row_to_wire(self.row(id_, **row))})

    def row(self, id_: str = "s", *, after: float = 0.0, **more: Any) -> ScheduleRow:
        values = {"at": self.wall() + round(after * SECOND), "created": self.wall(), **more}
        return ScheduleRow(id_, "chat", Noted.__wire_name__, body(id_), **values)

    def validate(self) -> None:
        self.writes.validate()
        self.replays.validate()
        self.schedules.validate()


def body(text: str, time: int = 7) -> bytes:
    return Encoder(Noted, 1 << 20).encode(Noted(text=text, metadata={"of": text}), time, b"trace")
