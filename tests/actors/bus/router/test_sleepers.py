"""A session's own handlers while nobody serves them: what waits for them has their session woken."""

from __future__ import annotations

from typing import Any

from tests.actors.bus.router.scripted import Script


def asleep(**fields: Any) -> tuple[Script, int]:
    """A session whose process has gone, leaving its handler's subscription."""
    script = Script(client_lease=30.0)
    number = script.handler(client="session:s", session="s", wakes=True, **fields)
    script.disconnect("session:s")
    return script, number


def test_what_comes_for_a_sleeping_session_has_it_woken_once() -> None:
    """However much comes, its session is named once until it is time to ask again."""
    script, _ = asleep()
    assert script.core.take_sleepers() == ()
    script.publish(3, "s")
    script.publish(2, "s")
    assert script.core.take_sleepers() == ("s",)
    assert script.core.take_sleepers() == ()


def test_events_of_others_wake_nobody() -> None:
    """An event of another session or of the bus scope is nothing to it."""
    script, _ = asleep()
    script.publish(1, "other")
    script.publish(1, "BUS")
    assert script.core.take_sleepers() == ()


def test_who_wakes_gets_what_has_waited() -> None:
    """The next life of the session takes the subscription over with all that waits, and is left in peace."""
    script, number = asleep()
    script.publish(2, "s")
    assert script.core.take_sleepers() == ("s",)
    script.handler(client="session:s", session="s", wakes=True)
    script.connect("session:s", number)
    assert script.order("session:s") == [1, 2]
    script.wait(600.0)
    assert script.core.take_sleepers() == ()


def test_a_session_that_does_not_come_is_asked_for_again() -> None:
    """Again and again, each time after a longer pause, and at least once a minute."""
    script, _ = asleep()
    script.publish(1, "s")
    asked = []
    for second in range(400):
        if script.core.take_sleepers():
            asked.append(second)
        script.wait(1.0)
    assert asked == [0, 2, 6, 14, 30, 62, 122, 182, 242, 302, 362]


def test_what_was_in_hand_when_its_process_went_has_it_woken() -> None:
    """A session that dies at work is woken for what it had not done."""
    script = Script(client_lease=30.0)
    script.handler(client="session:s", session="s", wakes=True)
    script.publish(1, "s")
    assert script.order("session:s") == [1]
    assert script.core.take_sleepers() == ()
    script.disconnect("session:s")
    assert script.core.take_sleepers() == ("s",)


def test_a_session_that_has_ended_is_asked_for_no_more() -> None:
    """With its subscription goes what waits, and nobody is to be woken."""
    script, number = asleep()
    script.publish(1, "s")
    script.core.take_sleepers()
    script.table.remove(number)
    script.core.remove([number], script.now)
    script.wait(600.0)
    assert script.core.take_sleepers() == ()


def test_other_handlers_that_are_away_wake_nobody() -> None:
    """A driver's durable handler waits for its driver, not for a session."""
    script = Script(client_lease=30.0)
    script.handler(client="driver", session="s")
    script.disconnect("driver")
    script.publish(1, "s")
    assert script.core.take_sleepers() == ()
