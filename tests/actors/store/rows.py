"""Rows and operations as tests need them, and strategies that draw them from a small world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

from llmgine.actors.store.engine import Engine
from llmgine.actors.store.ledger import Ledger
from llmgine.actors.store.operations import (
    DropJournal,
    DropLetters,
    DropResponses,
    DropSchedule,
    DropSubscription,
    HandlerDone,
    KeepNote,
    KeepResponse,
    MarkHanded,
    Operation,
    PutJournal,
    PutLetter,
    PutSchedule,
    PutSubscription,
    SetAside,
)
from llmgine.actors.store.queries import Page
from llmgine.actors.store.rows import (
    ApprovalRow,
    JournalRow,
    LetterRow,
    ResponseRow,
    ScheduleRow,
    TurnRow,
)
from llmgine.actors.store.session_operations import (
    Activate,
    AnswerApproval,
    AppendEntries,
    DropBlobs,
    DropSession,
    KeepCode,
    PutApproval,
    PutBlob,
    PutSession,
    PutSnapshot,
    PutTurn,
    SetEntriesAside,
)


def message(sequence: int = 1, **changes: Any) -> JournalRow:
    fields: dict[str, Any] = {
        "producer": "driver",
        "epoch": 7,
        "session": "s",
        "sequence": sequence,
        "lineage": "shop.Paid|shop.Event",
        "flags": 0,
        "depth": 0,
        "body": b"body",
        "pending": ("BUS\x1fevent\x1fshop.Paid\x1fledger",),
        "time": 1_000,
    }
    return JournalRow(**fields | changes)


def letter(id: str = "m1 h", **changes: Any) -> LetterRow:
    fields: dict[str, Any] = {
        "id": id,
        "message": "m1",
        "lineage": "shop.Paid|shop.Event",
        "session": "s",
        "handler": "h",
        "key": "BUS\x1fevent\x1fshop.Paid\x1fh",
        "command": False,
        "reason": "handler",
        "attempts": 2,
        "errors": (("ValueError", "no", 1), ("ValueError", "no", 2)),
        "time": 1_000,
        "published": 900,
        "trace": None,
        "body": b"body",
    }
    return LetterRow(**fields | changes)


def schedule(id: str = "nightly", **changes: Any) -> ScheduleRow:
    fields: dict[str, Any] = {
        "id": id,
        "session": "BUS",
        "lineage": "shop.Close",
        "body": b"body",
        "at": 5_000,
    }
    return ScheduleRow(**fields | changes)


def turn(id: str = "t1", **changes: Any) -> TurnRow:
    fields: dict[str, Any] = {"session": "s", "state": "running", "request": b"request", "created": 1_000}
    return TurnRow(id, **fields | changes)


def approval(id: str = "a1", **changes: Any) -> ApprovalRow:
    fields: dict[str, Any] = {
        "session": "s",
        "turn": "t1",
        "call": "c1",
        "tool": "pay",
        "arguments": b"{}",
        "reason": "it costs money",
        "created": 1_000,
    }
    return ApprovalRow(id, **fields | changes)


def blob(hash: str = "h1", **changes: Any) -> PutBlob:
    fields: dict[str, Any] = {"session": "s", "epoch": 1, "body": b"large"}
    return PutBlob(hash=hash, **fields | changes)


def response(key: str = "k1", **changes: Any) -> ResponseRow:
    fields: dict[str, Any] = {"pool": "openai", "body": b"answer", "made": 1_000, "expires": 9_000}
    return ResponseRow(key, **fields | changes)


def all_pages(ask: Callable[[int], Page[Any]]) -> list[Any]:
    """Every row, over pages of any size."""
    found: list[Any] = []
    after: int | None = 0
    while after is not None:
        page = ask(after)
        assert not page.damaged
        found += page.rows
        after = page.next
    return found


def tidy(engine: Engine, now: int) -> None:
    """To its end."""
    while engine.tidy(now):
        pass


NAMES: Final = ("a", "b", "c", "Ü\x1f|'\"")
_names = st.sampled_from(NAMES)
_times = st.integers(0, 50)
_bodies = st.binary(max_size=4)

messages = st.builds(
    message,
    st.integers(1, 4),
    pending=st.lists(_names, min_size=1, max_size=3, unique=True).map(tuple),
    body=_bodies,
    replay_of=st.none() | _names,
    handed=st.booleans(),
)
letters = st.builds(
    letter,
    _names,
    lineage=st.sampled_from(["A", "B|A", "a|AB"]),
    session=_names,
    handler=_names,
    reason=_names,
    command=st.booleans(),
    errors=st.lists(st.tuples(_names, _names, _times), max_size=2).map(tuple),
    time=_times,
    trace=st.none() | _bodies,
)
schedules = st.builds(
    schedule,
    _names,
    at=_times,
    every=st.none() | st.floats(0.5, 9),
    cron=st.none() | _names,
    until=st.none() | _times,
    extra=st.dictionaries(_names, _times | st.lists(_names, max_size=2), max_size=2),
)
_ids = st.integers(1, 4).map(lambda sequence: message(sequence).id)

operations: st.SearchStrategy[Operation] = st.one_of(
    messages.map(PutJournal),
    st.builds(HandlerDone, _ids, _names),
    st.builds(HandlerDone, _ids, _names),
    st.builds(MarkHanded, _ids),
    st.builds(DropJournal, _ids),
    letters.map(PutLetter),
    st.builds(DropLetters, st.lists(_names, max_size=2).map(tuple)),
    schedules.map(PutSchedule),
    st.builds(DropSchedule, _names),
    st.builds(PutSubscription, _names, st.dictionaries(_names, _times | st.none(), max_size=2)),
    st.builds(DropSubscription, _names),
    st.builds(KeepResponse, st.builds(response, _names, pool=_names, body=_bodies, expires=_times)),
    st.builds(KeepResponse, st.builds(response, _names, body=_bodies)),
    st.builds(DropResponses, _names),
    st.builds(KeepNote, _names, _bodies, _times),
    st.builds(SetAside, st.just("journal"), _ids, _names),
    st.builds(SetAside, st.sampled_from(["letter", "schedule", "subscription", "?"]), _names, _names),
)
filters_of = {
    "handler": st.none() | _names,
    "reason": st.none() | _names,
    "session": st.none() | _names,
    "type": st.none() | st.sampled_from(["A", "B", "a", "AB", "|"]),
    "since": st.none() | _times,
    "until": st.none() | _times,
}

# Sessions: what somebody wants to write, made an operation by how things stand.

Intent = tuple[str, str, int, bytes]
SESSIONS: Final = ("s", "t|")
_KINDS: Final = (
    *("activate", "change", "append", "append", "snapshot", "turn", "turn", "approval", "answer"),
    *("blob", "blobs_gone", "code", "cut", "drop", "session_aside", "turn_aside", "bus", "late"),
)
intents: st.SearchStrategy[Intent] = st.tuples(
    st.sampled_from(_KINDS), st.sampled_from(SESSIONS), st.integers(0, 3), _bodies
)


def wanted(intent: Intent, ledger: Ledger) -> Operation:
    """Mostly what is admitted, and now and then what is not."""
    kind, session, number, body = intent
    now = ledger.sessions.standing(session)
    place = f"{session}{number}"
    match kind:
        case "activate":
            return Activate(session, now.epoch - (number == 3), now.epoch + 1, f"host-{number}", 10 + number)
        case "change":
            record = {"parent": "s" if number else None, "code": f"c{number}", "body": body}
            names = ["turns", "pending", "active", "opening"][: number + 1]
            closed = {"state": "closed"} if number == 1 else {}
            return PutSession(
                session, now.epoch, {**dict.fromkeys(names, number), "record": record, **closed}
            )
        case "append":
            return AppendEntries(session, now.epoch, now.head + 2 - number, (body, b"next"))
        case "snapshot":
            return PutSnapshot(session, now.epoch, max(0, now.head + 1 - number), body)
        case "cut":
            return SetEntriesAside(session, now.epoch, max(1, now.head + 1 - number), "torn")
        case "turn":
            ended = {"state": "done", "outcome": body, "ended": 5 * number} if number % 2 else {}
            return PutTurn(now.epoch, turn(f"{number}", session=session, **ended))
        case "approval":
            row = approval(f"a{number}", session=session, arguments=body, expires=None if number else 20)
            return PutApproval(now.epoch, row)
        case "answer":
            return AnswerApproval(f"a{number}", "denied" if body else "approved", "ann", "", 18 + number)
        case "blob":
            return blob(f"h{number}", session=session, epoch=now.epoch, body=b"h%d" % number)
        case "blobs_gone":
            return DropBlobs(session, now.epoch, (f"h{number}", "h1"))
        case "code":
            return KeepCode(f"c{number}", b"c%d" % number, number)
        case "drop":
            return DropSession(session)
        case "session_aside":
            return SetAside("session", session, "why")
        case "turn_aside":
            return SetAside("turn", f"{session}/{number}", "why")
        case "bus":
            kept = message(number, session=session, pending=("a",))
            puts: list[Operation] = [
                PutJournal(kept),
                PutLetter(letter(place, session=session)),
                PutSchedule(schedule(place, session=session)),
                PutSubscription(f"{session}\x1f{number}", {"n": number}),
            ]
            return puts[number]
    return PutSession(session, max(0, now.epoch - 1), {"turns": 77})
