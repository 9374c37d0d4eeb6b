"""What every engine does for sessions, in memory and over each database, measured by a ledger."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmgine.actors.store.batches import Batch
from llmgine.actors.store.engine import Engine
from llmgine.actors.store.errors import AlreadyAnswered, Fenced, OperationRefused, StoreError
from llmgine.actors.store.ledger import Ledger
from llmgine.actors.store.operations import Operation, PutSubscription
from llmgine.actors.store.queries import PAGE_BYTES, ApprovalFilter, Page, SessionFilter
from llmgine.actors.store.retention import CODE_AGE, Retention
from llmgine.actors.store.rows import TurnRow
from llmgine.actors.store.session_operations import (
    Activate,
    AnswerApproval,
    AppendEntries,
    DropBlobs,
    DropSession,
    KeepCode,
    PutApproval,
    PutSession,
    PutSnapshot,
    PutTurn,
    SetEntriesAside,
)
from tests.actors.store import rows
from tests.actors.store.rows import tidy

FILES = itertools.count()
EVERY = SessionFilter()
MakeEngine = Callable[..., Engine]


class Both:
    """An engine and a ledger to which the same is done."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.ledger = Ledger()
        self.tickets = itertools.count(1)

    def commit(self, batches: list[list[Operation]], *, writer: str = "w") -> list[StoreError]:
        """One group; the errors with which batches of it are refused, by both."""
        expected: list[tuple[int, str, str]] = []
        group = [Batch.of(writer, next(self.tickets), operations) for operations in batches]
        for batch in group:
            try:
                self.ledger.apply(batch.operations)
            except StoreError as error:
                expected.append((batch.ticket, error.code, str(error)))
        refused = self.engine.commit(group, 1)
        assert [(one.batch.ticket, one.error.code, str(one.error)) for one in refused] == expected
        return [one.error for one in refused]

    def write(self, *operations: Operation) -> None:
        assert self.commit([list(operations)]) == []

    def check(self) -> None:
        """Every question has the ledger's answer."""
        questions, ledger = self.engine.sessions, self.ledger.sessions
        kept = [ledger.session(id) for id in ledger.rows]
        assert rows.all_pages(lambda after: questions.sessions(EVERY, after, 1)) == kept
        for session in rows.SESSIONS:
            one = questions.session(session)
            assert one.damaged == ()
            assert list(one.rows) == [row for row in kept if row is not None and row.id == session]
            assert questions.snapshot(session) == ledger.snapshots.get(session)
            self._check_entries(session)
            turns = [row for row in ledger.turns.values() if row.session == session]
            assert rows.all_pages(partial(self._turns, session)) == turns[::-1]
            for row in turns:
                assert questions.turn(session, row.id).rows == (row,)
        asked = rows.all_pages(lambda after: questions.approvals(ApprovalFilter(), after, 1))
        assert asked == list(ledger.approvals.values())
        for hash in ("h0", "h1", "h2", "h3"):
            assert questions.blob(hash) == ledger.blobs.get(hash)
        for hash in ("c0", "c1", "c2", "c3"):
            assert questions.code(hash) == ledger.code.get(hash, (None,))[0]
        assert self.engine.aside(2_000) == list(self.ledger.aside.values())[::-1]
        status = self.engine.status()
        assert [status[name] for name in ("messages", "letters", "schedules", "subscriptions")] == [
            len(shelf)
            for shelf in (
                self.ledger.journal,
                self.ledger.letters,
                self.ledger.schedules,
                self.ledger.subscriptions,
            )
        ]

    def _turns(self, session: str, before: int) -> Page[TurnRow]:
        return self.engine.sessions.turns(session, before or None, 1)

    def _check_entries(self, session: str) -> None:
        kept = self.ledger.sessions.entries.get(session, {})
        found: dict[int, bytes] = {}
        after: int | None = 0
        while after is not None:
            page = self.engine.sessions.entries(session, after, 2)
            assert page.damage is None
            found.update(page.rows)
            after = page.next
        assert found == kept


