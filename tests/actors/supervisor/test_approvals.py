"""Which approvals are pending, and when their time is over."""

from __future__ import annotations

from llmgine.actors.supervisor.approvals import PendingApprovals


def test_an_approval_is_due_once_when_its_time_is_over() -> None:
    """Not before, and the earliest first, however they were asked."""
    pending = PendingApprovals()
    pending.asked("late", 300)
    pending.asked("soon", 100)
    pending.asked("ever", None)
    assert pending.due(99) == []
    assert pending.due(300) == ["soon", "late"]
    assert pending.due(1000) == []


def test_what_was_answered_is_never_due() -> None:
    """Nor is it pending any more."""
    pending = PendingApprovals()
    pending.asked("a", 100)
    pending.answered("a")
    assert pending.due(1000) == []
    assert len(pending) == 0


def test_asking_twice_is_asking_once() -> None:
    """As when a session says so that has written it, and the store does, too."""
    pending = PendingApprovals()
    pending.asked("a", 100)
    pending.asked("a", 100)
    assert pending.due(100) == ["a"]


def test_what_could_not_be_answered_is_due_again() -> None:
    """At the time that is named, unless it was answered meanwhile."""
    pending = PendingApprovals()
    pending.asked("a", 100)
    assert pending.due(100) == ["a"]
    pending.again("a", 200)
    assert pending.due(199) == []
    assert pending.due(200) == ["a"]
    pending.answered("a")
    pending.again("a", 300)
    assert pending.due(1000) == []


def test_answered_ones_take_up_no_room() -> None:
    """However many there were."""
    pending = PendingApprovals()
    for number in range(10_000):
        pending.asked(str(number), 10**9)
        pending.answered(str(number))
    assert len(pending._expiries) < 100


def test_what_never_expires_takes_up_no_room() -> None:
    """Nobody says when it is over: its turn may have been cancelled, or its session deleted."""
    pending = PendingApprovals()
    pending.asked("ever", None)
    assert len(pending) == 0
