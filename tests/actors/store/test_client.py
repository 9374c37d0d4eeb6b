"""Writing and asking over a link: order, acknowledgement, breaks, and what comes back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from llmgine.actors.link import Identity, LinkError, LinkOptions, MemoryTransport, StreamReset, request
from llmgine.actors.store import (
    LetterFilter,
    OperationRefused,
    StoreClient,
    StoreDamaged,
    StoreError,
    StoreUnavailable,
    wire,
)
from llmgine.actors.store.batches import Batch, Refusal
from llmgine.actors.store.memory import MemoryEngine
from llmgine.actors.store.operations import (
    DropSubscription,
    HandlerDone,
    Operation,
    PutJournal,
    PutLetter,
    PutSchedule,
    PutSubscription,
    SetAside,
)
from tests.actors.store import rows


class Faulty(MemoryEngine):
    """An engine in memory whose commits fail as told."""

    def __init__(self) -> None:
        super().__init__(100, 1.0)
        self.error: Exception | None = None
        self.lose_acknowledgement = False
        self.groups: list[int] = []

    def commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        if self.error is not None and not self.lose_acknowledgement:
            raise self.error
        self.groups.append(len(batches))
        refused = super().commit(batches, now)
        if self.error is not None:
            raise self.error
        return refused


class Slow(MemoryEngine):
    """An engine whose commits wait for leave, in a thread of their own."""

    blocks = True

    def __init__(self) -> None:
        super().__init__(100, 1.0)
        self.leave = threading.Semaphore(0)
        self.entered = 0
        self.groups: list[int] = []

    def commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        self.entered += 1
        self.leave.acquire(timeout=10)
        self.groups.append(len(batches))
        return super().commit(batches, now)


class Outcomes:
    """What became of batches that were handed over with `write_soon`."""

    def __init__(self, client: StoreClient) -> None:
        self.client = client
        self.told: list[tuple[str, StoreError | None]] = []

    def write(self, name: str, *operations: Operation) -> None:
        self.client.write_soon(
            operations or [PutSubscription(name, {"name": name})],
            lambda: self.told.append((name, None)),
            lambda error: self.told.append((name, error)),
        )


async def names(client: StoreClient) -> list[str]:
    return [record["name"] for record in await client.subscriptions()]


async def test_what_is_written_is_there_for_everybody(net: Any) -> None:
    """Rows of every kind, as they were given, page by page."""
    await net.open()
    client, other = net.client(), net.client("driver")
    messages = [rows.message(number) for number in range(1_200)]
    await client.write([*map(PutJournal, messages), PutSchedule(rows.schedule())])
    await client.write([PutLetter(rows.letter(str(number), time=number)) for number in range(5)])
    await client.write([PutSubscription("k", {"name": "n"})])
    pages = [page async for page in other.journal()]
    assert [len(page) for page in pages] == [500, 500, 200]
    assert [row for page in pages for row in page] == messages
    assert [page async for page in other.schedules()] == [(rows.schedule(),)]
    assert await other.subscriptions() == [{"name": "n"}]
    page = await other.letters(LetterFilter(since=1), limit=3)
    assert [row.id for row in page.rows] == ["4", "3", "2"]
    page = await other.letters(LetterFilter(since=1), before=page.next, limit=3)
    assert [row.id for row in page.rows] == ["1"]
    assert page.next is None
    assert await other.count_letters(LetterFilter(until=2)) == 2
    assert await other.letter("3") == rows.letter("3", time=3)
    assert await other.letter("unknown") is None
    status = await other.status()
    assert (status["messages"], status["letters"], status["batches"], status["away"]) == (1_200, 5, 3, None)


async def test_what_was_set_aside_can_be_looked_at(net: Any) -> None:
    """With its kind, id and reason; it is not among the rows any more."""
    await net.open()
    client = net.client()
    await client.write([PutSchedule(rows.schedule("odd"))])
    await client.write([SetAside("schedule", "odd", "its cron is none")])
    assert await client.set_aside() == [("schedule", "odd", "its cron is none")]
    assert [page async for page in client.schedules()] == [()]


async def test_an_operation_is_acknowledged_after_its_commit_and_in_order(net: Any, until: Any) -> None:
    """Batches that come during a commit make up the next one."""
    engine = Slow()
    await net.open(engine)
    outcomes = Outcomes(net.client())
    outcomes.write("first")
    await until(lambda: engine.entered)
    for number in range(5):
        outcomes.write(str(number))
    await until(lambda: net.host._batcher.arrived == 6)
    assert outcomes.told == []
    engine.leave.release()
    await until(lambda: outcomes.told)
    assert outcomes.told == [("first", None)]
    engine.leave.release()
    await until(lambda: len(outcomes.told) == 6)
    assert [name for name, _ in outcomes.told] == ["first", *"01234"]
    assert engine.groups == [1, 5]


async def test_a_question_sees_what_arrived_before_it(net: Any, until: Any) -> None:
    """Also where that is not committed yet, whoever sent it."""
    engine = Slow()
    await net.open(engine)
    Outcomes(net.client()).write("late")
    await until(lambda: net.host._batcher.arrived)
    asking = asyncio.create_task(names(net.client("driver")))
    engine.leave.release()
    assert await asking == ["late"]


async def test_a_store_that_cannot_write_keeps_everything_in_order(net: Any, until: Any) -> None:
    """Writers are told why, questions are answered, and it is done when the cause has gone."""
    engine = Faulty()
    engine.error = StoreUnavailable("the disk is full; free some space")
    await net.open(engine)
    client = net.client()
    outcomes = Outcomes(client)
    for name in "abc":
        outcomes.write(name)
    await until(lambda: client.away)
    assert client.away == "the disk is full; free some space"
    late = net.client("driver")
    assert await names(late) == []
    assert (await late.status())["away"] == "the disk is full; free some space"
    with pytest.raises(
        StoreUnavailable, match=r"0\.05 s: the disk is full; free some space; `llmgine status`"
    ):
        await late.write([PutSubscription("d", {"name": "d"})], timeout=0.05)
    engine.error = None
    await until(lambda: len(outcomes.told) == 3)
    assert outcomes.told == [("a", None), ("b", None), ("c", None)]
    assert client.away is None
    assert await names(client) == ["a", "b", "c", "d"]


async def test_a_writer_that_comes_while_nothing_can_be_written_is_told(net: Any, until: Any) -> None:
    """Before it has written anything that failed."""
    engine = Faulty()
    engine.error = StoreUnavailable("locked")
    await net.open(engine)
    Outcomes(net.client()).write("a")
    await until(lambda: net.host._away)
    late = net.client("driver")
    Outcomes(late).write("b")
    await until(lambda: late.away == "locked")


async def test_damage_fails_whatever_waits_and_whatever_comes(net: Any, until: Any) -> None:
    """The reason reaches each writer; nothing is written any more."""
    engine = Faulty()
    engine.error = StoreDamaged("page 7 is not what it was")
    await net.open(engine)
    client = net.client()
    with pytest.raises(StoreDamaged, match="page 7"):
        await client.write([PutSubscription("a", {})])
    engine.error = None
    with pytest.raises(StoreDamaged, match="page 7"):
        await client.write([PutSubscription("b", {})])
    assert engine.groups == []
    assert (await client.status())["away"] == "page 7 is not what it was"


async def test_damage_that_is_found_by_reading_stops_the_writing(
    net: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked is told, and so is whoever writes."""
    engine = Faulty()
    await net.open(engine)

    def damaged() -> int:
        raise StoreDamaged("page 9")

    monkeypatch.setattr(engine, "last_message", damaged)
    client = net.client()
    with pytest.raises(StoreDamaged, match="page 9"):
        [page async for page in client.journal()]
    with pytest.raises(StoreDamaged, match="page 9"):
        await client.write([PutSubscription("b", {})])


