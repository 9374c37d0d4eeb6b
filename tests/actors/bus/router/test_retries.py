"""What follows from a failed attempt: another one, in its place and at its time, or a dead letter."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.bus import wire
from llmgine.actors.bus.policies import RetryPolicy
from tests.actors.bus.router.scripted import Script


def test_a_lane_waits_for_its_failed_message() -> None:
    """What its handler gives back and what comes after stays behind it; another session goes on."""
    script = Script()
    number = script.handler()
    script.publish(3)
    assert script.order() == [1, 2, 3]
    script.fail(number, 1)
    assert script.verdicts() == [(1, wire.LANE)]
    script.publish(1)
    script.publish(1, "other")
    assert [(one.session, one.sequence) for one in script.got()] == [("other", 1)]
    script.give_back(number, 2, 3, 1)
    script.wait(0.9)
    assert script.order() == []
    script.wait(0.1)
    assert [(one.sequence, one.attempt) for one in script.got()] == [(1, 2), (2, 1), (3, 1), (4, 1)]


def test_a_lane_goes_on_only_when_all_of_it_is_back() -> None:
    """However late its handler gives back what it holds: nothing overtakes that."""
    script = Script()
    number = script.handler()
    script.publish(3)
    script.got()
    script.fail(number, 1)
    script.wait(5.0)
    script.give_back(number, 2)
    assert script.order() == []
    script.give_back(number, 3)
    script.give_back(number, 1)
    assert script.order() == [1, 2, 3]


def test_a_failed_event_of_the_bus_holds_back_nobody() -> None:
    """Without a lane it is tried again by itself."""
    script = Script()
    number = script.handler()
    script.publish(2, "BUS")
    script.got()
    script.fail(number, 1)
    assert script.verdicts() == [(1, wire.KEEP)]
    script.publish(1, "BUS")
    assert script.order() == [3]
    script.wait(1.0)
    assert [(one.sequence, one.attempt, one.redelivered) for one in script.got()] == [(1, 2, False)]


def test_strict_order_makes_the_bus_a_lane() -> None:
    """With order="strict" a failed event of the bus scope holds back the later ones."""
    script = Script()
    number = script.handler(order="strict")
    script.publish(2, "BUS")
    script.got()
    script.fail(number, 1)
    assert script.verdicts() == [(1, wire.LANE)]
    script.give_back(number, 2, 1)
    script.publish(1, "BUS")
    assert script.order() == []
    script.wait(1.0)
    assert script.order() == [1, 2, 3]


def test_a_batch_of_a_lane_fails_whole() -> None:
    """Each of its events waits for its own time, and the lane for the last of them."""
    script = Script()
    number = script.handler()
    script.publish(3)
    script.got()
    script.fail(number, 1)
    script.wait(0.5)
    script.fail(number, 2)
    assert script.verdicts() == [(1, wire.LANE), (2, wire.LANE)]
    script.give_back(number, 3, 1, 2)
    script.wait(0.9)
    assert script.order() == []
    script.wait(0.1)
    assert [(one.sequence, one.attempt) for one in script.got()] == [(1, 2), (2, 2), (3, 1)]


def test_used_up_is_a_dead_letter_with_every_error() -> None:
    """After its retries a message is a dead letter, once, with attempts and errors; its lane goes on."""
    script = Script()
    number = script.handler()
    script.publish(2)
    for attempt, delay in ((1, 1.0), (2, 2.0)):
        entries = [one.entry for one in script.got()]
        script.fail(number, entries[0], attempt=attempt)
        script.give_back(number, entries[1], entries[0])
        script.wait(delay)
    first, second = script.got()
    script.fail(number, first.entry, attempt=3)
    assert script.verdicts()[-1] == (first.entry, wire.KEEP)
    (failure,) = script.core.failures
    assert (failure.reason, failure.attempts, failure.message) == ("handler", 3, "producer:1:s:1")
    assert [error[:2] for error in failure.errors] == [("ValueError", "no")] * 3
    assert [error[2] / 1e9 for error in failure.errors] == [0.0, 1.0, 3.0]
    script.done(number, second.entry)
    row = script.row(number)
    assert (row["failed"], row["handled"], row["retried"], row["held"]) == (1, 1, 2, 0)


@pytest.mark.parametrize("reason", ["undecodable", "invalid", "stuck", "cancelled"])
def test_what_cannot_be_mended_by_trying_is_final(reason: str) -> None:
    """Its first attempt is its last; the handler goes on."""
    script = Script()
    number = script.handler()
    script.publish(2)
    script.got()
    script.fail(number, 1, reason)
    assert script.verdicts() == [(1, wire.KEEP)]
    assert [one.reason for one in script.core.failures] == [reason]


def test_every_failure_gets_a_verdict() -> None:
    """Also one that the router knows nothing of: its handler waits for it."""
    script = Script()
    number = script.handler()
    script.fail(number, 77)
    script.fail(999, 1)
    assert script.verdicts() == [(77, wire.KEEP), (1, wire.KEEP)]


def test_a_broken_link_neither_loses_nor_repeats_an_attempt() -> None:
    """What failed is tried as the next attempt, what ran is redelivered as the same one, in order."""
    script = Script()
    number = script.handler()
    script.publish(3)
    script.got()
    script.fail(number, 1)
    script.disconnect("worker")
    script.wait(2.0)
    script.connect("worker", number)
    assert [(one.sequence, one.attempt, one.redelivered) for one in script.got()] == [
        (1, 2, False),
        (2, 1, True),
        (3, 1, True),
    ]


def test_attempts_of_an_earlier_life_of_the_router_count() -> None:
    """The handler knows of attempts that this router has not seen."""
    script = Script()
    number = script.handler()
    script.publish(1, "BUS")
    script.got()
    script.fail(number, 1, attempt=2)
    script.wait(2.0)
    assert [one.attempt for one in script.got()] == [3]
    script.fail(number, 2, attempt=3)
    assert [one.attempts for one in script.core.failures] == [3]


def test_retries_of_one_handler_have_a_budget() -> None:
    """Beyond it a failed message is a dead letter at once, however many retries it has left."""
    script = Script(retry=RetryPolicy(retries=5, base=1.0, budget_ratio=0.0, budget_reserve=2))
    number = script.handler(concurrency=8)
    script.publish(5, "BUS")
    for one in script.got():
        script.fail(number, one.entry)
    assert script.row(number)["retried"] == 2
    assert len(script.core.failures) == 3


# Commands


def command(**extra: Any) -> tuple[Script, int]:
    script = Script()
    number = script.handler(kind="command", idempotent=True)
    script.execute(**extra)
    (got,) = script.got()
    script.fail(number, got.entry)
    return script, number


def test_a_command_succeeds_in_a_later_attempt() -> None:
    """Nothing is answered before; the answer says how many attempts it took."""
    script, number = command()
    assert script.results() == []
    script.wait(1.0)
    (got,) = script.got()
    value = [True, b"x", "", "", False, got.attempt, 0.0]
    script.say("worker", [wire.OUTCOME, [[number, got.entry, wire.VALUE, value]]])
    assert script.results() == [value]


def test_a_commands_own_deadline_bounds_its_retries() -> None:
    """An attempt that could only come too late is not made: the answer is the failure itself."""
    script, _ = command(deadline=0.9)
    ((success, _, kind, text, _, attempts, _),) = script.results()
    assert (success, kind, text, attempts) == (False, "ValueError", "no", 1)


def test_a_command_is_cancelled_between_attempts() -> None:
    """Its caller hears of the failure, and it is not tried again."""
    script, number = command()
    script.say("producer", [wire.CANCEL, "BUS", 1])
    ((success, _, kind, _, _, attempts, _),) = script.results()
    assert (success, kind, attempts) == (False, "ValueError", 1)
    script.wait(5.0)
    assert script.got() == []
    assert script.row(number)["held"] == 0


def test_removing_a_handler_ends_what_waits_for_it() -> None:
    """Its messages in backoff are discarded with the rest, and their timers run into nothing."""
    script = Script()
    number = script.handler()
    script.publish(2)
    script.publish(1, "BUS")
    for one in script.got():
        if one.sequence == 1:
            script.fail(number, one.entry)
    script.core.remove([number], script.now)
    script.disconnect("worker")
    script.wait(10.0)
    assert script.core.statistics()["unsettled"] == 0
