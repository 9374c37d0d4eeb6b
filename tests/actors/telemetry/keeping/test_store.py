"""Kept traces and sums in their file."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from llmgine.actors.telemetry.keeping import TraceStore, database, engine, sums
from llmgine.telemetry import Cut, Rollup, Span, TelemetryOptions, Trace, TraceQuery, names

SECOND = 1_000_000_000
CALL = {
    names.GEN_AI_OPERATION_NAME: names.OPERATION_CHAT,
    names.GEN_AI_PROVIDER_NAME: "openai",
    names.GEN_AI_REQUEST_MODEL: "gpt-4o",
    names.GEN_AI_USAGE_INPUT_TOKENS: 10,
    names.LLMGINE_COST_USD: "0.001",
}

Opening = Callable[..., Any]


def trace(number: int = 1, *spans: Span, session: str = "s", cuts: tuple[Cut, ...] = ()) -> Trace:
    given = spans or (span(number, 1, session=session),)
    return Trace(number, given, (session,), cuts=cuts)


def span(trace: int, number: int, *, session: str = "s", seconds: float | None = 1.0, **fields: Any) -> Span:
    start = trace * SECOND
    end = None if seconds is None else start + int(seconds * SECOND)
    told = {"error": None, "attributes": dict(CALL)} | fields
    return Span(trace, number, 0, "work", "internal", session, "a", start, end, **told)


def rolled(*spans: Span) -> Rollup:
    rollup = Rollup()
    for one in spans:
        rollup.began(one.session, one.start)
        rollup.add(one)
    return rollup


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


@pytest.fixture
async def opening(tmp_path: Path) -> AsyncIterator[Opening]:
    """Opens the store at one file, again and again if wanted; the last one is closed."""
    opened: list[TraceStore] = []

    async def open_it(path: Path | None = tmp_path / "telemetry.db", **options: Any) -> TraceStore:
        for before in opened:
            await before.close()
        opened[:] = [TraceStore(TelemetryOptions(store=path, **options), lambda: 100 * SECOND)]
        await opened[0].open()
        return opened[0]

    yield open_it
    for left in opened:
        await left.close()


async def found(store: TraceStore, limit: int = 50, **query: Any) -> list[int]:
    """The numbers of the traces that meet the query, as they are told."""
    told = await store.find(TraceQuery(**query), limit, None)
    return [int(one.id, 16) for one in told]


@pytest.mark.parametrize("durable", [True, False])
async def test_what_is_kept_is_read_as_it_was(opening: Opening, durable: bool) -> None:
    """A trace comes back equal, with its links, cuts and times; in a file also after the store has ended."""
    store = await (opening() if durable else opening(None))
    kept = trace(7, span(7, 1), span(7, 2, seconds=None), cuts=(Cut("session-1", 5, 12),))
    store.keep(kept, "error")
    if durable:
        store = await opening()
    assert await store.read([f"{7:032x}"]) == [kept]
    [summary] = await store.find(TraceQuery(), 10, None)
    assert (summary.kept_because, summary.incomplete, summary.running) == ("error", True, 1)
    assert summary.cost == Decimal("0.001")


async def test_more_of_a_trace_is_added_to_what_is_kept(opening: Opening) -> None:
    """Parts that are kept at different times are one trace; an end replaces its start, a start no end."""
    store = await opening()
    ended = span(7, 2)
    store.keep(trace(7, span(7, 1, session="a"), span(7, 2, seconds=None), session="a"), "ratio")
    await store.flush()
    store.keep(trace(7, ended, session="b"), "error")
    await store.flush()
    store.keep(trace(7, span(7, 2, seconds=None), session="b"), "error")
    [whole] = await store.read([f"{7:032x}"])
    assert (len(whole.spans), whole.spans[1], whole.sessions) == (2, ended, ("a", "b"))
    assert await found(store, session="a") == await found(store, session="b") == [7]


async def test_a_process_that_came_back_leaves_no_mark(opening: Opening) -> None:
    """A trace is incomplete for as long as something in it is taken for dead."""
    store = await opening()
    for number in (7, 8):
        died = span(number, 1, error=names.ACTOR_DIED)
        store.keep(trace(number, died, cuts=(Cut("a", 5, 12),)), "error")
    await store.flush()
    store.keep(trace(7, span(7, 1, seconds=9)), "error")
    store.keep(trace(8, span(8, 2)), "error")
    told = await store.find(TraceQuery(), 10, None)
    assert [(one.id[-1], one.incomplete) for one in told] == [("8", True), ("7", False)]


async def test_a_question_that_is_given_up_loses_nothing(
    opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waited for the file is written, though who asked, and so began to write it, waits no more."""
    store = await opening()
    busy, go_on = threading.Event(), threading.Event()

    def slow(*_: Any) -> list[Any]:
        busy.set()
        go_on.wait(10)
        return []

    monkeypatch.setattr(engine.TraceDatabase, "cost", slow)
    first = asyncio.create_task(store.cost("model", None))
    await asyncio.to_thread(busy.wait, 10)
    store.keep(trace(1), "ratio")
    store.add(rolled(span(1, 1)), {})
    given_up = asyncio.create_task(store.usage("s"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not store.counters()["waiting"]
    given_up.cancel()
    await asyncio.wait({given_up})
    go_on.set()
    await first
    assert await found(store) == [1]
    assert [one.spent.calls for one in await store.usage("s")] == [1]


async def test_costs_of_very_many_are_told_in_one_answer(
    opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dearest by name, and all others as one; together they are what all came to."""
    monkeypatch.setattr(sums, "MOST_ROWS", 3)
    store = await opening()
    names_ = ["a", "b", "b", "other", "c", "c", "c", "d"]
    store.add(rolled(*(span(1, number, session=name) for number, name in enumerate(names_))), {})
    told = [(row.key, row.calls, row.cost) for row in await store.cost("session", None)]
    assert told == [("c", 3, Decimal("0.003")), ("other", 3, Decimal("0.003")), ("b", 2, Decimal("0.002"))]


async def test_traces_are_found_by_all_that_is_asked(opening: Opening) -> None:
    """Session, error, duration, model, text whatever its case, and time; the newest first."""
    store = await opening()
    store.keep(trace(1), "ratio")
    store.keep(trace(2, span(2, 1, error="timeout", session="t"), session="t"), "error")
    store.keep(trace(3, span(3, 1, seconds=9, attributes={"note": "Größe 100% of_it"})), "slow")
    assert await found(store) == [3, 2, 1]
    assert await found(store, session="t") == [2]
    assert await found(store, error=True) == [2]
    assert await found(store, error=False) == [3, 1]
    assert await found(store, min_seconds=5.0) == [3]
    assert await found(store, model="gpt") == [2, 1]
    assert await found(store, text="größe 100% OF_") == [3]
    assert await found(store, text="TIMEOUT") == [2]
    assert await found(store, text="100_ of") == []
    assert await found(store, since=2 * SECOND, until=3 * SECOND) == [2]
    assert await found(store, session="t", error=False) == []


async def test_pages_tell_every_trace_once(opening: Opening) -> None:
    """Asked from the last one on, each page goes on where the one before ended, also among equal starts."""
    store = await opening()
    for number in range(1, 8):
        at = Span(number, 1, 0, "work", "internal", "s", "a", 5, 6)
        store.keep(Trace(number, (at,), ("s",)), "ratio")
    seen: list[str] = []
    after = None
    while page := await store.find(TraceQuery(), 3, after):
        seen += [one.id for one in page]
        after = (-page[-1].start, page[-1].id)
    assert seen == [f"{number:032x}" for number in range(1, 8)]


async def test_sums_add_up_over_lives(opening: Opening) -> None:
    """Costs stay exact, percentiles go on, and sessions are one row each, across ends of the store."""
    for number in range(1, 4):
        store = await opening()
        store.add(rolled(span(number, 1), span(number, 2, error="timeout", session="t")), {"dropped": 2})
        await store.flush()
    [row] = await store.cost("model", None)
    assert (row.key, row.calls, row.cost) == ("openai/gpt-4o", 6, Decimal("0.006"))
    by_session = await store.cost("session", None)
    assert [(row.key, row.cost) for row in by_session] == [("s", Decimal("0.003")), ("t", Decimal("0.003"))]
    told = await store.stats(None, {})
    assert (told.spans, told.sessions, told.errors, told.traces["dropped"]) == (6, 2, {"timeout": 3}, 6)
    assert told.total.duration.count == 6
    assert told.total.duration.p50 == pytest.approx(1.0, rel=0.021)
    newest, other = await store.sessions("", 10, None)
    assert (newest.session, newest.traces, newest.spans, other.errors) == ("s", 3, 3, 3)
    assert newest.models == ("openai/gpt-4o",)
    assert (newest.started, newest.last) == (1 * SECOND, 4 * SECOND)


async def test_sessions_are_searched_and_paged(opening: Opening) -> None:
    """By a part of the id or of a model, each once, the one last active first."""
    store = await opening()
    store.add(rolled(*(span(number, 1, session=f"s{number}") for number in range(1, 6))), {})
    first = await store.sessions("", 2, None)
    rest = await store.sessions("", 9, (-first[-1].last, first[-1].session))
    assert [one.session for one in (*first, *rest)] == ["s5", "s4", "s3", "s2", "s1"]
    assert [one.session for one in await store.sessions("3", 9, None)] == ["s3"]
    assert len(await store.sessions("gpt-4", 9, None)) == 5
    assert await store.sessions("claude", 9, None) == []


@pytest.mark.parametrize(
    ("limit", "left", "reason"),
    [
        ({"kept_traces": 3}, 3, "stored_over_count"),
        ({"kept_bytes": 900}, None, "stored_over_bytes"),
        ({"kept_seconds": 1e-9}, 0, "stored_over_age"),
    ],
)
async def test_what_is_too_much_goes_and_is_counted(
    opening: Opening, limit: dict[str, Any], left: int | None, reason: str
) -> None:
    """The oldest go by number, bytes and age, with all that belongs to them, and how many is told."""
    store = await opening()
    for number in range(1, 11):
        store.keep(trace(number), "ratio")
    store = await opening(**limit)
    store._clock = lambda: 200 * SECOND
    store.add(rolled(span(1, 1)), {})
    rest = await found(store)
    assert rest == list(range(10, 10 - len(rest), -1))
    assert len(rest) == left if left is not None else 0 < len(rest) < 10
    assert (await store.stats(None, {})).traces[reason] == 10 - len(rest)
    assert await store.read([f"{1:032x}"]) == []


async def test_what_grows_old_goes_though_nothing_comes(opening: Opening) -> None:
    """A store that nobody adds to keeps its traces no longer than another."""
    store = await opening(kept_seconds=30.0)
    store.keep(trace(1), "ratio")
    assert await found(store) == [1]
    store._clock = lambda: 200 * SECOND
    assert await store.flush()
    assert await found(store) == []


async def test_sums_that_are_too_many_lose_their_session(opening: Opening) -> None:
    """Rows are folded together and sessions forgotten; what all calls came to stays exact."""
    store = await opening(kept_sums=3)
    store.add(rolled(*(span(number, 1, session=f"s{number}") for number in range(1, 11))), {})
    [row] = await store.cost("provider", None)
    assert (row.calls, row.cost) == (10, Decimal("0.010"))
    by_session = await store.cost("session", None)
    assert len(by_session) <= 4
    assert [one.session for one in await store.sessions("", 99, None)] == ["s10", "s9", "s8"]


async def test_sums_stay_bounded_whatever_names_come_and_however_long(opening: Opening) -> None:
    """Old hours become days and old names `other`; what all calls came to, and how they failed, is exact."""
    rollup = Rollup()
    for number in range(60):
        told = {**CALL, names.GEN_AI_REQUEST_MODEL: f"m{number % 20}"}
        rollup.add(span(number * 3600, 1, session="", error=f"e{number % 20}", attributes=told))
        waited = {names.LLMGINE_POOL: f"p{number % 20}", names.LLMGINE_QUEUE_WAIT: 0.5}
        rollup.add(span(number * 3600, 2, session="", attributes=waited))
    store = await opening(kept_sums=8)
    store._clock = lambda: 60 * 3600 * SECOND
    store.add(rollup, {})
    told = await store.stats(None, {})
    assert (told.total.calls, told.total.cost, told.total.duration.count) == (60, Decimal("0.060"), 60)
    assert (sum(told.errors.values()), sum(wait.count for wait in told.queue_waits.values())) == (60, 60)
    assert len(told.models) <= 8
    assert len(told.errors) <= 8
    assert len(told.queue_waits) <= 8
    assert ("other", "other") in [(one.provider, one.model) for one in told.models]
    [row] = [row for row in await store.cost("model", None) if row.key == "other/other"]
    assert row.calls > 40
    recent = await store.stats(59 * 3600 * SECOND, {})
    assert [one.model for one in recent.models] == ["m19"]


async def test_old_hours_are_added_up_to_days_before_names_are_lost(opening: Opening) -> None:
    """Where that makes room enough every model is still told by its name."""
    rollup = Rollup()
    for number in range(24):
        rollup.add(span(number * 3600, 1, session=""))
    store = await opening(kept_sums=8)
    store._clock = lambda: 100 * 3600 * SECOND
    store.add(rollup, {})
    [model] = (await store.stats(None, {})).models
    assert (model.model, model.calls, model.duration.count) == ("gpt-4o", 24, 24)


@pytest.mark.parametrize("damage", ["garbage", "folder", "foreign", "newer"])
async def test_a_file_that_cannot_be_used_is_left_and_memory_serves(
    opening: Opening, tmp_path: Path, damage: str
) -> None:
    """The error says what is wrong and what mends it, the file stays as it is, and nothing else fails."""
    path = tmp_path / "telemetry.db"
    if damage == "garbage":
        path.write_bytes(b"no database at all" * 300)
    elif damage == "folder":
        path.mkdir()
    elif damage == "foreign":
        change(path, "CREATE TABLE others (one)")
    else:
        await (await opening()).flush()
        await opening(None)
        change(path, "PRAGMA user_version = 99")
    before = path.read_bytes() if path.is_file() else b""
    store = await opening()
    assert str(path) in store.error
    assert "telemetry.store" in store.error
    store.keep(trace(1), "ratio")
    assert await found(store) == [1]
    assert (path.read_bytes() if path.is_file() else b"") == before


async def test_a_file_that_breaks_while_it_is_used_gives_way_to_memory(
    opening: Opening, tmp_path: Path
) -> None:
    """Damage that shows later is told, answers go on, and what comes then is kept in memory."""
    store = await opening()
    for number in range(1, 400):
        store.keep(trace(number), "ratio")
    store = await opening()
    path = tmp_path / "telemetry.db"
    path.write_bytes(path.read_bytes()[:8192] + b"\xff" * (path.stat().st_size - 8192))
    await found(store)
    assert "memory" in store.error
    store.keep(trace(500), "ratio")
    assert await found(store) == [500]


@pytest.mark.parametrize(
    ("damage", "left", "lost"),
    [
        ("UPDATE bodies SET body = x'00' WHERE id LIKE '%1'", [2], "stored_unreadable"),
        ("UPDATE bodies SET body = 'none' WHERE id LIKE '%2'", [2, 1], "stored_unreadable"),
        ("UPDATE traces SET summary = x'00' WHERE id LIKE '%1'", [2], "stored_unreadable"),
        ("UPDATE models SET usage = x'00'", [2, 1], "sums_unreadable"),
        ("UPDATE waits SET sketch = x'93'", [2, 1], "sums_unreadable"),
        ("UPDATE spent SET cost = 'much'", [2, 1], "sums_unreadable"),
    ],
)
async def test_what_cannot_be_read_is_removed_and_counted(
    opening: Opening, tmp_path: Path, damage: str, left: list[int], lost: str
) -> None:
    """All else is told and added to as if it had not been there, and nothing that comes then is lost."""
    waited = span(1, 2, attributes={names.LLMGINE_POOL: "p", names.LLMGINE_QUEUE_WAIT: 0.5})
    store = await opening()
    for number in (1, 2):
        store.keep(trace(number), "ratio")
    store.add(rolled(span(1, 1), waited), {})
    await store.flush()
    change(tmp_path / "telemetry.db", damage)
    store.keep(trace(2, span(2, 9)), "ratio")
    store.add(rolled(span(1, 1), waited), {})
    assert await store.flush()
    await store.stats(None, {})
    await found(store)
    kept = {whole.trace_id for whole in await store.read([f"{1:032x}", f"{2:032x}"])}
    told = await store.stats(None, {})
    assert (told.spans, told.traces[lost], store.error) == (4, 1, "")
    assert await found(store) == left
    assert kept == set(left)
    assert told.total.duration.count in (1, 2)
    assert told.queue_waits["p"].count in (1, 2)


async def test_whatever_fails_over_writing_what_was_handed_over_stays(
    opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of no known kind costs neither traces nor sums."""
    store = await opening()

    def broken(*given: Any) -> None:
        raise RuntimeError("a mistake")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "_write", broken)
        store.keep(trace(1), "ratio")
        store.add(rolled(span(1, 1)), {})
        assert not await store.flush()
        assert "a mistake" in store.error
    assert await found(store) == [1]
    assert (await store.stats(None, {})).spans == 1


async def test_what_cannot_be_written_now_waits(opening: Opening, tmp_path: Path) -> None:
    """While another holds the file nothing is lost; it is written once the file is free."""
    store = await opening()
    await store.flush()
    other = sqlite3.connect(tmp_path / "telemetry.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.keep(trace(1), "ratio")
    store.add(rolled(span(1, 1)), {})
    assert not await store.flush()
    assert store.failed == 1
    store.keep(trace(2), "ratio")
    other.execute("ROLLBACK")
    other.close()
    assert await found(store) == [2, 1]
    assert (await store.stats(None, {})).spans == 1
    assert (store.counters()["dropped"], store.error) == (0, "")


async def test_a_file_that_is_held_while_it_is_opened_is_used_once_it_is_free(
    opening: Opening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes meanwhile waits, and the error is told for as long as it lasts."""
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.01)
    path = tmp_path / "telemetry.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store = await opening()
        store.keep(trace(1), "ratio")
        store.add(rolled(span(1, 1)), {})
        assert not await store.flush()
        assert "tried again" in store.error
        other.execute("ROLLBACK")
    assert await store.flush()
    assert store.error == ""
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM traces").fetchone() == (1,)


async def test_what_was_written_counts_once_whatever_follows(
    opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk is full once sums are written, they are not handed over again, and the error is told."""
    store = await opening()

    def full(*given: Any) -> bool:
        raise sa.exc.OperationalError("DELETE", {}, sqlite3.OperationalError("disk is full"))

    monkeypatch.setattr(engine, "tidy", full)
    store.keep(trace(1), "ratio")
    store.add(rolled(span(1, 1)), {"dropped": 1})
    assert await store.flush()
    assert (store.failed, store.counters()["waiting"]) == (1, 0)
    assert await store.flush()
    told = await store.stats(None, {})
    assert (told.spans, told.total.calls, told.traces["dropped"]) == (1, 1, 1)


async def test_what_waits_is_bounded(opening: Opening) -> None:
    """Before the file there is room for so many spans; the oldest traces go, counted."""
    store = await opening(max_spans=5)
    for number in range(1, 10):
        store.keep(trace(number), "ratio")
    assert store.counters()["dropped"] == 4
    assert await found(store) == [9, 8, 7, 6, 5]