@pytest.fixture
def both(make: MakeEngine) -> Both:
    """Session "s" is at epoch 5 of host-1."""
    both = Both(make())
    both.write(Activate("s", 0, 5, "host-1", 10))
    return both


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    groups=st.lists(st.lists(st.lists(rows.intents, max_size=6), min_size=1, max_size=3), max_size=5),
    turns=st.integers(1, 3),
    turn_age=st.none() | st.integers(0, 20),
    session_age=st.none() | st.integers(0, 20),
)
def test_whatever_sessions_write_reads_as_the_ledger_says(
    make: MakeEngine,
    groups: list[list[list[rows.Intent]]],
    turns: int,
    turn_age: int | None,
    session_age: int | None,
) -> None:
    """Batches in groups, refusals, pages and what is tidied: an engine and a ledger are one."""
    retention = Retention(turns, turn_age, session_age)
    both = Both(make(file=f"{next(FILES)}.db", retention=retention))
    for group in groups:
        ahead = both.ledger.copy()
        batches = [[_taken(intent, ahead) for intent in intents] for intents in group]
        both.commit(batches)
    both.check()
    for now in (21, 21 + CODE_AGE):
        tidy(both.engine, now)
        both.ledger.expire(now - 1_000)
        both.ledger.tidy(now, retention)
        both.check()
    both.engine.close()


def _taken(intent: rows.Intent, ahead: Ledger) -> Operation:
    operation = rows.wanted(intent, ahead)
    try:
        ahead.apply([operation])
    except StoreError:
        pass
    return operation


def test_of_two_writers_that_activate_in_one_group_one_has_the_session(both: Both) -> None:
    """What the other wrote with it is not there; later, too, only the one can write."""
    first = Batch.of("a", 1, [Activate("s", 5, 6, "a", 20), AppendEntries("s", 6, 1, (b"a",))])
    second = Batch.of("b", 1, [Activate("s", 5, 7, "b", 20), AppendEntries("s", 7, 1, (b"b",))])
    [refusal] = both.engine.commit([first, second], 1)
    assert refusal.batch is second
    assert isinstance(refusal.error, Fenced)
    late = Batch.of("b", 2, [AppendEntries("s", 7, 1, (b"b",))])
    [refusal] = both.engine.commit([late], 1)
    assert isinstance(refusal.error, Fenced)
    assert both.engine.sessions.entries("s", 0, 9).rows == ((1, b"a"),)
    assert both.engine.sessions.session("s").rows[0].owner == "a"


def test_a_refused_batch_takes_no_other_with_it(both: Both) -> None:
    """Of one group, those before and after it are there."""
    errors = both.commit(
        [
            [AppendEntries("s", 5, 1, (b"one",))],
            [AppendEntries("s", 4, 2, (b"late",)), PutSubscription("k", {})],
            [AppendEntries("s", 5, 3, (b"gap",))],
            [AppendEntries("s", 5, 2, (b"two",))],
        ]
    )
    assert [type(error) for error in errors] == [Fenced, OperationRefused]
    both.check()
    assert both.engine.sessions.entries("s", 0, 9).rows == ((1, b"one"), (2, b"two"))


def test_a_batch_that_comes_again_has_the_outcome_it_had(make: MakeEngine) -> None:
    """Also a refused one, although its writer's later batches were committed; also in the next life."""
    engine = make()
    begun = Batch.of("w", 1, [Activate("s", 0, 5, "host-1", 10)])
    refused = Batch.of("w", 2, [AppendEntries("s", 4, 1, (b"late",))])
    taken = Batch.of("w", 3, [AppendEntries("s", 5, 1, (b"one",))])
    engine.commit([begun, refused, taken], 1)
    for life in range(2):
        if life and engine.blocks:
            engine.close()
            engine = make()
        [again] = engine.commit([begun, refused, taken], 1)
        assert again.batch is refused
        assert isinstance(again.error, Fenced)
        assert engine.sessions.entries("s", 0, 9).rows == ((1, b"one"),)


