"""What can be deployed, and how it travels."""

from __future__ import annotations

import pytest

from llmgine.actors.bus import Event, InvalidHandler, marks_of, on
from llmgine.actors.handlers import DeployedCode, DeploymentRefused
from llmgine.actors.handlers.deployment import checked_name


class Paid(Event):
    amount: int


class Ledger:
    """Keeps a sum."""

    @on(Paid)
    async def note(self, event: Paid) -> None: ...


def test_what_handles_nothing_cannot_be_deployed() -> None:
    """A class without marks is refused with what mends it."""
    with pytest.raises(InvalidHandler, match=r"mark its methods"):
        DeployedCode(object)


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
    assert {mark.method for mark in marks_of(loaded.handler_class)} == {"note"}
    assert DeployedCode.load(code) is code
