"""Answers that outlive the actor that gave them, over a store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.control import names
from llmgine.actors.pools.caching.answers import sealed
from llmgine.actors.pools.caching.options import CacheOptions
from llmgine.actors.pools.serving import keyed
from llmgine.actors.pools.serving.kept import KeptAnswers
from llmgine.actors.store import StoreClient, StoreUnavailable
from llmgine.actors.store.operations import DropResponses, KeepResponse, Operation
from llmgine.actors.store.rows import ResponseRow
from llmgine.providers import Done, EmbeddingRequest, LLMRequest, TextDelta
from llmgine.providers.events import to_wire
from tests.actors.pools.serving.sharing_stage import ACTORS, REQUEST, Provider, Stage, written

KEY = b"k" * 32
SECOND = 1_000_000_000


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    stage = Stage()
    monkeypatch.setattr(keyed, "open_endpoint", lambda *asked, **more: stage.provider)
    yield stage
    await stage.close()


def client(stage: Stage) -> StoreClient:
    return StoreClient(stage.ground.peer(names.STORE))


async def kept_in(stage: Stage, request: LLMRequest | EmbeddingRequest = REQUEST) -> ResponseRow:
    """What the store has of the request, once it has it."""
    asked, key = client(stage), stage.hashes.of(request, written(request)).hex()
    async with asyncio.timeout(5):
        while (row := await asked.response(key)) is None:  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0)
    await asked.close()
    return row


async def test_an_answer_outlives_its_actor(stage: Stage) -> None:
    """The next life, which has nothing in memory, gives it from the store, and then from memory."""
    await stage.spawn(store="memory://")
    stage.provider.say("well, ", "yes", None)
    await (await stage.called()).rest()
    row = await kept_in(stage)
    assert row.pool == "scripted"
    assert row.expires == row.made + 3_600 * SECOND
    await stage.cluster.kill(ACTORS[0])
    await stage.respawn(ACTORS[0])
    for _ in range(2):
        caller = await (await stage.called()).rest()
        assert caller.text == "well, yes"
        assert caller.response.cached
    assert len(stage.provider.calls) == 1
    figures = stage.figures()
    assert (figures["store_hits"], figures["hits"], figures["misses"]) == (1, 1, 0)
    assert figures["saved_output_tokens"] == 4


async def test_actors_answer_with_what_others_have_made(stage: Stage) -> None:
    """Two that make the same call at once keep one answer, and nobody minds."""
    await stage.spawn(store="memory://")
    callers = [await stage.called(actor=actor) for actor in ACTORS]
    await asyncio.gather(*(stage.when(actor, misses=1) for actor in ACTORS))
    stage.provider.say("a", None)
    stage.provider.say("a", None)
    for caller in callers:
        await caller.rest()
    assert len(stage.provider.calls) == 2
    other = REQUEST.model_copy(update={"seed": 1})
    stage.provider.say("b", None)
    await (await stage.called(other, actor=ACTORS[0])).rest()
    await kept_in(stage, other)
    assert (await (await stage.called(other, actor=ACTORS[1])).rest()).text == "b"
    assert len(stage.provider.calls) == 3


async def test_equal_requests_share_one_question_to_the_store(stage: Stage) -> None:
    """All of them are told that the answer was kept; none pays."""
    await stage.spawn(store="memory://")
    stage.provider.say("well", None)
    await (await stage.called()).rest()
    await kept_in(stage)
    callers = [await stage.opened(actor=ACTORS[1]) for _ in range(3)]
    for caller in callers:
        await caller.verdict()
        assert (await caller.rest()).response.cached
    figures = stage.figures(ACTORS[1])
    assert figures["store_hits"] == 1
    assert figures["store_hits"] + figures["joins"] + figures["hits"] == 3
    assert figures["saved_output_tokens"] == 6


async def test_vectors_outlive_their_actor(stage: Stage, tmp_path: Path) -> None:
    """In a file, over a restart of all."""
    vectors = EmbeddingRequest(model="scripted/echo", inputs=("a", "bb"))
    await stage.spawn(store=f"sqlite:///{tmp_path / 'store.db'}")
    stage.provider.say(None)
    caller = await stage.called(vectors)
    said = [message async for message in caller.stream]
    await kept_in(stage, vectors)
    for name in await stage.cluster.names():
        await stage.cluster.kill(name)
    for name in (names.STORE, *ACTORS):
        await stage.respawn(name)
    again = [message async for message in (await stage.called(vectors)).stream]
    assert again[:-1] == said[:-1]
    assert len(stage.provider.calls) == 1


async def test_nobody_misses_a_store_that_is_away(stage: Stage) -> None:
    """The call is made, its answer kept in memory, and the store is left alone for a while."""
    await stage.spawn(store="memory://", store_timeout=0.05)
    await stage.cluster.kill(names.STORE)
    stage.provider.say("well", None)
    assert (await (await stage.called()).rest()).text == "well"
    assert (await (await stage.called()).rest()).response.cached


async def test_cleared_actors_and_store_answer_nothing_from_before(stage: Stage) -> None:
    """What was under way when they were cleared is not kept, and nobody joins it any more."""
    await stage.spawn(store="memory://")
    stage.provider.say("old", None)
    await (await stage.called()).rest()
    await kept_in(stage)
    other = REQUEST.model_copy(update={"seed": 1})
    under_way = await stage.called(other)
    await stage.when(misses=2)
    writer = client(stage)
    for _ in range(2):
        await stage.cluster.call(ACTORS[0], "clear_cache")
        await writer.write([DropResponses("scripted")])
    await writer.close()
    stage.provider.say("old", None)
    await under_way.rest()
    for request in (REQUEST, other):
        stage.provider.say("new", None)
        assert (await (await stage.called(request)).rest()).text == "new"


class Store:
    """A store's client that keeps rows here, and answers when it may."""

    def __init__(self) -> None:
        self.rows: dict[str, ResponseRow] = {}
        self.asked = 0
        self.error: StoreUnavailable | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def response(self, key: str) -> ResponseRow | None:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.rows.get(key)

    def write_soon(self, operations: list[Operation], on_done: Callable[[], None], on_failed: Any) -> None:
        for operation in operations:
            assert isinstance(operation, KeepResponse)
            self.rows[operation.row.key] = operation.row
        if self.error is None:
            on_done()

    async def flush(self, timeout: float) -> bool:
        return True

    async def close(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now


def answers(over: Store, clock: Clock, pool: str = "openai", **options: Any) -> KeptAnswers:
    opened: Any = lambda: over  # noqa: E731 - a client of a kind
    return KeptAnswers(pool, CacheOptions(**options), opened, wall=clock)


def body(text: str = "well") -> bytes:
    made = sealed(REQUEST, [to_wire(TextDelta(0, text)), to_wire(Done(Provider().answer(text)))])
    assert made is not None
    return made


async def test_an_answer_lives_as_long_as_its_ttl_to_the_nanosecond() -> None:
    """In memory and in the store, by the reader's own ttl; reading does not prolong it."""
    store, clock = Store(), Clock()
    kept = answers(store, clock, ttl=10.0)
    kept.keep(KEY, body(), kept.generation)
    elsewhere, shorter = answers(store, clock, ttl=10.0), answers(store, clock, ttl=5.0)
    clock.now += 10 * SECOND - 1
    assert kept.here(KEY) is not None
    assert await elsewhere.find(KEY) is not None
    assert elsewhere.here(KEY) is not None
    assert await shorter.find(KEY) is None
    clock.now += 1
    assert kept.here(KEY) is None
    assert elsewhere.here(KEY) is None
    assert await elsewhere.find(KEY) is None


async def test_an_answer_of_another_pool_is_none() -> None:
    """Whatever it stands under."""
    store, clock = Store(), Clock()
    mine = answers(store, clock)
    mine.keep(KEY, body(), mine.generation)
    assert await answers(store, clock, pool="gemini").find(KEY) is None


async def test_a_damaged_answer_is_none_and_is_replaced() -> None:
    """The call is made anew."""
    store, clock = Store(), Clock()
    kept = answers(store, clock, max_entries=0)
    kept.keep(KEY, body(), kept.generation)
    row = store.rows[KEY.hex()]
    store.rows[KEY.hex()] = ResponseRow(row.key, row.pool, row.body[:-1] + b"?", row.made, row.expires)
    assert await kept.find(KEY) is None
    kept.keep(KEY, body("again"), kept.generation)
    found = await kept.find(KEY)
    assert found is not None
    assert found.messages[0] == to_wire(TextDelta(0, "again"))


async def test_what_is_found_while_all_is_cleared_is_not_kept_here() -> None:
    """Who had asked before is answered; who asks afterwards is not."""
    store, clock = Store(), Clock()
    kept = answers(store, clock)
    kept.keep(KEY, body(), kept.generation)
    await kept.clear()
    store.gate.clear()
    asking = asyncio.create_task(kept.find(KEY))
    await asyncio.sleep(0)
    await kept.clear()
    store.gate.set()
    assert await asking is not None
    assert kept.here(KEY) is None
    kept.keep(KEY, body(), kept.generation - 1)
    assert kept.here(KEY) is None


async def test_a_store_that_did_not_answer_is_left_alone_for_a_while() -> None:
    """No call waits for it, and then it is asked again."""
    store, clock = Store(), Clock()
    store.error = StoreUnavailable("away")
    kept = answers(store, clock)
    for _ in range(3):
        assert await kept.find(KEY) is None
    assert store.asked == 1
    clock.now += 5 * SECOND
    await kept.find(KEY)
    assert store.asked == 2


async def test_little_waits_for_a_store_that_is_away() -> None:
    """More is kept in memory alone."""
    store, clock = Store(), Clock()
    store.error = StoreUnavailable("away")
    kept = answers(store, clock)
    large = body("x" * 500_000)
    for number in range(30):
        kept.keep(bytes([number]), large, kept.generation)
    assert len(store.rows) == 16
    assert kept.statistics()["entries"] == 30


async def test_a_store_that_is_not_wanted_is_never_asked() -> None:
    """Nor written to; and answers that are too large are kept nowhere."""
    store, clock = Store(), Clock()
    kept = answers(store, clock, store=False, max_answer_bytes=2_048)
    kept.keep(KEY, body(), kept.generation)
    assert await kept.find(KEY) is None
    kept.keep(b"large", body("x" * 2_048), kept.generation)
    assert (store.asked, store.rows, kept.here(b"large")) == (0, {}, None)
