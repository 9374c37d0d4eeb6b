"""The journal of a live session: what is in the store when, and what happens where the store is not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgpack
import pytest

from llmgine.actors.sessions.errors import SessionMoved
from llmgine.actors.sessions.journal import writing
from llmgine.actors.sessions.journal.loading import Loaded, load
from llmgine.actors.sessions.journal.records import CancelAsked, ModelCalled, TurnBegan, TurnEnded, TurnQueued
from llmgine.actors.sessions.journal.writing import StoreJournal
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.turns.events import TurnFailed, from_wire
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.actors.store import Fenced, OperationRefused, StoreError, StoreUnavailable
from llmgine.actors.store.batches import Batch
from llmgine.actors.store.memory import MemoryEngine
from llmgine.actors.store.operations import Operation
from llmgine.actors.store.rows import ApprovalRow, SessionRow, TurnRow
from llmgine.actors.store.session_operations import Activate
from llmgine.providers.contracts import Message
from llmgine.providers.errors import LlmgineError


class Store:
    """A store that commits when it is told to, with nothing in between."""

    def __init__(self) -> None:
        self.away: str | None = None
        self.engine = MemoryEngine(10, 1.0)
        self.batches = 0
        self.waiting: list[tuple[Sequence[Operation], Callable[[], None], Callable[[StoreError], None]]] = []
        self.at_once = True
        self.commit([Activate("s1", 0, 1, "host-1", 0)])

    def commit(self, operations: Sequence[Operation]) -> StoreError | None:
        self.batches += 1
        refused = self.engine.commit([Batch.of("host-1", self.batches, operations)], 0)
        return refused[0].error if refused else None

    async def write(self, operations: Sequence[Operation], *, timeout: float | None = None) -> None:
        raise NotImplementedError

    def write_soon(
        self,
        operations: Sequence[Operation],
        on_done: Callable[[], None],
        on_failed: Callable[[StoreError], None],
    ) -> None:
        self.waiting.append((operations, on_done, on_failed))
        if self.at_once:
            self.settle()

    def settle(self, error: StoreError | None = None) -> None:
        waiting, self.waiting = self.waiting, []
        for operations, done, failed in waiting:
            refused = error or self.commit(operations)
            done() if refused is None else failed(refused)

    async def session(self, id: str, /) -> SessionRow | None:
        return next(iter(self.engine.sessions.session(id).rows), None)

    async def snapshot(self, session: str, /) -> tuple[int, bytes] | None:
        return self.engine.sessions.snapshot(session)

    async def entries(self, session: str, after: int = 0, /) -> AsyncIterator[tuple[tuple[int, bytes], ...]]:
        found = self.engine.sessions.entries(session, after, 1000)
        if found.rows:
            yield tuple(found.rows)

    async def turn(self, session: str, id: str, /) -> TurnRow | None:
        return next(iter(self.engine.sessions.turn(session, id).rows), None)

    async def approval(self, id: str, /) -> ApprovalRow | None:
        return None

    async def blob(self, hash: str, /) -> bytes | None:
        return self.engine.sessions.blob(hash)


class Desk:
    """A journal over a store, at a time that stands still."""

    def __init__(self, **options: Any) -> None:
        self.store = Store()
        self.fenced = 0
        self.journal = StoreJournal(self.store, "s1", 1, Loaded(), SessionOptions(**options), wall=lambda: 50)
        self.journal.on_fenced = self._fenced

    def _fenced(self) -> None:
        self.fenced += 1

    def queue(self, number: int, prompt: str = "hi") -> str:
        turn = f"s1:{number}"
        self.journal.append(TurnQueued(TurnRequest(turn, Message.user(prompt)), 40, 90))
        return turn


async def test_what_is_appended_together_is_one_batch() -> None:
    """Nothing is written before it has gathered; what was appended meanwhile is one batch with its row."""
    desk = Desk()
    turn = desk.queue(1)
    desk.journal.append(TurnBegan(turn, 0, trace_id="t" * 32))
    assert desk.store.batches == 1
    await desk.journal.flush()
    assert desk.store.batches == 2
    row = await desk.store.turn("s1", turn)
    session = await desk.store.session("s1")
    assert row is not None
    assert session is not None
    assert (row.state, row.trace, row.created, row.outcome) == ("running", "t" * 32, 40, None)
    assert (session.pending, session.turns, session.head, session.active) == (1, 0, 2, 50)


async def test_a_turn_keeps_its_trace_where_it_goes_on() -> None:
    """In the session's next process its row still tells the trace that it began with."""
    desk = Desk()
    turn = desk.queue(1)
    desk.journal.append(TurnBegan(turn, 0, trace_id="t" * 32))
    await desk.journal.flush()
    loaded = await load(desk.store, "s1")
    after = StoreJournal(desk.store, "s1", 1, loaded, SessionOptions(), wall=lambda: 60)
    after.end(TurnEnded(turn, "failed"), TurnFailed(LlmgineError("no")))
    await after.flush()
    row = await desk.store.turn("s1", turn)
    assert row is not None
    assert (row.state, row.trace, row.ended) == ("failed", "t" * 32, 60)


async def test_the_end_of_a_turn_is_kept_with_what_was_told() -> None:
    """A turn's last record, its row and what its readers are told are one batch."""
    desk = Desk()
    turn = desk.queue(1)
    await desk.journal.flush()
    event = TurnFailed(LlmgineError("no"))
    desk.journal.end(TurnEnded(turn, "failed"), event)
    await desk.journal.flush()
    assert desk.store.batches == 3
    row = await desk.store.turn("s1", turn)
    session = await desk.store.session("s1")
    assert row is not None
    assert session is not None
    assert row.outcome is not None
    assert isinstance(from_wire(msgpack.unpackb(row.outcome)), TurnFailed)
    assert (row.state, row.ended, session.pending, session.turns) == ("failed", 50, 0, 1)


