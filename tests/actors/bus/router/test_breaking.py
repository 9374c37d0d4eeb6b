"""Breakers at work in the router: what they let through, park and refuse, and how they recover."""

from __future__ import annotations

from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.policies import BreakerPolicy, RetryPolicy
from tests.actors.bus.router.scripted import Script

POLICY = BreakerPolicy(
    failures=2, window=60.0, open_for=10.0, growth=2.0, jitter=0.0, permits=2, successes=2, park_for=100.0
)
NO_RETRY = RetryPolicy(retries=0)


def broken(**fields: Any) -> tuple[Script, int]:
    """A handler whose first two events have failed, with three more given back: its breaker is open."""
    script = Script(breaker=POLICY, retry=NO_RETRY)
    number = script.handler(concurrency=4, **fields)
    script.publish(5, "BUS")
    script.got()
    script.fail(number, 1)
    script.fail(number, 2)
    assert script.verdicts() == [(1, wire.KEEP), (2, wire.ALL)]
    script.give_back(number, 3, 4, 5, 2)
    return script, number


def state(script: Script, number: int) -> str:
    return str(script.row(number)["circuit_breaker_state"])


def test_an_open_breaker_parks_events() -> None:
    """Nothing is handed out, no attempt is used up, nothing is lost; trials keep the order of admission."""
    script, number = broken()
    script.publish(1, "BUS")
    assert script.got() == []
    assert (state(script, number), script.row(number)["parked"]) == ("open", 4)
    script.wait(9.9)
    assert script.got() == []
    script.wait(0.1)
    assert state(script, number) == "half_open"
    assert [(one.sequence, one.attempt) for one in script.got()] == [(3, 1), (4, 1)]


def test_it_closes_after_enough_successes() -> None:
    """No more than its permits are tried at a time; then all that was parked goes on."""
    script, number = broken()
    script.publish(5, "BUS")
    script.wait(10.0)
    first, second = script.got()
    script.done(number, first.entry)
    assert script.order() == [5]
    script.done(number, second.entry)
    assert state(script, number) == "closed"
    assert script.order() == [6, 7, 8, 9, 10]
    assert script.row(number)["parked"] == 0


def test_a_failed_trial_opens_it_again_for_longer() -> None:
    """The other trial's late success belongs to an older state and changes nothing."""
    script, number = broken()
    script.wait(10.0)
    first, second = script.got()
    script.fail(number, first.entry)
    assert script.verdicts() == [(first.entry, wire.ALL)]
    script.done(number, second.entry)
    script.give_back(number, first.entry)
    assert state(script, number) == "open"
    script.wait(19.9)
    assert script.got() == []
    script.wait(0.1)
    assert script.order() == [5]


def test_late_results_of_a_closed_breaker_do_not_count_as_trials() -> None:
    """What was handed out before it opened neither closes a half-open one nor takes a permit."""
    script = Script(breaker=POLICY, retry=NO_RETRY)
    number = script.handler(concurrency=8)
    script.publish(8, "BUS")
    script.got()
    script.fail(number, 1)
    script.fail(number, 2)
    script.give_back(number, 7, 8, 2)
    script.wait(10.0)
    trials = script.got()
    script.done(number, 3, 5)
    script.fail(number, 6)
    assert state(script, number) == "half_open"
    for one in trials:
        script.done(number, one.entry)
    assert state(script, number) == "closed"


def test_a_lost_trial_gives_its_permit_back() -> None:
    """The link breaks while trials run: they are tried again, and no permit is missing."""
    script, number = broken()
    script.wait(10.0)
    assert script.order() == [3, 4]
    script.disconnect("worker")
    script.connect("worker", number)
    assert [(one.sequence, one.redelivered) for one in script.got()] == [(3, True), (4, True)]


def test_parked_for_too_long_is_a_dead_letter() -> None:
    """Each event for itself, counted from when it was parked."""
    script, number = broken()
    script.disconnect("worker")
    script.wait(50.0)
    script.publish(1, "BUS")
    script.wait(49.9)
    assert len(script.core.failures) == 2
    script.wait(0.1)
    assert [one.reason for one in script.core.failures][2:] == ["breaker"] * 3
    script.wait(49.9)
    assert script.row(number)["held"] == 1
    script.wait(0.1)
    assert script.row(number)["held"] == 0


def test_commands_fail_at_once() -> None:
    """They do not wait for a breaker: the caller is told that it may try again; trials go through."""
    script = Script(breaker=POLICY, retry=NO_RETRY)
    number = script.handler(kind="command", concurrency=1)
    for _ in range(3):
        script.execute()
    for one in script.got():
        script.fail(number, one.entry)
        script.give_back(number, *[entry for entry, recall in script.verdicts() if recall == wire.ALL])
    script.execute()
    answers = [(answer[2], answer[4]) for answer in script.results()]
    assert answers.count(("breaker_open", True)) >= 1
    assert {kind for kind, _ in answers} == {"ValueError", "breaker_open"}
    script.wait(10.0)
    for _ in range(3):
        script.execute()
    assert len(script.got()) == 2
    assert [answer[2] for answer in script.results()] == ["breaker_open"]


def test_a_failed_command_with_an_open_breaker_is_not_tried_again() -> None:
    """Its caller gets its own error, not one about the breaker later."""
    script = Script(breaker=POLICY.model_copy(update={"failures": 1}))
    number = script.handler(kind="command", idempotent=True)
    script.execute()
    (got,) = script.got()
    script.fail(number, got.entry)
    assert [answer[2] for answer in script.results()] == ["ValueError"]


