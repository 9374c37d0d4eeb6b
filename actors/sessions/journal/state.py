"""What a session is, made of what it wrote: a snapshot and the records after it.

The live session keeps the same state and tells it of each record as it is written, so a snapshot may be
taken between any two of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from llmgine.actors.sessions.context.entries import Appended
from llmgine.actors.sessions.context.store import ContextStore
from llmgine.actors.sessions.errors import ContextError
from llmgine.actors.sessions.journal.blobs import put_back, take_out
from llmgine.actors.sessions.journal.entries import (
    UPCASTERS,
    Entry,
    UnknownKind,
    Unreadable,
    Upcaster,
    read_entry,
    write_entry,
)
from llmgine.actors.sessions.journal.records import (
    ApprovalAnswered,
    ApprovalAsked,
    CancelAsked,
    ContextChanged,
    JournalRecord,
    ModelAnswered,
    ModelCalled,
    SteerAsked,
    SteerRead,
    Streamed,
    ToolBegan,
    ToolEnded,
    ToolsAnswered,
    TurnBegan,
    TurnEnded,
    TurnQueued,
    WaitBegan,
    WaitEnded,
)
from llmgine.providers.contracts import Message, ToolResultPart

SNAPSHOT: Final = 1


@dataclass(slots=True)
class Progress:
    """How far the turn has come that began and has not ended.

    `answers` are its finished steps. `begun` and `ended` are the calls of the last one, `results` their
    results once they are in the conversation. `pieces` is the text of a step that has not finished.
    `waited` are the nanoseconds that the turn did nothing but wait for approvals, which it does again since
    `waits_since`.
    """

    began: TurnBegan
    records: list[JournalRecord] = field(default_factory=list)
    answers: list[ModelAnswered] = field(default_factory=list)
    begun: dict[str, ToolBegan] = field(default_factory=dict)
    ended: dict[str, ToolResultPart] = field(default_factory=dict)
    results: tuple[ToolResultPart, ...] | None = None
    pieces: list[tuple[int, str]] = field(default_factory=list)
    approvals: dict[str, ApprovalAsked | ApprovalAnswered] = field(default_factory=dict)
    cancelled: bool = False
    waited: int = 0
    waits_since: int | None = None

    @property
    def turn_id(self) -> str:
        return self.began.turn_id

    def note(self, record: JournalRecord) -> None:
        """Takes in a record of this turn."""
        match record:
            case Streamed():
                if record.restarted:
                    self.pieces.clear()
                self.pieces += record.pieces
                return
            case ContextChanged() | TurnQueued() | TurnEnded() | SteerAsked():
                return
            case ModelCalled():
                self.pieces.clear()
            case ModelAnswered():
                self.answers.append(record)
                self.begun.clear()
                self.ended.clear()
                self.approvals.clear()
                self.pieces.clear()
                self.results = None
            case ToolBegan(call=call):
                self.begun[call.id] = record
            case ToolEnded(result=result):
                self.ended[result.call_id] = result
            case ToolsAnswered(calls=calls):
                self.results = tuple(self.ended[call] for call in calls)
            case ApprovalAsked() | ApprovalAnswered():
                self.approvals[record.call_id] = record
            case WaitBegan(at=at):
                self.waits_since = at
            case WaitEnded(at=at) if self.waits_since is not None:
                self.waited += at - self.waits_since
                self.waits_since = None
            case CancelAsked():
                self.cancelled = True
        self.records.append(record)

    def entries(self) -> list[JournalRecord]:
        """Records that come to this progress again."""
        if not self.pieces:
            return self.records
        streamed = Streamed(self.turn_id, len(self.answers) + 1, tuple(self.pieces))
        return [*self.records, streamed]


class SessionState:
    """A session between two of its records: its conversation, its turns that have not ended, in order."""

    def __init__(self, context: ContextStore | None = None) -> None:
        self.context = ContextStore() if context is None else context
        self.queue: dict[str, TurnQueued] = {}
        self.progress: Progress | None = None
        # What was said to each of these turns, by its id; None where the turn has read it.
        self.steering: dict[str, dict[str, Message | None]] = {}
        self.turns = 0  # that have ended
        self.skipped: list[tuple[int, str]] = []  # entries of kinds that are not known here
        self.damage: tuple[int, str] | None = None  # the first entry that cannot be read, and why

    def apply(self, record: JournalRecord) -> None:
        """Does what a record says; ContextError where it does not fit, and nothing has changed then."""
        match record:
            case ContextChanged(entry=entry):
                self.context.apply(entry)
            case ModelAnswered(response=response, sequence=int(sequence)):
                self.context.apply(Appended(sequence=sequence, message=response.message))
            case SteerRead(message=message, sequence=sequence):
                self.context.apply(Appended(sequence=sequence, message=message))
            case ToolsAnswered(calls=calls, sequence=sequence):
                ended = {} if self.progress is None else self.progress.ended
                if missing := [call for call in calls if call not in ended]:
                    raise ContextError(f"the results of calls {', '.join(missing)} are not there")
                parts = tuple(ended[call] for call in calls)
                self.context.apply(Appended(sequence=sequence, message=Message(role="tool", parts=parts)))
        self.note(record)

    def note(self, record: JournalRecord) -> None:
        """Takes in a record whose change of the conversation is done already."""
        match record:
            case TurnQueued(request=request):
                self.queue[request.turn_id] = record
            case TurnBegan(turn_id=turn_id):
                self.progress = Progress(record) if turn_id in self.queue else None
            case SteerAsked(turn_id=turn_id, steer=steer, message=message):
                if turn_id in self.queue:
                    self.steering.setdefault(turn_id, {})[steer] = message
            case TurnEnded(turn_id=turn_id):
                self.steering.pop(turn_id, None)
                if self.queue.pop(turn_id, None) is not None:
                    self.turns += 1
                if self.progress is not None and self.progress.turn_id == turn_id:
                    self.progress = None
            case _:
                if isinstance(record, SteerRead):
                    self.steering.setdefault(record.turn_id, {})[record.steer] = None
                if self.progress is not None and self.progress.turn_id == record.turn_id:
                    self.progress.note(record)

    def read(
        self,
        entries: Iterable[tuple[int, bytes]],
        blobs: Mapping[str, bytes],
        upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
    ) -> None:
        """Applies numbered entries up to the first damaged one; an unknown kind is passed over."""
        for number, body in entries:
            if self.damage is not None:
                return
            try:
                self.apply(read_entry(body, blobs, upcasters))
            except UnknownKind as error:
                self.skipped.append((number, str(error)))
            except (Unreadable, ContextError) as error:
                self.damage = (number, str(error))

    def to_snapshot(self, blob_bytes: int) -> Entry:
        """The state as it is kept; `from_snapshot` gives back an equal one."""
        running = [] if self.progress is None else [self.progress.began, *self.progress.entries()]
        value = {
            "v": SNAPSHOT,
            "context": json.loads(self.context.to_json()),
            "queue": [_plain(record) for record in self.queue.values()],
            "steering": [_plain(record) for record in self._unread()],
            "turn": [_plain(record) for record in running],
            "turns": self.turns,
        }
        value, places, blobs = take_out(value, blob_bytes)
        return Entry(json.dumps({**value, "blobs": places}).encode(), blobs)

    def _unread(self) -> list[JournalRecord]:
        return [
            SteerAsked(turn_id, steer, message)
            for turn_id, said in self.steering.items()
            for steer, message in said.items()
            if message is not None
        ]

    @classmethod
    def from_snapshot(
        cls,
        body: bytes,
        blobs: Mapping[str, bytes],
        upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
    ) -> SessionState:
        """The state that a snapshot of this or an earlier version holds; `Unreadable` for what is none."""
        try:
            value: dict[str, Any] = json.loads(body)
            put_back(value, value.pop("blobs"), blobs)
            while (version := int(value["v"])) < SNAPSHOT:
                value = {**upcasters["snapshot", version](value), "v": version + 1}
            if version > SNAPSHOT:
                raise Unreadable(f"the snapshot has version {version}, and this one reads {SNAPSHOT}")
            state = cls(ContextStore.from_json(json.dumps(value["context"]).encode()))
            for kept in (*value["queue"], *value.get("steering", ()), *value["turn"]):
                state.note(read_entry(json.dumps(kept).encode(), {}, upcasters))
            state.turns = int(value["turns"])
        except (LookupError, TypeError, ValueError, ContextError) as error:
            if isinstance(error, Unreadable):
                raise
            raise Unreadable(f"the snapshot is damaged: {type(error).__name__}: {error}") from None
        return state


def _plain(record: JournalRecord) -> Any:
    # Large parts are taken out of the whole afterwards.
    return json.loads(write_entry(record, 1 << 62).body)
