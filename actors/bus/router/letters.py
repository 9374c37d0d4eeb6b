"""What did not succeed: each failure is counted, the final ones become dead letters in the store."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from llmgine.actors.bus.errors import UndecodableMessage
from llmgine.actors.bus.letters import DEAD_LETTERED, DeadLettered, Reason
from llmgine.actors.bus.messages import LINEAGE_SEPARATOR
from llmgine.actors.bus.payload import Encoder, read_head
from llmgine.actors.bus.router.records import Origin
from llmgine.actors.store.operations import PutLetter
from llmgine.actors.store.rows import LetterRow

if TYPE_CHECKING:
    from llmgine.actors.bus.router.records import Record
    from llmgine.actors.bus.router.state import RouterState
    from llmgine.actors.bus.subscriptions import SubscriptionRecord

# Of each letter: how many errors, the latest ones, and how much of each one's text.
ERRORS = 32
TEXT = 4_000
# Events about dead letters that are not handled yet; further letters are counted, not announced.
ANNOUNCED = 1_000

Error = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Failure:
    """One delivery that did not succeed, with what is needed to keep it.

    `errors` holds each attempt's kind, text and time; `key` is the subscription's, "" where there was none.
    """

    reason: Reason
    message: str
    lineage: str
    session: str
    handler: str
    attempts: int
    kind: str = ""
    text: str = ""
    key: str = ""
    command: bool = False
    errors: tuple[Error, ...] = ()
    body: bytes = b""
    replay_of: str | None = None

    @property
    def letter(self) -> str:
        """The dead letter's id: the same for the same message and handler."""
        return blake2b(
            f"{self.message}\x1e{self.key}".encode("utf-8", "surrogatepass"), digest_size=8
        ).hexdigest()


def failure_of(
    record: Record,
    subscription: SubscriptionRecord | None,
    reason: Reason,
    kind: str,
    text: str,
    attempts: int = 0,
    errors: tuple[Error, ...] = (),
) -> Failure:
    """The failure of a message for one subscription, or for none where nobody was there to take it."""
    head = record.head
    return Failure(
        reason,
        record.id,
        head.lineage,
        head.line.session,
        subscription.name if subscription is not None else "",
        attempts,
        kind,
        text,
        subscription.key_text if subscription is not None else "",
        head.command,
        errors,
        record.body,
        head.replay_of,
    )


class FailureLog:
    """Where every failure goes: counted by reason, the latest listed, the final ones kept as dead letters."""

    def __init__(self, state: RouterState) -> None:
        self.counts: Counter[Reason] = Counter()
        self.latest: deque[Failure] = deque(maxlen=state.options.history)
        self.kept = 0
        self.unannounced = 0
        # Letters whose message is on its way once more, by id; a new failure is added to the letter.
        self.replaying: dict[str, LetterRow] = {}
        self._state = state
        self._encoder = Encoder(DeadLettered, state.options.max_payload_bytes)
        self._news: deque[tuple[str, DeadLettered]] = deque()
        self._outstanding = 0
        self._sequence = 0

    def note(self, failure: Failure) -> None:
        """Count and list what nobody is to keep: what a policy discards of plain events."""
        self.counts[failure.reason] += 1
        # Bodies may be large, and the list is for reading.
        self.latest.append(replace(failure, body=b"") if failure.body else failure)

    def take(self, failure: Failure) -> None:
        """A final failure: it becomes a dead letter, once per message and handler."""
        self.note(failure)
        time = self._state.wall()
        replayed = self.replaying.get(failure.replay_of or "")
        if replayed is not None and replayed.key == failure.key:
            self.replaying[replayed.id] = _again(replayed, failure, time)
            return
        row = self._row(failure, time)
        self.kept += 1
        self._state.writes.add(PutLetter(row))
        if not row.lineage.startswith(DEAD_LETTERED):
            self._announce(row, failure.text)

    def _row(self, failure: Failure, time: int) -> LetterRow:
        try:
            published, trace, _ = read_head(failure.body)
        except UndecodableMessage:
            published, trace = time, None
        return LetterRow(
            id=failure.letter,
            message=failure.message,
            lineage=failure.lineage,
            session=failure.session,
            handler=failure.handler,
            key=failure.key,
            command=failure.command,
            reason=failure.reason,
            attempts=failure.attempts,
            errors=_errors(failure, time),
            time=time,
            published=published,
            trace=trace,
            body=failure.body,
        )

    # Telling

    def _announce(self, row: LetterRow, text: str) -> None:
        """At the next tick, for whoever reports a failure is in the middle of something."""
        if len(self._news) + self._outstanding >= ANNOUNCED:
            self.unannounced += 1
            return
        if not self._news:
            self._state.timers.at(self._state.now, self._tell)
        event = DeadLettered(
            session_id=row.session,
            letter=row.id,
            message=row.message,
            type=row.lineage.partition(LINEAGE_SEPARATOR)[0],
            handler=row.handler,
            reason=row.reason,
            attempts=row.attempts,
            text=text[:TEXT],
        )
        self._news.append((row.session, event))

    def _tell(self) -> None:
        state = self._state
        news, self._news = self._news, deque()
        for session, event in news:
            self._sequence += 1
            self._outstanding += 1
            origin = Origin(
                producer=f"letters:{state.incarnation}",
                epoch=1,
                session=session,
                sequence=self._sequence,
                lineage=self._encoder.lineage,
                body=self._encoder.encode(event, state.wall(), None),
                on_settled=self._told,
            )
            if not state.originate(origin):
                self._outstanding -= 1

    def _told(self, success: bool) -> None:
        self._outstanding -= 1

    def statistics(self) -> dict[str, Any]:
        """Failures by reason, and what became of the dead letters of this router's life."""
        return {
            "failures": dict(self.counts),
            "dead_letters_total": self.kept,
            "dead_letters_lost": self._state.writes.lost_letters,
            "dead_letters_unannounced": self.unannounced,
        }


def _errors(failure: Failure, time: int) -> tuple[Error, ...]:
    given = failure.errors or ((failure.kind or failure.reason, failure.text, time),)
    return tuple((kind, text[:TEXT], at) for kind, text, at in given[-ERRORS:])


def _again(row: LetterRow, failure: Failure, time: int) -> LetterRow:
    """The letter after another failure of its handler."""
    errors = (*row.errors, *_errors(failure, time))[-ERRORS:]
    return replace(
        row, reason=failure.reason, attempts=row.attempts + failure.attempts, errors=errors, time=time
    )