def test_breakers_are_independent() -> None:
    """Another handler of the same events, in the same process, goes on."""
    script, number = broken()
    other = script.handler("other")
    script.publish(2, "BUS")
    assert [one.number for one in script.got()] == [other] * 2
    assert (state(script, number), state(script, other)) == ("open", "closed")


def test_cancellations_and_bad_messages_do_not_open_it() -> None:
    """They say nothing of the handler's health; a stuck one does."""
    script = Script(breaker=POLICY, retry=NO_RETRY)
    number = script.handler(concurrency=16)
    script.publish(10, "BUS")
    script.got()
    for entry, reason in enumerate(("undecodable", "invalid", "cancelled", "batch") * 2, 1):
        script.fail(number, entry, reason)
    assert state(script, number) == "closed"
    script.fail(number, 9, "deadline")
    script.fail(number, 10, "stuck")
    assert state(script, number) == "open"


def test_a_trial_that_says_nothing_gives_its_permit_back() -> None:
    """A message that cannot be decoded in a half-open breaker makes room for the next trial."""
    script, number = broken()
    script.wait(10.0)
    first, _ = script.got()
    script.fail(number, first.entry, "undecodable")
    assert script.order() == [5]


def test_slow_successes_open_it() -> None:
    """As many as the policy says, of the latest attempts; quick ones are counted in bulk."""
    policy = BreakerPolicy(
        kind="rate", calls=10, minimum_calls=4, slow_rate=0.5, slow_after=1.0, open_for=10.0, jitter=0.0
    )
    script = Script(breaker=policy)
    number = script.handler(slow_after=1.0, concurrency=16)
    script.publish(8, "BUS")
    script.got()
    script.done(number, 1, 3)
    for entry in (4, 5):
        script.say("worker", [wire.OUTCOME, [[number, entry, wire.HANDLED, [1, 1.5]]]])
    assert state(script, number) == "closed"
    script.say("worker", [wire.OUTCOME, [[number, 6, wire.HANDLED, [1, 1.5]]]])
    assert state(script, number) == "open"


def test_lower_priorities_do_not_wait_for_an_open_breaker() -> None:
    """An event that is parked at a handler of a higher priority goes on to the next."""
    script, number = broken(priority=1)
    lower = script.handler("lower", priority=2)
    script.publish(1, "BUS")
    assert [one.number for one in script.got()] == [lower]
    assert number != lower


def test_lower_priorities_do_not_wait_for_a_retry() -> None:
    """Nor for one that waits for its next attempt; and when it comes, nobody is called twice."""
    script = Script()
    number, lower = script.handler(priority=1), script.handler("lower", priority=2)
    script.publish(1, "BUS")
    (got,) = script.got()
    script.fail(number, got.entry)
    assert [one.number for one in script.got()] == [lower]
    script.wait(1.0)
    assert [(one.number, one.attempt) for one in script.got()] == [(number, 2)]


def test_an_open_breaker_keeps_lanes_in_order() -> None:
    """A lane whose failed message waits for its next attempt, what was given back, what came later."""
    script = Script(breaker=POLICY.model_copy(update={"failures": 1}), retry=RetryPolicy(retries=5, base=1.0))
    number = script.handler()
    script.publish(3)
    script.got()
    script.fail(number, 1)
    assert script.verdicts() == [(1, wire.ALL)]
    script.publish(1)
    script.give_back(number, 2, 3, 1)
    script.wait(10.0)
    assert [(one.sequence, one.attempt) for one in script.got()] == [(1, 2), (2, 1)]
    script.done(number, 4, 5)
    assert script.order() == [3, 4]


def test_nothing_goes_out_before_everything_is_back() -> None:
    """Also where the breaker's time is over first: what comes back stands before the rest."""
    script = Script(breaker=POLICY.model_copy(update={"failures": 1}), retry=NO_RETRY)
    number = script.handler(concurrency=2)
    script.publish(3, "BUS")
    script.got()
    script.publish(1, "BUS")
    script.fail(number, 1)
    script.got()
    script.wait(10.0)
    assert script.got() == []
    script.give_back(number, 2, 3, 4)
    assert script.got() == []
    script.give_back(number, 1)
    assert script.order() == [2, 3]


def test_another_policy_begins_anew() -> None:
    """Registered again with another breaker, the handler is called at once."""
    script, number = broken()
    script.table.remove(number)
    record = script.core.snapshot()[0]
    record |= {"generation": record["generation"] + 1, "breaker": {"failures": 9}}
    script.core.add([record], script.now)
    script.core.validate()
    assert script.order() == [3, 4, 5]


def refused(script: Script) -> list[int]:
    """The sequences that the producer has been told were refused by some mailbox."""
    script.hear("producer")
    admitted = [one for one in script.heard["producer"] if one[0] == wire.ADMITTED]
    return [first for message in admitted for _, first, _, turned_away, _ in message[1] if turned_away]


def test_nobody_waits_for_room_behind_an_open_breaker() -> None:
    """Where a blocking mailbox is full of parked events, a publish is refused at once."""
    script, number = broken(capacity=4)
    script.publish(6, "BUS")
    assert script.row(number)["waiting_for_room"] == 0
    assert refused(script)
    assert state(script, number) == "open"


def test_who_waits_for_room_is_let_go_when_the_breaker_opens() -> None:
    """Publishes that wait for room in a mailbox are refused as soon as its breaker opens."""
    script = Script(breaker=POLICY, retry=NO_RETRY)
    number = script.handler(concurrency=2, capacity=2)
    script.publish(8, "BUS")
    script.got()
    assert refused(script) == []
    script.fail(number, 1)
    script.fail(number, 2)
    assert script.verdicts()[-1] == (2, wire.ALL)
    assert refused(script)
