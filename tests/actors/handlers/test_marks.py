"""What a class says of the messages that it handles."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.bus import Command, Event, InvalidHandler
from llmgine.actors.handlers import DeployedCode, DeploymentRefused, answers, marks_of, on
from llmgine.actors.handlers.deployment import checked_name


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
def test_what_handles_nothing_cannot_be_deployed(wrong: Any) -> None:
    """A class without marks and an instance are refused with what mends it."""
    with pytest.raises(InvalidHandler, match=r"mark its methods|deploy the class"):
        DeployedCode(wrong)


def test_a_name_that_no_actor_can_have_is_refused() -> None:
    """A deployment's name that cannot be part of an actor's name is refused with the rule."""
    assert checked_name("Billing.v2") == "Billing.v2"
    with pytest.raises(DeploymentRefused, match="1 to 64 letters"):
        checked_name("no spaces")


def test_a_class_travels_with_its_messages() -> None:
    """What is packed comes back as the same deployment, constructed with the same arguments."""
    pytest.importorskip("ray.cloudpickle")
    code = DeployedCode(Ledger, {})
    loaded = DeployedCode.load(code.pack())
    assert {mark.method for mark in marks_of(loaded.handler_class)} == {"note", "total"}
    assert DeployedCode.load(code) is code