async def test_an_error_that_nobody_expects_fails_the_group_and_no_other(net: Any) -> None:
    """Nobody waits for ever, and the next batch has its chance."""
    engine = Faulty()
    engine.error = ZeroDivisionError("surprise")
    await net.open(engine)
    client = net.client()
    with pytest.raises(OperationRefused, match="ZeroDivisionError: surprise"):
        await client.write([PutSubscription("a", {"name": "a"})])
    engine.error = None
    await client.write([PutSubscription("b", {"name": "b"})])
    assert await names(client) == ["b"]


async def test_what_was_not_acknowledged_is_sent_again_and_done_once(net: Any, until: Any) -> None:
    """The store commits, dies before it says so, and knows in its next life what it has committed."""
    engine = Faulty()
    await net.open(engine)
    client = net.client()
    await client.write([PutSubscription("before", {"name": "before"})])
    engine.error = StoreUnavailable("the commit is made, and nobody hears of it")
    engine.lose_acknowledgement = True
    outcomes = Outcomes(client)
    outcomes.write("a", PutJournal(rows.message(1)))
    outcomes.write("b", HandlerDone(rows.message(1).id, rows.message(1).pending[0]))
    await until(lambda: client.away)
    await net.kill()
    engine.error = None
    await net.open(engine)
    await until(lambda: len(outcomes.told) == 2)
    assert outcomes.told == [("a", None), ("b", None)]
    assert [page async for page in client.journal()] == [()]


