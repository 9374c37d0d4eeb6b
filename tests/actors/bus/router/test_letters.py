"""Dead letters in the router: what is counted, kept, and told."""

from __future__ import annotations

from dataclasses import replace

from llmgine.actors.bus.letters import DEAD_LETTERED, DeadLetter
from llmgine.actors.bus.payload import read_body
from llmgine.actors.bus.router.letters import ANNOUNCED, ERRORS, TEXT
from llmgine.actors.bus.router.writes import WAITING_LETTERS
from tests.actors.bus.router.desk import START, Desk


def test_a_letter_has_the_message_its_attempts_and_its_errors() -> None:
    """A used-up message is a dead letter with its id, attempts and errors, and one event says so."""
    desk = Desk()
    handler = desk.handler("mails")
    errors = (("ValueError", "first", 1), ("KeyError", "second", 2))
    desk.fail("m1", handler, errors=errors, attempts=2)
    assert desk.sent == [], "nothing is published while the failure is being dealt with"
    desk.pass_time()
    desk.store()
    (row,) = desk.letters.values()
    letter = DeadLetter.from_row(row)
    assert (letter.message, letter.handler, letter.attempts) == ("m1", "mails", 2)
    assert [(one.kind, one.text) for one in letter.errors] == [
        ("ValueError", "first"),
        ("KeyError", "second"),
    ]
    assert (letter.fields, letter.metadata) == ({"text": "m1"}, {"of": "m1"})
    assert row.time == START
    assert row.published == 7
    (news,) = desk.sent
    told = read_body(news.body).fields
    assert news.session == "chat"
    assert (told["letter"], told["message"], told["handler"]) == (row.id, "m1", "mails")
    assert (told["reason"], told["attempts"]) == ("handler", 2)


def test_the_same_message_is_one_letter_for_each_handler() -> None:
    """Two handlers that fail make two letters; the same failure told twice makes one."""
    desk = Desk()
    one, two = desk.handler("one"), desk.handler("two")
    for handler in (one, two, one):
        desk.fail("m1", handler)
    desk.store()
    assert sorted(row.handler for row in desk.letters.values()) == ["one", "two"]


def test_no_dead_letter_event_is_about_another_one() -> None:
    """A handler of dead-letter events that fails makes letters, and no event more."""
    desk = Desk()
    failure = desk.fail("m1", desk.handler("mails"))
    desk.pass_time()
    assert len(desk.sent) == 1
    desk.failures.take(replace(failure, message="m2", lineage=f"{DEAD_LETTERED}|llmgine.Event"))
    desk.pass_time()
    desk.store()
    assert len(desk.sent) == 1
    assert len(desk.letters) == 2


def test_what_a_policy_discards_is_counted_and_not_kept() -> None:
    """Drops are in the counts and in the list of the latest; they are no dead letters."""
    desk = Desk(history=2)
    handler = desk.handler("h")
    failure = desk.fail("m1", handler)
    for number in range(3):
        desk.failures.note(replace(failure, reason="dropped", message=f"d{number}"))
    desk.store()
    assert desk.failures.counts == {"handler": 1, "dropped": 3}
    assert [one.message for one in desk.failures.latest] == ["d1", "d2"]
    assert len(desk.letters) == 1


def test_a_full_letter_box_neither_blocks_nor_miscounts() -> None:
    """With the store away every failure is counted, the latest letters wait, and the loss is known."""
    desk = Desk()
    handler = desk.handler("h")
    count = WAITING_LETTERS + ANNOUNCED + 500
    for number in range(count):
        desk.fail(f"m{number}", handler)
    figures = desk.failures.statistics()
    assert figures["failures"] == {"handler": count}
    assert figures["dead_letters_total"] == count
    desk.pass_time()
    assert len(desk.sent) == ANNOUNCED
    figures = desk.failures.statistics()
    assert figures["dead_letters_unannounced"] == count - ANNOUNCED
    desk.store()
    assert len(desk.letters) == WAITING_LETTERS
    assert figures["dead_letters_lost"] == count - WAITING_LETTERS
    desk.validate()


def test_room_for_news_comes_back_when_they_are_handled() -> None:
    """Events about dead letters are bounded by what is not handled yet."""
    desk = Desk()
    handler = desk.handler("h")
    for number in range(ANNOUNCED):
        desk.fail(f"m{number}", handler)
    desk.pass_time()
    desk.fail("late", handler)
    desk.settle(desk.sent[0])
    desk.fail("later", handler)
    desk.pass_time()
    assert desk.failures.unannounced == 1
    assert read_body(desk.sent[-1].body).fields["message"] == "later"


def test_errors_are_bounded() -> None:
    """A letter holds the latest errors and the beginning of each one's text."""
    desk = Desk()
    errors = tuple(("E", f"{number}" + "x" * 2 * TEXT, number) for number in range(2 * ERRORS))
    desk.fail("m", desk.handler("h"), errors=errors)
    desk.store()
    (row,) = desk.letters.values()
    assert len(row.errors) == ERRORS
    assert all(len(text) == TEXT for _, text, _ in row.errors)
    assert row.errors[-1][2] == 2 * ERRORS - 1


def test_a_body_that_is_none_is_kept_as_it_is() -> None:
    """What cannot even be opened is a letter, too, with the reason."""
    desk = Desk()
    desk.fail("m", desk.handler("h"), body=b"\xc1")
    desk.store()
    (row,) = desk.letters.values()
    letter = DeadLetter.from_row(row)
    assert "not a message body" in letter.undecodable
    assert letter.to_json()["body"] == "wQ=="