async def test_flush_waits_for_the_store() -> None:
    """A flush returns when everything that was appended before it is committed, and not earlier."""
    desk = Desk(store_timeout=0.05)
    desk.store.at_once = False
    desk.queue(1)
    with pytest.raises(StoreUnavailable, match=r"sessions\.store_timeout"):
        await desk.journal.flush()
    desk.store.settle()
    await desk.journal.flush()


async def test_a_store_that_is_away_is_told() -> None:
    """Who waits too long for a store that is away is told why; from then on nobody waits in vain."""
    desk = Desk(store_timeout=0.01)
    desk.store.at_once, desk.store.away = False, "the disk is full"
    desk.queue(1)
    assert desk.journal.trouble is None
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        await desk.journal.flush()
    assert isinstance(desk.journal.trouble, StoreUnavailable)
    desk.store.away = None
    desk.store.settle()
    await desk.journal.flush()
    assert desk.journal.trouble is None


async def test_a_fenced_journal_writes_no_more() -> None:
    """Where another has the session, the journal closes once and writes nothing; who waits hears it."""
    desk = Desk()
    desk.store.commit([Activate("s1", 1, 2, "host-2", 0)])
    turn = desk.queue(1)
    with pytest.raises(SessionMoved):
        await desk.journal.flush()
    assert (desk.fenced, desk.journal.closed) == (1, True)
    before = desk.store.batches
    desk.journal.append(CancelAsked(turn))
    desk.journal.snapshot()
    desk.journal.put(state="closed")
    with pytest.raises(SessionMoved):
        await desk.journal.flush()
    assert desk.store.batches == before


async def test_a_refused_batch_breaks_the_journal() -> None:
    """What the store can never take is not skipped: nothing after it counts as kept."""
    desk = Desk()
    desk.store.at_once = False
    desk.queue(1)
    desk.journal._write()
    desk.store.settle(OperationRefused("too much"))
    desk.store.at_once = True
    desk.queue(2)
    with pytest.raises(OperationRefused, match="too much"):
        await desk.journal.flush()
    assert isinstance(desk.journal.trouble, OperationRefused)
    assert not isinstance(desk.journal.trouble, Fenced)


@pytest.mark.parametrize(
    "options", [{"snapshot_entries": 10}, {"snapshot_bytes": 1024}], ids=["number", "bytes"]
)
async def test_snapshots_take_the_place_of_entries(options: dict[str, int]) -> None:
    """A journal stays short: a snapshot comes after so many entries or bytes, and all is there again."""
    desk = Desk(**options)
    for number in range(30):
        desk.queue(number, "x" * 100)
        await desk.journal.flush()
    kept = await desk.store.snapshot("s1")
    assert kept is not None
    assert kept[0] >= 10
    assert len([body async for page in desk.store.entries("s1") for body in page]) < 20
    loaded = await load(desk.store, "s1")
    assert (loaded.head, list(loaded.state.queue)) == (30, list(desk.journal.state.queue))


async def test_what_cannot_be_written_breaks_the_journal() -> None:
    """A record that no entry can hold is an error to whoever waits, not a gap."""
    desk = Desk()
    desk.journal.append(TurnBegan("s1:1", object()))  # type: ignore[arg-type]
    with pytest.raises(OperationRefused, match="cannot be kept"):
        await desk.journal.flush()


async def test_a_reply_that_no_row_can_hold_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn has ended, its answer is in the history; whoever asks for it later is told where."""
    monkeypatch.setattr(writing, "_MESSAGE_BYTES", 1000)
    desk = Desk()
    turn = desk.queue(1)
    desk.journal.end(TurnEnded(turn, "done"), TurnFailed(LlmgineError("x" * 2000)))
    await desk.journal.flush()
    row = await desk.store.turn("s1", turn)
    assert row is not None
    assert row.outcome is not None
    event = from_wire(msgpack.unpackb(row.outcome))
    assert isinstance(event, TurnFailed)
    assert row.state == "done"
    assert "history()" in str(event.error)


async def test_blobs_go_when_nothing_refers_to_them() -> None:
    """A large text is kept once while the session refers to it; a snapshot lets go of the others."""
    desk = Desk(blob_bytes=1024)
    turns = [desk.queue(number, "x" * 5000) for number in range(3)]
    await desk.journal.flush()
    loaded = await load(desk.store, "s1")
    (name,) = loaded.blobs
    assert loaded.state.queue == desk.journal.state.queue
    assert await desk.store.blob(name) == b"x" * 5000
    for turn in turns:
        desk.journal.end(TurnEnded(turn, "cancelled"), TurnFailed(LlmgineError("no")))
    desk.journal.snapshot()
    await desk.journal.flush()
    assert await desk.store.blob(name) is None


async def test_a_session_too_large_for_one_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that fits into no message goes on with its journal alone."""
    monkeypatch.setattr("llmgine.actors.sessions.journal.writing._MESSAGE_BYTES", 500)
    desk = Desk(snapshot_entries=2)
    for number in range(6):
        desk.queue(number, "x" * 200)
        await desk.journal.flush()
    desk.journal.append(ModelCalled("s1:1", 1, "m"))
    await desk.journal.flush()
    assert await desk.store.snapshot("s1") is None
    assert len((await load(desk.store, "s1")).state.queue) == 6
