"""Subscriptions that several clients serve side by side: sharing, scaling, and the death of one."""

from __future__ import annotations

from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.policies import BreakerPolicy, RetryPolicy
from tests.actors.bus.router.scripted import Script

MEMBERS = ("m0", "m1", "m2")


def deployed(names: tuple[str, ...] = MEMBERS, **fields: Any) -> tuple[Script, int]:
    script = Script(client_lease=30.0, **fields.pop("options", {}))
    number = script.handler(client="d", members=True, **fields)
    for name in names:
        script.connect(name, number, member_of="d")
    return script, number


def shares(script: Script, names: tuple[str, ...] = MEMBERS) -> dict[str, list[tuple[str, int]]]:
    """Who has got what, by session and sequence."""
    return {name: [(one.session, one.sequence) for one in script.got(name)] for name in names}


def owners(script: Script, sessions: int) -> dict[str, str]:
    """Which member each session's event has gone to."""
    return {
        session: name for name, got in shares(script).items() for session, _ in got if int(session) < sessions
    }


def test_sessions_are_shared_and_stay_with_a_member() -> None:
    """Each session's events go to one member, in order; together the members get everything once."""
    script, _ = deployed()
    for _ in range(2):
        for session in range(30):
            script.publish(1, str(session))
    got = shares(script)
    assert sorted(one for part in got.values() for one in part) == sorted(
        (str(session), sequence) for session in range(30) for sequence in (1, 2)
    )
    for part in got.values():
        sessions = [session for session, _ in part]
        assert len(part) >= 6
        assert all(sessions.count(session) == 2 for session in sessions)
        assert sorted(part, key=lambda one: one[1]) == part


def test_what_has_no_lane_is_shared_too() -> None:
    """Events of the bus scope go to all members."""
    script, _ = deployed()
    script.publish(60, "BUS")
    got = shares(script)
    assert sum(map(len, got.values())) == 60
    assert min(map(len, got.values())) >= 10


def test_the_choice_outlives_the_router() -> None:
    """A new life of the router sends a session where the former one did, whoever attaches first."""
    first, _ = deployed()
    second, _ = deployed(MEMBERS[::-1])
    for script in (first, second):
        for session in range(30):
            script.publish(1, str(session))
    assert owners(first, 30) == owners(second, 30)


def test_a_new_life_waits_for_members_that_the_former_one_had() -> None:
    """So that what is sent again meets who has seen it; a runtime that begins waits for nobody."""
    script = Script()
    number = script.handler(client="d", members=True)
    script.connect("m0", number, member_of="d", life="former.7")
    script.publish(1)
    assert shares(script, ("m0",)) == {"m0": []}
    script.connect("m1", number, member_of="d", life="former.8")
    script.wait(1.0)
    assert sum(map(len, shares(script, ("m0", "m1")).values())) == 1


def test_a_lane_moves_to_a_new_member_only_when_it_is_empty() -> None:
    """What a member has in hand of a session keeps the rest of that session with it."""
    script, number = deployed(("m0",))
    for session in range(30):
        script.publish(1, str(session))
    entries = [one.entry for one in script.got("m0")]
    script.connect("m1", number, member_of="d")
    for session in range(30):
        script.publish(1, str(session))
    assert shares(script, ("m1",)) == {"m1": []}
    assert len(script.got("m0")) == 30
    script.done(number, entries[0], 2 * len(entries), client="m0")
    for session in range(30):
        script.publish(1, str(session))
    assert min(map(len, shares(script, ("m0", "m1")).values())) >= 6


def test_a_member_that_is_away_keeps_what_it_had() -> None:
    """It may be running that; the rest goes to others. Coming back, it gets the same attempt again."""
    script, number = deployed(("m0", "m1"), concurrency=1, overflow="reject_new", capacity=100)
    script.publish(20, "BUS")
    before = {name: script.got(name) for name in ("m0", "m1")}
    assert [len(part) for part in before.values()] == [1, 1]
    script.disconnect("m0")
    for sequence in range(1, 20):
        script.done(number, sequence, client="m1")
        script.got("m1")
    assert script.row(number)["handled"] == 19
    script.connect("m0", number, member_of="d")
    (again,) = script.got("m0")
    assert (again.sequence, again.redelivered) == (before["m0"][0].sequence, True)


def test_what_a_dead_member_had_goes_to_others() -> None:
    """Once its life is over or its lease ended; a command that must not run twice has no known outcome."""
    script, number = deployed(("m0",), kind="command", concurrency=1)
    script.execute()
    assert len(script.got("m0")) == 1
    script.disconnect("m0")
    script.connect("m1", number, member_of="d")
    assert script.got("m1") == []
    script.connect("m0", number, epoch=2, member_of="d")
    assert [answer[2] for answer in script.results()] == ["outcome_unknown"]
    assert script.row(number)["held"] == 0

    script, number = deployed(("m0",), concurrency=1)
    script.publish(3)
    script.got("m0")
    script.disconnect("m0")
    script.connect("m1", number, member_of="d")
    assert script.got("m1") == []
    script.wait(30.0)
    assert [(one.sequence, one.redelivered) for one in script.got("m1")] == [(1, True), (2, True), (3, True)]


def test_a_member_that_comes_back_without_its_handler_has_left() -> None:
    """Its word that it leaves was lost with the link: what it had goes to the others all the same."""
    script, number = deployed(("m0",), concurrency=1)
    script.publish(3)
    script.got("m0")
    script.connect("m1", number, member_of="d")
    script.disconnect("m0")
    script.connect("m0", member_of="d")
    assert [(one.sequence, one.redelivered) for one in script.got("m1")] == [(1, True), (2, True), (3, True)]
    assert script.row(number)["members"] == 1


