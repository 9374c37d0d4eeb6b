"""What classes and functions say of the messages that they handle."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.bus import Command, Event, InvalidHandler, answers, marks_of, marks_on, on


class Paid(Event):
    amount: int


class Refunded(Event):
    amount: int


class Total(Command[int]):
    pass


class Ledger:
    """Keeps a sum."""

    @on(Paid, priority=10)
    @on(Refunded)
    async def note(self, event: Paid | Refunded) -> None: ...

    @answers(Total)
    async def total(self, command: Total) -> int:
        return 0

    async def unmarked(self, event: Paid) -> None: ...


def test_marked_methods_are_found_with_their_classes_and_options() -> None:
    """Every mark of a class is found with its message class and options, and no other method is."""
    found = {(mark.method, mark.message_class): dict(mark.options) for mark in marks_of(Ledger)}
    assert found == {("note", Paid): {"priority": 10}, ("note", Refunded): {}, ("total", Total): {}}
    assert [mark.method for mark in marks_of(Ledger) if mark.is_command] == ["total"]


def test_a_subclass_inherits_its_marks() -> None:
    """A subclass handles what its parent handles."""

    class Branch(Ledger):
        pass

    assert {mark.method for mark in marks_of(Branch)} == {"note", "total"}


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        (lambda: on(Total), "@answers marks the other kind"),  # type: ignore[arg-type]  # that is the test
        (lambda: answers(Paid), "@on marks the other kind"),  # type: ignore[arg-type]  # that is the test
        (lambda: on(Paid, session_id="s"), "takes no 'session_id'"),
        (lambda: on(Paid, name="n"), "takes no 'name'"),
        (lambda: on(Paid, prio=3), "takes no 'prio'.*priority"),
    ],
)
def test_a_wrong_mark_is_refused_where_it_stands(mark: Any, reason: str) -> None:
    """A mark with the wrong kind of message or an option of other registrations is refused at once."""
    with pytest.raises(InvalidHandler, match=reason):
        mark()


@pytest.mark.parametrize("wrong", [object, Ledger()])
def test_what_handles_nothing_is_refused(wrong: Any) -> None:
    """A class without marks and an instance are refused with what mends it."""
    with pytest.raises(InvalidHandler, match=r"mark its methods|deploy the class"):
        marks_of(wrong)


def test_a_function_has_marks_too() -> None:
    """One function may handle several classes of messages; one without a mark is refused."""

    @on(Paid)
    @on(Refunded, priority=3)
    async def note(event: Paid | Refunded) -> None: ...

    async def unmarked(event: Paid) -> None: ...

    assert {(mark.message_class, *mark.options.items()) for mark in marks_on(note)} == {
        (Paid,),
        (Refunded, ("priority", 3)),
    }
    with pytest.raises(InvalidHandler, match=r"unmarked handles nothing: mark it"):
        marks_on(unmarked)
