"""Whose a session is, and which batches are therefore refused."""

from __future__ import annotations

import pytest

from llmgine.actors.store.errors import (
    AlreadyAnswered,
    Fenced,
    OperationRefused,
    StoreError,
    UnknownApproval,
)
from llmgine.actors.store.ledger import Ledger
from llmgine.actors.store.operations import Operation, PutSubscription
from llmgine.actors.store.session_operations import (
    Activate,
    AnswerApproval,
    AppendEntries,
    DropSession,
    PutApproval,
    PutSession,
    PutSnapshot,
    PutTurn,
    SetEntriesAside,
)
from tests.actors.store import rows


@pytest.fixture
def ledger() -> Ledger:
    """Session "s" is at epoch 5 of host-1, with three entries in its journal."""
    ledger = Ledger()
    ledger.apply([Activate("s", 0, 5, "host-1", 10), AppendEntries("s", 5, 1, (b"a", b"b", b"c"))])
    return ledger


def test_of_two_that_activate_from_the_same_epoch_one_has_the_session(ledger: Ledger) -> None:
    """The other is told whose it is now; who has it may say so again."""
    ledger.apply([Activate("s", 5, 6, "host-2", 11)])
    with pytest.raises(Fenced, match="epoch 6, of 'host-2', and not at 5"):
        ledger.apply([Activate("s", 5, 7, "host-3", 11)])
    ledger.apply([Activate("s", 5, 6, "host-2", 11)])
    row = ledger.sessions.session("s")
    assert row is not None
    assert (row.epoch, row.owner, row.created, row.head) == (6, "host-2", 10, 3)


@pytest.mark.parametrize(
    "activation", [Activate("s", 0, 9, "x", 1), Activate("s", 5, 5, "x", 1), Activate("t", 5, 6, "x", 1)]
)
def test_an_activation_that_knows_another_epoch_is_refused(ledger: Ledger, activation: Activate) -> None:
    """Also where the session is not there, and where its epoch would not rise."""
    with pytest.raises(Fenced):
        ledger.apply([activation])


LATE: list[Operation] = [
    PutSession("s", 5, {"turns": 9}),
    AppendEntries("s", 5, 4, (b"late",)),
    PutSnapshot("s", 5, 2, b"late"),
    SetEntriesAside("s", 5, 1, "late"),
    PutTurn(5, rows.turn()),
    PutApproval(5, rows.approval()),
    rows.blob(epoch=5),
]


@pytest.mark.parametrize("operation", LATE)
def test_who_was_overtaken_writes_nothing(ledger: Ledger, operation: Operation) -> None:
    """Nothing of the whole batch, whatever else was in it."""
    ledger.apply([Activate("s", 5, 6, "host-2", 11)])
    before = ledger.copy()
    with pytest.raises(Fenced):
        ledger.apply([PutSubscription("k", {}), operation])
    assert vars(ledger.sessions)["entries"] == before.sessions.entries
    assert ledger.sessions.session("s") == before.sessions.session("s")
    assert not ledger.subscriptions


def test_a_batch_is_judged_by_what_comes_before_in_it(ledger: Ledger) -> None:
    """Activation and first writes go together; one that overtakes itself is refused."""
    ledger.apply(
        [Activate("t", 0, 1, "h", 1), AppendEntries("t", 1, 1, (b"x",)), PutSnapshot("t", 1, 1, b"y")]
    )
    with pytest.raises(Fenced):
        ledger.apply([Activate("t", 1, 2, "h", 1), AppendEntries("t", 1, 2, (b"x",))])
    assert ledger.sessions.standing("t").epoch == 1


def test_entries_follow_on_each_other_and_those_that_are_there_stay(ledger: Ledger) -> None:
    """A gap is refused; of what comes again only the rest is appended."""
    with pytest.raises(OperationRefused, match="begins at 4, not at 5"):
        ledger.apply([AppendEntries("s", 5, 5, (b"e",))])
    ledger.apply([AppendEntries("s", 5, 3, (b"other", b"d"))])
    assert ledger.sessions.entries["s"] == {1: b"a", 2: b"b", 3: b"c", 4: b"d"}


