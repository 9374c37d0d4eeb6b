"""What a map writes down of its batches, so that another run of it finds them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgpack

from llmgine.actors.store import Fenced, StoreClient
from llmgine.actors.store.session_operations import Activate, AppendEntries, PutSession
from llmgine.providers import InvalidRequest


@dataclass(slots=True)
class Note:
    """One batch: `places` are its prompts by the numbers in their custom ids, "" for one that it refused.

    `since` is when it was about to be sent. Without an `id` nobody knows whether there is one. One that is
    not `sure` may be somebody else's; `foreign` are those that turned out to be. `over` says that its results
    were read.
    """

    tag: str
    model: str
    since: float
    places: tuple[str, ...]
    id: str = ""
    key: str = ""
    sure: bool = True
    over: bool = False
    foreign: set[str] = field(default_factory=set)

    @property
    def held(self) -> list[str]:
        """The prompts in the order of its lines."""
        return [place for place in self.places if place]

    def custom_id(self, number: int) -> str:
        return f"{self.tag}-{number}"

    def place(self, custom_id: str) -> str:
        """The prompt of that id; "" for an id that is none of its own."""
        tag, _, number = custom_id.rpartition("-")
        if tag != self.tag or not number.isdecimal() or int(number) >= len(self.places):
            return ""
        return self.places[int(number)]


class Notes(Protocol):
    """Where notes are kept; each is there when the call returns."""

    async def load(self) -> list[Note]:
        """The notes of earlier runs, in their order."""
        ...

    async def begun(self, note: Note) -> None:
        """This batch is about to be submitted."""
        ...

    async def taken(self, note: Note) -> None:
        """Its id is known."""
        ...

    async def foreign(self, note: Note, id: str) -> None:
        """That one is somebody else's."""
        ...

    async def over(self, note: Note) -> None:
        """Its results have been read."""
        ...

    async def void(self, note: Note) -> None:
        """There is no such batch, and there will be none."""
        ...


class NoNotes:
    """For a map without a name, which nobody will go on with."""

    async def load(self) -> list[Note]:
        return []

    async def begun(self, note: Note) -> None: ...

    async def taken(self, note: Note) -> None: ...

    async def foreign(self, note: Note, id: str) -> None: ...

    async def over(self, note: Note) -> None: ...

    async def void(self, note: Note) -> None: ...


class StoredNotes:
    """Notes as the journal of a closed session `<map>/batches`: one run of a map at a time writes there."""

    def __init__(self, store: StoreClient, name: str, owner: str) -> None:
        self.id = f"{name}/batches"
        self._store = store
        self._name = name
        self._owner = owner
        self._epoch = 0
        self._head = 0

    async def load(self) -> list[Note]:
        """The notes of earlier runs; from here on this run alone can write."""
        row = await self._store.session(self.id)
        before, now = 0 if row is None else row.epoch, time.time_ns()
        self._epoch = max(now, before + 1)
        changes = {"state": "closed", "record": {"batches": True}, "active": now}
        await self._write(
            Activate(self.id, before, self._epoch, self._owner, now),
            PutSession(self.id, self._epoch, changes),
        )
        return await self.read()

    async def read(self) -> list[Note]:
        """The notes, without a claim to write."""
        bodies: list[bytes] = []
        async for page in self._store.entries(self.id):
            bodies += [body for _, body in page]
            self._head = page[-1][0]
        return replayed(bodies)

    async def begun(self, note: Note) -> None:
        await self._append("begun", note, note.model, note.key, note.since, note.places)

    async def taken(self, note: Note) -> None:
        await self._append("taken", note, note.id, note.sure)

    async def foreign(self, note: Note, id: str) -> None:
        await self._append("foreign", note, id)

    async def over(self, note: Note) -> None:
        await self._append("over", note)

    async def void(self, note: Note) -> None:
        await self._append("void", note)

    async def _append(self, kind: str, note: Note, *values: Any) -> None:
        body = msgpack.packb([kind, note.tag, *values])
        self._head += 1
        await self._write(AppendEntries(self.id, self._epoch, self._head, (body,)))

    async def _write(self, *operations: Activate | PutSession | AppendEntries) -> None:
        try:
            await self._store.write(operations)
        except Fenced:
            raise InvalidRequest(
                f"the map {self._name!r} was started again elsewhere, which goes on with its batches; "
                "a name is for one map at a time"
            ) from None


def replayed(bodies: Iterable[bytes]) -> list[Note]:
    """The notes that these entries come to."""
    notes: dict[str, Note] = {}
    for body in bodies:
        kind, tag, *values = msgpack.unpackb(body)
        if kind == "begun":
            model, key, since, places = values
            notes[tag] = Note(tag, model, since, tuple(places), key=key)
            continue
        note = notes[tag]
        match kind:
            case "taken":
                note.id, note.sure = values
            case "foreign":
                note.foreign.add(values[0])
                note.id = ""
            case "over":
                note.over = True
            case "void":
                del notes[tag]
    return list(notes.values())
