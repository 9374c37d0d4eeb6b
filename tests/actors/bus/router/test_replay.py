"""Replays in the router."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmgine.actors.bus import wire
from llmgine.actors.bus.router.replay import WAITING
from llmgine.actors.store.coding import row_to_wire
from llmgine.actors.store.operations import PutLetter
from llmgine.actors.store.rows import LetterRow
from tests.actors.bus.router.desk import Desk
from tests.actors.bus.router.scripted import Script


def dead(desk: Desk, message: str = "m1", handler: str = "mails") -> LetterRow:
    """One letter, as the store has it."""
    desk.fail(message, desk.handler(handler))
    desk.pass_time()
    desk.store()
    desk.sent.clear()
    return next(row for row in desk.letters.values() if row.message == message)


def replay(desk: Desk, row: LetterRow, token: str = "t") -> Any:
    return desk.ask("replay", {"letter": row_to_wire(row), "token": token})


def test_a_replay_that_succeeds_leaves_the_queue() -> None:
    """It runs again for the handler that failed, as a new message; it is answered when the letter is gone."""
    desk = Desk()
    row = dead(desk)
    answer = replay(desk, row)
    desk.pass_time()
    (origin,) = desk.sent
    assert origin.only is desk.mailboxes[1]
    assert (origin.replay_of, origin.body, origin.lineage) == (row.id, row.body, row.lineage)
    assert f"{origin.producer}:{origin.epoch}:{origin.session}:{origin.sequence}" != row.message
    desk.settle(origin)
    assert answer() is None
    desk.store()
    assert answer() == {"handled": True, "attempts": 5, "text": ""}
    assert desk.letters == {}
    desk.validate()


def test_a_replay_that_fails_stays_with_its_attempts_added() -> None:
    """The letter has the new errors behind the old ones, and no second letter is made."""
    desk = Desk()
    row = dead(desk)
    answer = replay(desk, row)
    desk.pass_time()
    failure = desk.failures.latest[0]
    desk.failures.take(
        replace(failure, message="another", replay_of=row.id, attempts=2, text="once more", reason="deadline")
    )
    desk.settle(desk.sent[0], success=False)
    desk.store()
    assert answer() == {"handled": False, "attempts": 6, "text": "ValueError: once more"}
    (now,) = desk.letters.values()
    assert (now.id, now.message, now.attempts, now.reason) == (row.id, "m1", 6, "deadline")
    assert [text for _, text, _ in now.errors] == ["no", "once more"]
    desk.pass_time()
    assert desk.sent == [], "the letter was told of when it came"
    desk.validate()


def test_without_its_handler_a_letter_stays_and_that_is_said() -> None:
    """A letter whose handler is gone, before its replay or during it, stays in the queue."""
    desk = Desk()
    row = dead(desk)
    answer = replay(desk, row)
    desk.pass_time()
    desk.table.remove(1)
    desk.settle(desk.sent[0], success=False)
    desk.store()
    assert not answer()["handled"]
    assert "not registered any more" in answer()["text"]
    again = replay(desk, row, "u")
    assert again()[:2] == ("refused", "no_handler")
    assert desk.letters == {row.id: row}


def dead_letter(**fields: Any) -> tuple[Script, int, LetterRow]:
    """A router with one handler, and the letter of the event that it failed."""
    script = Script()
    number = script.handler(retry={"retries": 0}, **fields)
    script.publish()
    script.got()
    script.fail(number, 1)
    written = script.core.next_write()
    assert written is not None
    (put,) = written[1]
    assert isinstance(put, PutLetter)
    script.core.written(written[0], script.now)
    return script, number, put.row


def ask(script: Script, row: LetterRow) -> None:
    script.say("producer", [wire.ASK, 1, "replay", {"letter": row_to_wire(row), "token": "t"}])
    script.wait(0.1)


def answers(script: Script) -> list[bool]:
    script.hear("producer")
    return [said[3]["handled"] for said in script.heard["producer"] if said[0] == wire.ANSWER]


def test_a_letter_stays_where_its_handler_is_removed_before_it_runs() -> None:
    """The client gives the replay back unhandled before the router hears that the subscription is gone."""
    script, number, row = dead_letter()
    ask(script, row)
    (again,) = script.got()
    script.say("worker", [wire.OUTCOME, [[number, again.entry, wire.DISCARDED, None]]])
    assert script.core.next_write() is None
    assert answers(script) == [False]


def test_a_letter_stays_where_a_newer_event_takes_the_place_of_its_replay() -> None:
    """Coalesced it has not failed, but its handler has not had it either."""
    script, _, row = dead_letter(overflow="coalesce")
    script.disconnect("worker")
    ask(script, row)
    script.publish()
    assert script.core.next_write() is None
    assert answers(script) == [False]


def test_asking_again_for_the_same_replay_runs_it_once() -> None:
    """A client whose link broke asks again, and gets the answer of the one replay."""
    desk = Desk()
    row = dead(desk)
    first, second = replay(desk, row), replay(desk, row)
    desk.pass_time()
    desk.settle(desk.sent[0])
    desk.store()
    third = replay(desk, row)
    desk.pass_time()
    assert first() == second() == third()
    assert desk.sent == []


def test_replays_are_spread_by_their_rate() -> None:
    """So many a second and no more, however many are asked for at once."""
    desk = Desk(replay_rate=10.0)
    rows = [dead(desk, f"m{number}") for number in range(30)]
    for number, row in enumerate(rows):
        replay(desk, row, str(number))
    desk.pass_time()
    began = len(desk.sent)
    for _ in range(20):
        desk.pass_time(0.05)
    assert began == 1
    assert 9 <= len(desk.sent) - began <= 11


def test_more_than_may_wait_are_refused() -> None:
    """What waits for a replay is bounded."""
    desk = Desk()
    row = dead(desk)
    for number in range(WAITING):
        replay(desk, replace(row, id=str(number)), str(number))
    assert replay(desk, row)()[:2] == ("refused", "busy")
    desk.validate()


def test_a_letter_of_no_handler_goes_to_whoever_handles_it_now() -> None:
    """Where nobody handled it, it is published again once somebody does."""
    desk = Desk()
    row = replace(dead(desk), key="", handler="")
    desk.handled = False
    refused = replay(desk, row)
    desk.pass_time()
    assert refused()[:2] == ("refused", "no_handler")
    desk.handled = True
    answer = replay(desk, row, "u")
    desk.pass_time(1.0)
    assert desk.sent[0].only is None
    desk.settle(desk.sent[0])
    desk.store()
    assert answer()["handled"]
    assert desk.letters == {}


def test_what_is_no_letter_is_refused() -> None:
    """A question that the verb does not understand changes nothing."""
    desk = Desk()
    assert desk.ask("replay", {"letter": [1, 2], "token": "t"})()[:2] == ("refused", "invalid")
    assert desk.ask("replay", None)()[:2] == ("refused", "invalid")


class LettersAgainstACount(RuleBasedStateMachine):
    """Letters come by failures and go by replays that succeed, and by nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(replay_rate=1_000.0)
        self.handlers = [self.desk.handler(name) for name in ("one", "two")]
        self.count = 0
        self.model: dict[str, int] = {}

    @rule(handler=st.integers(0, 1), attempts=st.integers(1, 4))
    def fail(self, handler: int, attempts: int) -> None:
        self.count += 1
        failure = self.desk.fail(f"m{self.count}", self.handlers[handler], attempts=attempts)
        self.model[failure.letter] = attempts

    @precondition(lambda self: self.model)
    @rule(data=st.data(), token=st.integers())
    def replay(self, data: st.DataObject, token: int) -> None:
        self.desk.store()
        row = self.desk.letters[data.draw(st.sampled_from(sorted(self.model)))]
        replay(self.desk, row, str(token))

    @rule()
    def pass_time(self) -> None:
        self.desk.pass_time(0.01)

    @precondition(lambda self: any(origin.replay_of for origin in self.desk.sent))
    @rule(data=st.data(), success=st.booleans())
    def settle(self, data: st.DataObject, success: bool) -> None:
        origin = data.draw(st.sampled_from([one for one in self.desk.sent if one.replay_of]))
        letter = origin.replay_of
        assert letter is not None
        if success:
            self.model.pop(letter)
        else:
            row = self.desk.letters[letter]
            failure = replace(
                self.desk.failures.latest[0], key=row.key, message="again", replay_of=letter, attempts=2
            )
            self.desk.failures.take(failure)
            self.model[letter] += 2
        self.desk.settle(origin, success)

    @invariant()
    def bounded(self) -> None:
        self.desk.validate()

    @invariant()
    def the_store_has_what_the_model_has(self) -> None:
        self.desk.store()
        assert {id_: row.attempts for id_, row in self.desk.letters.items()} == self.model


LettersAgainstACount.TestCase.settings = settings(max_examples=40, stateful_step_count=40)
TestLettersAgainstACount = LettersAgainstACount.TestCase
