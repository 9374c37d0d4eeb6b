"""Notes, summaries, forks and searches leave the messages as they are."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from llmgine.actors.sessions.context.entries import ContextEntry, Summary
from llmgine.actors.sessions.context.search import search
from llmgine.actors.sessions.context.store import ContextStore
from llmgine.actors.sessions.errors import ContextError
from llmgine.providers.contracts import Message, TextPart, ToolCallPart, ToolResultPart

ENTRY: TypeAdapter[Any] = TypeAdapter(ContextEntry)
CALL = Message(role="assistant", parts=(ToolCallPart(id="c1", name="weather", arguments={"city": "Köln"}),))
RESULT = Message(
    role="tool", parts=(ToolResultPart(call_id="c1", name="weather", content=(TextPart(text="Sunny"),)),)
)
TALK = (Message.user("Weather?"), CALL, RESULT, Message.assistant("It is sunny in Cologne."))


def notes_of(store: ContextStore) -> dict[int, dict[str, Any]]:
    return {number: dict(notes) for number, notes in store.notes.items()}


def test_a_note_stands_until_it_is_taken_away() -> None:
    """The last value of a key holds; None takes the note away, and the message's last one all of them."""
    store = ContextStore(TALK)
    store.note(0, "rating", 4)
    store.note(0, "rating", 5)
    store.note(3, "by", {"name": "Anna"})
    assert notes_of(store) == {0: {"rating": 5}, 3: {"by": {"name": "Anna"}}}
    store.note(0, "rating", None)
    assert notes_of(store) == {3: {"by": {"name": "Anna"}}}


@pytest.mark.parametrize(
    ("message", "key", "value"),
    [(4, "k", 1), (-1, "k", 1), (0, "", 1), (0, "a\nb", 1), (0, "k", object()), (0, "k", "x" * 70_000)],
)
def test_what_cannot_be_noted(message: int, key: str, value: Any) -> None:
    """A note at no message, under no key, of no JSON or too large is refused and changes nothing."""
    store = ContextStore(TALK)
    before = store.to_json()
    with pytest.raises(ContextError):
        store.note(message, key, value)
    assert store.to_json() == before


def test_summaries_follow_each_other() -> None:
    """A summary goes on where the last one ended, and parts no call from its result."""
    store = ContextStore(TALK)
    for upto, since in ((2, 0), (5, 0), (1, 1)):
        with pytest.raises(ContextError):
            store.summarise(Summary(upto=upto, since=since, text="t", model="m"))
    store.summarise(Summary(upto=1, text="t", model="m"))
    store.summarise(Summary(upto=4, since=1, text="u", model="m"))
    assert [summary.upto for summary in store.summaries] == [1, 4]
    with pytest.raises(ContextError):
        ContextStore(TALK[:2]).summarise(Summary(upto=2, text="t", model="m"))


def rich() -> tuple[ContextStore, list[Any]]:
    store = ContextStore()
    entries = [store.append(message) for message in TALK]
    done: list[Any] = [*entries, store.note(0, "pinned", True), store.note(3, "rating", 2)]
    done.append(store.summarise(Summary(upto=3, text="Sunny.", model="m")))
    return store, done


def test_entries_and_snapshots_hold_notes_and_summaries() -> None:
    """Entries applied in order, and a snapshot written and read, give the same store to the byte."""
    store, entries = rich()
    again = ContextStore()
    for entry in entries:
        again.apply(ENTRY.validate_json(ENTRY.dump_json(entry)))
    assert again.to_json() == store.to_json() == ContextStore.from_json(store.to_json()).to_json()
    assert again.pinned == {0}


def test_what_is_taken_back_takes_its_notes_along() -> None:
    """A rollback drops notes and summaries of the messages that go."""
    store, _ = rich()
    store.rollback(1)
    assert notes_of(store) == {0: {"pinned": True}}
    assert store.summaries == ()


def test_a_fork_at_a_message() -> None:
    """A fork has the first messages with their notes; a call parted from its result is answered there."""
    store, _ = rich()
    fork = store.fork(2)
    assert [message.role for message in fork.view()] == ["user", "assistant", "tool"]
    assert "forked" in fork.view()[2].parts[0].text  # type: ignore[union-attr]
    assert (notes_of(fork), fork.summaries) == ({0: {"pinned": True}}, ())
    assert store.fork().summaries == store.summaries
    assert len(store) == 4
    with pytest.raises(ContextError):
        store.fork(5)


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("sunny", [3, 2]),
        ("SUNNY cologne", [3]),
        ('"sunny in"', [3]),
        ('"in sunny"', []),
        ("köln", [1]),
        ("weather", [1, 0]),
        ("", []),
    ],
)
def test_search(query: str, numbers: list[int]) -> None:
    """Every word must be there, whatever its case, in texts, calls or results; newest first."""
    assert [found.message for found in search(TALK, query, 10)] == numbers


def test_a_search_is_bounded_and_shows_where() -> None:
    """No more is found than asked for, and an excerpt shows the surroundings of a word."""
    long = Message.user("a " * 200 + "needle" + " b" * 200)
    (found,) = search([long, Message.user("hay"), long], "needle", 1)
    assert (found.message, found.role) == (2, "user")
    assert found.excerpt.startswith("…")
    assert "needle" in found.excerpt
    assert len(found.excerpt) < 200