def test_who_activates_in_the_next_life_goes_on_where_the_journal_ended(lasting: MakeEngine) -> None:
    """Snapshot and entries are there; who wrote before is refused."""
    engine = lasting()
    first = Both(engine)
    first.write(
        Activate("s", 0, 5, "a", 1), AppendEntries("s", 5, 1, (b"x", b"y")), PutSnapshot("s", 5, 1, b"X")
    )
    engine.close()
    second = lasting()
    late = Batch.of("z", 1, [AppendEntries("s", 5, 3, (b"z",))])
    assert second.commit([Batch.of("y", 1, [Activate("s", 5, 9, "b", 2)])], 1) == []
    assert [type(one.error) for one in second.commit([late], 1)] == [Fenced]
    assert second.commit([Batch.of("y", 2, [AppendEntries("s", 9, 3, (b"z",))])], 1) == []
    assert second.sessions.snapshot("s") == (1, b"X")
    assert second.sessions.entries("s", 1, 9).rows == ((2, b"y"), (3, b"z"))


def test_nothing_of_a_deleted_session_is_in_any_table(both: Both) -> None:
    """Of the bus neither; what another session has, also a blob of both, stays."""
    both.write(Activate("t|", 0, 1, "host-2", 10))
    for session, epoch in (("s", 5), ("t|", 1)):
        both.write(
            AppendEntries(session, epoch, 1, (b"1", b"2")),
            PutSnapshot(session, epoch, 1, b"snapshot"),
            PutTurn(epoch, rows.turn("1", session=session)),
            PutApproval(epoch, rows.approval(f"a{epoch}", session=session)),
            rows.blob("h1", session=session, epoch=epoch),
            rows.blob(f"h{epoch}", session=session, epoch=epoch),
            *(rows.wanted(("bus", session, number, b""), both.ledger) for number in range(4)),
        )
        both.write(SetEntriesAside(session, epoch, 2, "torn"))
    both.write(DropSession("s"))
    both.check()
    assert [row.id for row in both.engine.sessions.sessions(EVERY, 0, 9).rows] == ["t|"]
    assert both.engine.sessions.blob("h5") is None
    assert both.engine.sessions.blob("h1") == b"large"
    assert [one.id for one in both.engine.aside(9)] == ["t|/2"]
    assert both.engine.status()["messages"] == 1


def test_a_blob_is_kept_once_and_goes_with_its_last_reference(both: Both) -> None:
    """Dropping and putting it again in one group keeps it."""
    both.write(Activate("t|", 0, 1, "host-2", 10))
    both.write(rows.blob(epoch=5), rows.blob(session="t|", epoch=1, body=b"other"))
    both.write(DropBlobs("s", 5, ("h1", "unknown")))
    assert both.engine.sessions.blob("h1") == b"large"
    both.commit([[DropBlobs("t|", 1, ("h1",))], [rows.blob(session="t|", epoch=1)]])
    assert both.engine.sessions.blob("h1") == b"large"
    both.write(DropBlobs("t|", 1, ("h1",)))
    assert both.engine.sessions.blob("h1") is None
    assert both.engine.status()["blobs"] == 0


def test_an_approval_is_answered_once_and_expires_by_itself(both: Both) -> None:
    """Of two answers in one group the first counts; what nobody answered expires in its time."""
    both.write(
        PutApproval(5, rows.approval("a")),
        PutApproval(5, rows.approval("b", expires=40)),
        PutApproval(5, rows.approval("c", expires=60)),
    )
    answers: list[list[Operation]] = [
        [AnswerApproval("a", "approved", "ann", "fine", 30)],
        [AnswerApproval("a", "denied", "bob", "", 31)],
    ]
    [error] = both.commit(answers)
    assert isinstance(error, AlreadyAnswered)
    tidy(both.engine, 50)
    both.ledger.tidy(50, Retention())
    both.check()
    states = [
        (row.id, row.state, row.by) for row in both.engine.sessions.approvals(ApprovalFilter(), 0, 9).rows
    ]
    assert states == [("a", "approved", "ann"), ("b", "expired", ""), ("c", "pending", "")]
    assert [row.id for row in both.engine.sessions.approvals(ApprovalFilter("pending", "s"), 0, 9).rows] == [
        "c"
    ]


