"""What a session comes to, from what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgine.actors.sessions.context.store import ContextStore
from llmgine.actors.sessions.journal.entries import Unreadable, all_blobs, write_entry
from llmgine.actors.sessions.journal.records import JournalRecord, ModelAnswered, TurnBegan
from llmgine.actors.sessions.journal.recovery import continuation
from llmgine.actors.sessions.journal.state import SessionState
from llmgine.providers.contracts import TextPart
from tests.actors.sessions.journal.author import Author, response

CHOICES = st.lists(st.integers(0, 1000), max_size=60)
# Small enough that texts, media and arguments of these sessions are kept beside their entries.
BLOB_BYTES = 1024


def entries_of(records: Sequence[JournalRecord], first: int = 1) -> tuple[list[Any], dict[str, bytes]]:
    written = [write_entry(record, BLOB_BYTES) for record in records]
    blobs = {name: body for entry in written for name, body in entry.blobs.items()}
    return [(number, entry.body) for number, entry in enumerate(written, first)], blobs


def told(state: SessionState) -> Any:
    return (state.context.to_json(), state.queue, state.progress, state.turns, state.damage)


@settings(max_examples=150)
@given(CHOICES, st.integers(0, 100))
def test_a_snapshot_stands_for_what_came_before_it(choices: list[int], cut: int) -> None:
    """A snapshot at any point and the entries after it come to the same as all entries."""
    author = Author()
    records = author.write(choices)
    cut = min(cut, len(records))
    before = SessionState()
    before.read(*entries_of(records[:cut]))
    taken = before.to_snapshot(BLOB_BYTES)
    after = SessionState.from_snapshot(taken.body, taken.blobs)
    assert told(after) == told(before)
    after.read(*entries_of(records[cut:], cut + 1))
    assert told(after) == told(author.state)


@settings(max_examples=100)
@given(CHOICES)
def test_every_prefix_is_a_whole_conversation(choices: list[int]) -> None:
    """Wherever the writing stopped, calls and results are paired, once those that are open are answered."""
    records = Author().write(choices)
    for end in range(len(records) + 1):
        state = SessionState()
        state.read(*entries_of(records[:end]))
        assert state.damage is None
        if state.progress is not None:
            continuation(state.progress)
        state.context.repair("the process died")
        again = ContextStore(state.context.view())
        assert again.open_calls == ()


@settings(max_examples=50)
@given(CHOICES)
def test_a_live_session_notes_what_a_reader_finds(choices: list[int]) -> None:
    """A state that is told of each record after its change is the one that reading the records gives."""
    author = Author()
    records = author.write(choices)
    live = SessionState(author.state.context)
    for record in records:
        live.note(record)
    assert told(live) == told(author.state)


def test_large_parts_are_kept_once() -> None:
    """What is large is beside the entries, by its content: the same text of two turns is one."""
    records = Author().write([0, 0, 0, 0, 0, 0])
    _, blobs = entries_of(records)
    assert len(blobs) == 2
    assert all(len(body) > BLOB_BYTES for body in blobs.values())
    bodies, _ = entries_of(records)
    assert set(all_blobs(body for _, body in bodies)) == set(blobs)


def test_damage_ends_the_reading() -> None:
    """What follows a damaged entry is not applied; what came before it stands."""
    records = Author().write([0, 1, 1])
    entries, blobs = entries_of(records)
    whole = SessionState()
    whole.read(entries[:2], blobs)
    state = SessionState()
    state.read([*entries[:2], (3, entries[2][1][:-5]), (4, entries[2][1])], blobs)
    assert state.damage is not None
    assert state.damage[0] == 3
    assert told(state)[:-1] == told(whole)[:-1]


def test_an_entry_that_does_not_follow_is_damage() -> None:
    """An answer to a conversation that is not there is not applied."""
    state = SessionState()
    records = [*Author().write([0, 1]), ModelAnswered("s1:1", 1, response(TextPart(text="x")), 7)]
    state.read(*entries_of(records))
    assert state.damage is not None
    assert "does not follow" in state.damage[1]
    assert isinstance(state.progress and state.progress.began, TurnBegan)


def test_a_blob_that_is_missing_is_damage() -> None:
    """An entry whose large part is gone is not read as one that never had it."""
    entries, blobs = entries_of(Author().write([0]))
    assert blobs
    state = SessionState()
    state.read(entries, {})
    assert state.damage is not None


def test_an_unknown_kind_is_passed_over() -> None:
    """What a later version wrote besides does not keep the rest from being read."""
    entries, blobs = entries_of(Author().write([0, 1, 0]))
    state = SessionState()
    state.read([*entries[:2], (3, b'{"v":1,"kind":"dreamt","turn_id":"s1:1"}'), (4, entries[2][1])], blobs)
    assert (state.damage, len(state.queue)) == (None, 2)
    assert state.skipped == [(3, "it is of a kind that this version does not know: 'dreamt'")]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"v":2,"blobs":[]}', b"[1]", b'{"v":1,"blobs":[],"context":{}}']
)
def test_what_is_no_snapshot(body: bytes) -> None:
    """A damaged snapshot, and one of a later version, is refused with the reason."""
    with pytest.raises(Unreadable, match="snapshot"):
        SessionState.from_snapshot(body, {})