async def test_the_store_is_waited_for(net: Any, until: Any) -> None:
    """A batch that was handed over while it was away is written when it comes."""
    client = net.client()
    outcomes = Outcomes(client)
    outcomes.write("a")
    await until(lambda: client.away)
    assert "could not be reached" in client.away
    await net.open()
    await until(lambda: outcomes.told)
    assert outcomes.told == [("a", None)]
    assert client.away is None


async def test_a_store_that_leaves_is_missed_only_by_who_waits_for_it(
    net: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Its orderly end is no trouble to a client whose operations are all committed."""
    await net.open()
    client = net.client()
    await client.write([PutSubscription("a", {"name": "a"})])
    await net.kill()
    await until(lambda: client._stream is None)
    assert (client.away, caplog.messages) == (None, [])
    outcomes = Outcomes(client)
    outcomes.write("b")
    await until(lambda: client.away)
    assert [text.partition(":")[0] for text in caplog.messages] == ["the store is away"]


async def test_a_write_in_vain_says_so_and_is_not_made_up_for(net: Any) -> None:
    """What was never sent is not written when the store comes."""
    client = net.client(timeout=0.05)
    with pytest.raises(StoreUnavailable, match=r"has not committed within 0\.05 s"):
        await client.write([PutSubscription("a", {"name": "a"})])
    await net.open()
    await client.write([PutSubscription("b", {"name": "b"})], timeout=5.0)
    assert await names(net.client("driver")) == ["b"]


async def test_a_question_in_vain_says_so(net: Any) -> None:
    """With what tells more."""
    with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.1 s: .*`llmgine status`"):
        await net.client(timeout=0.1).subscriptions()


async def test_a_question_waits_for_a_store_that_comes_back(net: Any) -> None:
    """A break is no answer: a question changes nothing, so it is put again."""
    asking = asyncio.ensure_future(net.client().subscriptions())
    await asyncio.sleep(0)
    assert not asking.done()
    await net.open()
    assert await asking == []


async def test_links_that_break_lose_and_double_nothing(net: Any, until: Any) -> None:
    """However often they do, in the middle of batches."""
    engine = MemoryEngine(1_000, 1.0)
    await net.open(engine)
    client = net.client()
    outcomes = Outcomes(client)
    broken = 0
    for number in range(200):
        if number % 20 == 7:
            assert await client.flush(5)
        outcomes.write(str(number), PutLetter(rows.letter(str(number))))
        if number % 20 == 7:
            await until(lambda: len(engine.ledger.letters) > len(outcomes.told))  # not acknowledged
            broken += net.transport.break_connections("store")
    await until(lambda: len(outcomes.told) == 200)
    assert broken > 5
    assert net.host.batches > 200  # some came twice
    assert [name for name, error in outcomes.told if error is None] == [str(number) for number in range(200)]
    page = await client.letters(limit=500)
    assert [row.id for row in page.rows] == [str(number) for number in reversed(range(200))]


async def test_more_than_a_window_of_batches_is_written(net: Any) -> None:
    """Links and the store push back; nothing is dropped and nothing stands still."""
    net.transport = MemoryTransport(LinkOptions(window_messages=4, window_bytes=2_000))
    await net.open(group_operations=3)
    client = net.client()
    outcomes = Outcomes(client)
    for number in range(300):
        outcomes.write(str(number), PutLetter(rows.letter(str(number % 50))))
    assert await client.flush(10)
    assert len(outcomes.told) == 300
    assert net.host.groups >= 100


async def test_a_batch_too_large_for_the_link_is_refused(net: Any) -> None:
    """And the next one goes."""
    net.transport = MemoryTransport(LinkOptions(max_frame_bytes=4_096))
    await net.open()
    client = net.client()
    for name in "ab":
        with pytest.raises(OperationRefused, match="too much for one message"):
            await client.write([PutLetter(rows.letter(body=bytes(5_000)))])
        await client.write([PutSubscription(name, {"name": name})])
    assert await names(client) == ["a", "b"]


async def test_a_newer_life_of_a_process_sees_nothing_of_the_older_one_change(net: Any, until: Any) -> None:
    """What that had not committed is gone before the newer one's first answer, and it writes no more."""
    engine = Slow()
    await net.open(engine)
    older = net.client(epoch=1)
    outcomes = Outcomes(older)
    outcomes.write("under way")
    await until(lambda: engine.entered)
    outcomes.write("waits")
    await until(lambda: net.host._batcher.arrived == 2)
    asking = asyncio.create_task(names(net.client(epoch=2)))
    await until(lambda: net.host._lives.get("router-0") == 2)
    engine.leave.release()
    assert await asking == ["under way"]
    await until(lambda: older.away)
    assert "a newer life of" in older.away
    engine.leave.release(50)
    assert await names(net.client(epoch=2)) == ["under way"]


async def test_one_process_may_have_several_clients(net: Any) -> None:
    """They number their batches apart."""
    await net.open()
    for name in ("a", "b"):
        await net.client(epoch=3).write([PutSubscription(name, {"name": name})])
    assert await names(net.client(epoch=3)) == ["a", "b"]


async def test_closing_waits_for_what_was_handed_over(net: Any) -> None:
    """What is left then has failed, and nothing more is taken."""
    await net.open()
    client = net.client()
    outcomes = Outcomes(client)
    outcomes.write("a")
    assert await client.close(5.0)
    assert outcomes.told == [("a", None)]
    with pytest.raises(StoreUnavailable, match="closed"):
        outcomes.write("b")
    hopeless = net.client("driver")
    await net.kill()
    outcomes = Outcomes(hopeless)
    outcomes.write("c")
    assert not await hopeless.close(0.01)
    [(name, error)] = outcomes.told
    assert name == "c"
    assert isinstance(error, StoreUnavailable)


async def test_draining_commits_what_has_arrived(net: Any, until: Any) -> None:
    """Within its time; else it says that it did not."""
    engine = Slow()
    host = await net.open(engine)
    outcomes = Outcomes(net.client())
    outcomes.write("a")
    await until(lambda: host._batcher.arrived)
    assert not await host.drain(0.01)
    engine.leave.release()
    assert await host.drain(5)
    await until(lambda: outcomes.told)


async def test_housekeeping_goes_on_by_itself(net: Any, until: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And lives through a store that cannot write."""
    tidied: list[int] = []
    engine = Faulty()

    def tidy(now: int) -> bool:
        tidied.append(now)
        if len(tidied) == 1:
            raise StoreUnavailable("locked")
        if len(tidied) == 3:
            raise StoreDamaged("found while tidying")
        return False

    monkeypatch.setattr(engine, "tidy", tidy)
    await net.open(engine, tidy_interval=0.001)
    await until(lambda: len(tidied) == 3)
    with pytest.raises(StoreDamaged, match="found while tidying"):
        await net.client().write([DropSubscription("x")])


# What a peer that does not speak the protocol gets.


@pytest.fixture
async def connection(net: Any) -> Any:
    await net.open()
    return await net.transport.dial(net.endpoint.address, Identity("stranger", "test", 1))


@pytest.mark.parametrize(
    "question", [None, ["paint"], ["journal", 1], ["letters", [1, 2, 3, 4, 5, 6, 7], None, 1]]
)
async def test_what_is_no_question_is_refused(connection: Any, question: Any) -> None:
    """With what was asked."""
    with pytest.raises(StreamReset, match="bad_question"):
        await request(connection, wire.ASK, question, timeout=5.0)


@pytest.mark.parametrize("message", [None, [1], ["x", []], [1, 2]])
async def test_what_is_no_batch_ends_the_stream(connection: Any, message: Any) -> None:
    """With what a batch is."""
    stream = connection.open(wire.STREAM, [1])
    await stream.send(message)
    with pytest.raises(StreamReset, match="a batch is"):
        await stream.receive()


async def test_a_writer_without_a_name_is_refused(connection: Any) -> None:
    """The header is part of the protocol."""
    with pytest.raises(StreamReset, match="the header of a writer"):
        await connection.open(wire.STREAM, "me").receive()


async def test_what_is_no_operation_is_refused_and_the_stream_goes_on(connection: Any) -> None:
    """The batch has nothing done."""
    stream = connection.open(wire.STREAM, [1])
    await stream.send([1, [["subscription", ["a", {}]], ["paint", []]]])
    await stream.send([2, []])
    code, ticket, kind, text = await stream.receive()
    assert (code, ticket, kind) == (wire.REFUSED, 1, "store_refused")
    assert "no operation 'paint'" in text
    assert await stream.receive() == [wire.ACK, 2]


def test_whoever_cannot_be_asked_is_unavailable() -> None:
    """Every failure of a link is the one error that callers expect."""
    assert issubclass(StoreUnavailable, StoreError)
    assert not issubclass(StoreUnavailable, LinkError)