def test_a_snapshot_takes_the_place_of_entries_and_never_goes_back(ledger: Ledger) -> None:
    """Nor is there one of entries that are not there."""
    ledger.apply([PutSnapshot("s", 5, 2, b"two")])
    ledger.apply([PutSnapshot("s", 5, 1, b"one")])
    assert ledger.sessions.snapshots["s"] == (2, b"two")
    assert ledger.sessions.entries["s"] == {3: b"c"}
    with pytest.raises(OperationRefused, match="ends at 3"):
        ledger.apply([PutSnapshot("s", 5, 4, b"four")])
    ledger.apply([PutSnapshot("s", 5, 3, b"three")])
    ledger.apply([AppendEntries("s", 5, 4, (b"d",))])
    assert ledger.sessions.entries["s"] == {4: b"d"}


def test_only_some_fields_of_a_session_can_be_set(ledger: Ledger) -> None:
    """Its epoch is not among them."""
    with pytest.raises(OperationRefused, match="epoch"):
        ledger.apply([PutSession("s", 5, {"epoch": 9})])


# Approvals.


def answer(state: str = "approved", by: str = "ann", time: int = 50) -> AnswerApproval:
    return AnswerApproval("a", state, by, "", time)  # type: ignore[arg-type]  # also what is none


def test_an_approval_is_answered_once(ledger: Ledger) -> None:
    """A second answer is told of the first; the same one again is none; asking again changes nothing."""
    ledger.apply([PutApproval(5, rows.approval("a"))])
    ledger.apply([answer(time=1_700_000_000_000_000_000)])
    ledger.apply([answer(time=1_700_000_000_000_000_000)])
    with pytest.raises(AlreadyAnswered, match="'a' was approved by 'ann' at 2023-11-14T22:13:20"):
        ledger.apply([answer("denied", "bob")])
    ledger.apply([PutApproval(5, rows.approval("a"))])
    assert ledger.sessions.approvals["a"].state == "approved"


def test_an_answer_after_its_time_is_refused(ledger: Ledger) -> None:
    """But one that says just that."""
    ledger.apply([PutApproval(5, rows.approval("a", expires=50))])
    with pytest.raises(AlreadyAnswered, match="expired at 1970"):
        ledger.apply([answer()])
    ledger.apply([answer("expired", "")])
    with pytest.raises(AlreadyAnswered, match="was expired at"):
        ledger.apply([answer(time=49)])


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (AnswerApproval("unknown", "approved", "ann", "", 1), UnknownApproval),
        (AnswerApproval("a", "pending", "ann", "", 1), OperationRefused),
        (PutApproval(7, rows.approval("a", session="other")), OperationRefused),
    ],
)
def test_an_answer_to_nothing_or_of_no_kind_is_refused(
    ledger: Ledger, operation: Operation, error: type[StoreError]
) -> None:
    """So is an approval whose id another session has."""
    ledger.apply([PutApproval(5, rows.approval("a")), Activate("other", 0, 7, "h", 1)])
    with pytest.raises(error):
        ledger.apply([operation])


def test_nothing_is_left_of_a_session_that_was_dropped(ledger: Ledger) -> None:
    """Its writer is refused, its approvals are unknown, also within one batch; its id begins anew."""
    ledger.apply([PutApproval(5, rows.approval("a"))])
    with pytest.raises(UnknownApproval):
        ledger.apply([DropSession("s"), answer()])
    ledger.apply([DropSession("s")])
    with pytest.raises(Fenced, match="is not in the store"):
        ledger.apply([PutSession("s", 5, {"turns": 1})])
    ledger.apply([Activate("s", 0, 9, "host-2", 20), PutApproval(9, rows.approval("a")), answer()])
    assert ledger.sessions.head("s") == 0
