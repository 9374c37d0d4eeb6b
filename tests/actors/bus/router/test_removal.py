"""A subscription that is removed while its handlers run, and one that comes back under its number."""

from __future__ import annotations

from tests.actors.bus.router.scripted import Script


def test_what_runs_at_a_removed_handler_may_end() -> None:
    """Its answer still counts; what waited is discarded at once."""
    script = Script()
    number = script.handler(concurrency=1, overflow="reject_new")
    script.publish(2)
    assert script.order() == [1]
    script.core.remove([number], script.now)
    script.core.validate()
    assert script.core.unsettled == 1
    script.done(number, 1)
    assert script.core.unsettled == 0


def test_a_subscription_that_comes_back_under_its_number_begins_anew() -> None:
    """Who removed it died before the others knew: old answers touch nothing, and nothing is kept for ever."""
    script = Script()
    number = script.handler()
    script.publish(2)
    assert script.order() == [1, 2]
    record = script.table.get(number)
    assert record is not None
    script.core.remove([number], script.now)
    script.core.add([record.to_wire()], script.now)
    script.core.validate()
    assert script.core.unsettled == 0
    script.connect("worker", number)
    script.publish(1)
    (again,) = script.got()
    assert (again.sequence, again.entry) == (3, 3)
    script.done(number, 1, 2)
    assert script.core.unsettled == 1
    script.done(number, 3)
    assert script.core.unsettled == 0
