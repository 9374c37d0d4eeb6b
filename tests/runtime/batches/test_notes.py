"""What a map writes down of its batches."""

from __future__ import annotations

from pathlib import Path

import msgpack
import pytest

from llmgine.runtime import InvalidRequest, Runtime, SessionNotFound
from llmgine.runtime.batches.notes import Note, StoredNotes, replayed


def entries(*values: list[object]) -> list[bytes]:
    return [msgpack.packb(value) for value in values]


BEGUN = ["begun", "t", "p/m", "main", 5.0, ["0-a", "", "2-c"]]


def test_entries_come_to_notes() -> None:
    """In the order in which they were begun."""
    (note,) = replayed(entries(BEGUN, ["taken", "t", "b1", False]))
    assert note == Note("t", "p/m", 5.0, ("0-a", "", "2-c"), id="b1", key="main", sure=False)
    (note,) = replayed(entries(BEGUN, ["taken", "t", "b1", False], ["foreign", "t", "b1"]))
    assert (note.id, note.foreign) == ("", {"b1"})
    (note,) = replayed(entries(BEGUN, ["taken", "t", "b2", True], ["over", "t"]))
    assert note.over
    assert replayed(entries(BEGUN, ["void", "t"])) == []


@pytest.mark.parametrize(
    ("custom_id", "place"),
    [
        ("t-0", "0-a"),
        ("t-1", ""),
        ("t-2", "2-c"),
        ("t-3", ""),
        ("u-0", ""),
        ("t", ""),
        ("t-x", ""),
        ("t--1", ""),
    ],
)
def test_ids_of_results_lead_to_prompts(custom_id: str, place: str) -> None:
    """Those of other batches lead nowhere."""
    (note,) = replayed(entries(BEGUN))
    assert note.place(custom_id) == place
    assert note.held == ["0-a", "2-c"]
    assert [note.custom_id(number) for number in (0, 2)] == ["t-0", "t-2"]


async def test_one_run_of_a_map_writes(clean_environ: Path) -> None:
    """What it wrote is there for the next one, which takes the writing from it; deleted, it is gone."""
    async with Runtime.in_process() as runtime:
        store = runtime._open().store
        first = StoredNotes(store, "m", "driver-1")
        assert await first.load() == []
        note = Note("t", "p/m", 5.0, ("0-a", "1-b"), key="main")
        await first.begun(note)
        note.id = "b1"
        await first.taken(note)
        second = StoredNotes(store, "m", "driver-2")
        assert await second.load() == [note]
        with pytest.raises(InvalidRequest, match="started again elsewhere"):
            await first.over(note)
        await second.over(note)
        (kept,) = await StoredNotes(store, "m", "driver-3").read()
        assert kept.over
        await runtime.sessions.delete("m/batches")
        assert await StoredNotes(store, "m", "driver-4").read() == []
        with pytest.raises(SessionNotFound):
            await runtime.sessions.show("m/batches")