def test_a_journal_goes_on_from_where_it_was_torn(both: Both) -> None:
    """What was there is kept aside with the reason; with a damaged snapshot it begins anew."""
    both.write(AppendEntries("s", 5, 1, (b"1", b"2", b"3")), PutSnapshot("s", 5, 1, b"snapshot"))
    both.write(SetEntriesAside("s", 5, 3, "torn"), AppendEntries("s", 5, 3, (b"new",)))
    both.check()
    assert both.engine.sessions.entries("s", 0, 9).rows == ((2, b"2"), (3, b"new"))
    both.write(SetEntriesAside("s", 5, 1, "torn"), AppendEntries("s", 5, 1, (b"first",)))
    both.check()
    assert both.engine.sessions.snapshot("s") is None
    assert {one.id for one in both.engine.aside(9)} == {"s/0", "s/2", "s/3"}


def test_a_page_of_entries_is_bounded_in_bytes(both: Both) -> None:
    """But has one entry at least, however large."""
    both.write(AppendEntries("s", 5, 1, (bytes(PAGE_BYTES), bytes(PAGE_BYTES), b"x")))
    pages = [both.engine.sessions.entries("s", after, 9) for after in (0, 1)]
    assert [[number for number, _ in page.rows] for page in pages] == [[1], [2]]
    assert [page.next for page in pages] == [1, 2]


def test_code_is_kept_while_a_session_names_it(both: Both) -> None:
    """And for a while on its way to one."""
    both.write(
        KeepCode("c1", b"one", 1), KeepCode("c2", b"two", 1), PutSession("s", 5, {"record": {"code": "c1"}})
    )
    tidy(both.engine, 2)
    assert both.engine.sessions.code("c2") == b"two"
    tidy(both.engine, 2 + CODE_AGE)
    assert [both.engine.sessions.code(hash) for hash in ("c1", "c2")] == [b"one", None]


def test_tidying_lets_commits_through(lasting: MakeEngine) -> None:
    """It goes in steps, between which a batch is committed."""
    engine = lasting(retention=Retention(turns=1))
    both = Both(engine)
    batches: list[list[Operation]] = []
    for session in (f"s{number}" for number in range(120)):
        ended = [rows.turn(f"{turn}", session=session, state="done", ended=1) for turn in range(3)]
        batches.append([Activate(session, 0, 1, "h", 1), *(PutTurn(1, turn) for turn in ended)])
    both.commit(batches)
    steps = 0
    while engine.tidy(5):
        steps += 1
        both.write(PutSession("s0", 1, {"messages": steps}))
    assert steps > 5
    assert engine.status()["turns"] == 120


@pytest.mark.parametrize(
    "wanted",
    [
        SessionFilter(),
        SessionFilter(state="closed"),
        SessionFilter(pending=True),
        SessionFilter(pending=False),
        SessionFilter(prefix="a/"),
        SessionFilter(prefix="Ä"),
        SessionFilter(parent="a/1"),
        SessionFilter(part="/"),
        SessionFilter(part="a"),
        SessionFilter("open", True, "a", "a/1", "/"),
    ],
)
def test_sessions_are_found_by_what_they_have_in_common(make: MakeEngine, wanted: SessionFilter) -> None:
    """Whatever stands in their ids."""
    both = Both(make())
    for place, id in enumerate(("a/1", "a/2", "A/1", "a", "Ä/1", "ä", "a/\U0010fffe")):
        record = {"parent": "a/1"} if place % 3 else {}
        changes = {"state": "closed" if place % 2 else "open", "pending": place % 4, "record": record}
        both.write(Activate(id, 0, 1, "h", place), PutSession(id, 1, changes))
    admitted = [row for row in both.ledger.sessions.rows.values() if wanted.admits(row)]
    assert list(both.engine.sessions.sessions(wanted, 0, 100).rows) == admitted
    assert both.engine.sessions.count_sessions(wanted) == len(admitted)
    newest = both.engine.sessions.newest_sessions(wanted, None, 2)
    rest = both.engine.sessions.newest_sessions(wanted, newest.next, 100) if newest.next else None
    assert [*newest.rows, *(rest.rows if rest else ())] == admitted[::-1]