def test_a_member_leaves() -> None:
    """It ends what it runs; what it gives back goes to the others, in order and behind what it runs."""
    script, number = deployed(("m0",))
    script.publish(3)
    script.got("m0")
    script.connect("m1", number, member_of="d")
    script.say("m0", [wire.ATTACH, []])
    script.give_back(number, 2, 3, client="m0")
    script.publish(1)
    assert script.got("m1") == []
    script.done(number, 1, client="m0")
    assert script.order("m1") == [2, 3, 4]
    assert (script.row(number)["members"], script.row(number)["handled"]) == (1, 1)


def test_a_member_that_has_left_is_not_attached_later() -> None:
    """What it asked to serve before the router knew of it, it does not serve any more."""
    script = Script()
    script.connect("m0", 1, member_of="d")
    script.say("m0", [wire.ATTACH, []])
    number = script.handler(client="d", members=True)
    script.publish(1)
    assert number == 1
    assert script.got("m0") == []


def test_the_last_member_leaves() -> None:
    """What it gives back waits for the next one."""
    script, number = deployed(("m0",))
    script.publish(2)
    script.got("m0")
    script.say("m0", [wire.ATTACH, []])
    script.give_back(number, 1, 2, client="m0")
    assert script.row(number)["members"] == 0
    script.connect("m1", number, member_of="d")
    assert script.order("m1") == [1, 2]


def test_a_member_that_leaves_over_a_break_gets_nothing_more() -> None:
    """It comes back for its own messages only; what it had and what comes goes to those who stay."""
    script, number = deployed(("m0", "m1"), concurrency=1)
    for session in range(10):
        script.publish(1, str(session))
    mine = [one.session for one in script.got("m0")]
    assert mine
    script.got("m1")
    script.say("m0", [wire.ATTACH, []])
    script.disconnect("m0")
    script.connect("m0", member_of="d")
    for name in mine:
        script.publish(1, name)
    assert {one.session for one in script.got("m1")} >= set(mine)
    assert script.got("m0") == []
    assert script.row(number)["members"] == 1


def test_only_members_may_serve() -> None:
    """A client that is none of the deployment's is told that it has lost the subscription."""
    script, number = deployed(("m0",))
    script.connect("stranger", number)
    script.hear("stranger")
    assert [wire.LOST, [number]] in script.heard["stranger"]


def test_the_breaker_is_one_for_all_members() -> None:
    """It opens through one of them, and everybody gives back what has not begun."""
    options = {
        "breaker": BreakerPolicy(failures=1, jitter=0.0, open_for=5.0),
        "retry": RetryPolicy(retries=0),
    }
    script, number = deployed(("m0", "m1"), options=options)
    script.publish(20, "BUS")
    got = {name: script.got(name) for name in ("m0", "m1")}
    script.fail(number, got["m0"][0].entry, client="m0")
    assert script.verdicts("m0") == [(got["m0"][0].entry, wire.ALL)]
    assert script.verdicts("m1") == [(0, wire.ALL)]
    for name, own in (("m0", got["m0"][0].entry), ("m1", 0)):
        entries = [one.entry for one in got[name] if one.entry != own]
        script.give_back(number, *entries, own, client=name)
    script.wait(5.0)
    trials = [one.sequence for name in ("m0", "m1") for one in script.got(name)]
    assert len(trials) == 3


def asked_again(script: Script, number: int) -> None:
    """A command that was sent to an earlier router comes; no member knows it."""
    script.wait(1.0)
    script.publish(session="BUS", flags=wire.COMMAND | wire.AGAIN, since=1)
    asked = []
    for _ in range(2):
        ((name, got),) = [(name, one) for name in ("m0", "m1") for one in script.got(name)]
        assert (got.attempt, got.redelivered) == (0, True)
        asked.append(name)
        script.give_back(number, got.entry, client=name)
    assert sorted(asked) == ["m0", "m1"]


def test_members_are_asked_for_a_command_that_was_sent_again() -> None:
    """Any of them may have run it for an earlier router: each is asked, then one is to run it."""
    script = Script()
    number = script.handler(client="d", members=True, kind="command", lives={"m0": 1, "m1": 1})
    for name in ("m0", "m1"):
        script.connect(name, number, member_of="d", life="former.7")
    asked_again(script, number)
    ((name, got),) = [(name, one) for name in ("m0", "m1") for one in script.got(name)]
    assert got.attempt == 1
    value = [True, b"x", "", "", False, 1, 0.0]
    script.say(name, [wire.OUTCOME, [[number, got.entry, wire.VALUE, value]]])
    assert script.results() == [value]


def test_a_command_that_a_dead_member_may_have_run_does_not_run_again() -> None:
    """Nobody knows it, and there was another member, or one has come since: its outcome is unknown."""
    both = {"m0": 1, "m1": 1}
    check_unknown({**both, "m2": 1})
    check_unknown({**both, "m1": 2})
    check_unknown(both, changes=5)


def check_unknown(lives: dict[str, int], changes: int = 0) -> None:
    script = Script()
    script.table.serial = changes
    number = script.handler(client="d", members=True, kind="command", lives=lives)
    for name in ("m0", "m1"):
        script.connect(name, number, member_of="d", life="former.7")
    asked_again(script, number)
    assert script.got("m0") == script.got("m1") == []
    assert [answer[2] for answer in script.results()] == ["outcome_unknown"]
    assert script.row(number)["held"] == 0
