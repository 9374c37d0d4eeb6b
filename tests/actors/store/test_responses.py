"""Models' answers that are kept: bounded in every way, and asked for without waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from llmgine.actors.store.batches import Batch, Refusal
from llmgine.actors.store.engine import Engine
from llmgine.actors.store.memory import MemoryEngine
from llmgine.actors.store.operations import DropResponses, KeepResponse, Operation, PutLetter
from llmgine.actors.store.retention import Retention
from llmgine.actors.store.sql import SqlEngine
from llmgine.actors.store.sql.tables import META, NOTES, RESPONSES
from tests.actors.store import rows
from tests.actors.store.files import beside, write
from tests.actors.store.rows import tidy

MakeEngine = Callable[..., Engine]


class Tickets:
    """Commits what is kept under names, one batch after the other."""

    def __init__(self, engine: Engine, after: int = 0) -> None:
        self.engine = engine
        self.ticket = after

    def commit(self, *operations: Operation) -> None:
        self.ticket += 1
        assert self.engine.commit([Batch.of("w", self.ticket, operations)], 1) == []

    def keep(self, *keys: str, **changes: Any) -> None:
        self.commit(*(KeepResponse(rows.response(key, **changes)) for key in keys))

    def there(self, keys: str) -> str:
        return "".join(key for key in keys if self.engine.response(key) is not None)


def test_the_newest_are_kept_by_number_and_by_bytes(make: MakeEngine) -> None:
    """What is kept again is the newest, and one answer that is too large drives out all others and itself."""
    at = Tickets(make(retention=Retention(responses=3, response_bytes=20)))
    at.keep("a", "b", "c")
    at.keep("a")
    at.keep("d")
    assert at.there("abcd") == "acd"
    at.keep("e", body=b"0123456789")
    assert at.there("abcde") == "de"
    at.keep("f", body=bytes(21))
    assert at.there("abcdef") == ""


def test_the_next_life_goes_on_counting(lasting: Callable[..., SqlEngine]) -> None:
    """What is there already counts towards the bounds."""
    retention = Retention(responses=2)
    first = lasting(retention=retention)
    Tickets(first).keep("a", "b")
    first.close()
    at = Tickets(lasting(retention=retention), after=1)
    at.keep("c")
    assert at.there("abc") == "bc"


def test_what_has_expired_is_tidied_away_and_no_longer_counts(make: MakeEngine) -> None:
    """Until then it can be read, with the time of its end."""
    at = Tickets(make(retention=Retention(responses=2)))
    at.keep("a", expires=10)
    at.keep("b", expires=11)
    tidy(at.engine, 10)
    assert at.there("ab") == "b"
    at.keep("c")
    assert at.there("bc") == "bc"


def test_a_pools_answers_are_forgotten_together(make: MakeEngine) -> None:
    """Those of other pools stay, and what is kept afterwards in the same batch."""
    at = Tickets(make())
    at.keep("a", pool="openai")
    at.keep("b", pool="gemini")
    at.commit(
        KeepResponse(rows.response("c")),
        DropResponses("openai"),
        KeepResponse(rows.response("d", body=b"new")),
    )
    assert at.there("abcd") == "bd"


def test_a_row_that_cannot_be_read_is_none_and_is_replaced(sql: Callable[..., SqlEngine]) -> None:
    """The answer is made anew; nothing is set aside and nobody stops."""
    engine = sql()
    write(engine, KeepResponse(rows.response("a")))
    with beside(engine) as connection:
        connection.execute("UPDATE responses SET made = 'soon'")
    assert engine.response("a") is None
    write(engine, KeepResponse(rows.response("a", body=b"again")), ticket=2)
    found = engine.response("a")
    assert found is not None
    assert found.body == b"again"


def test_tables_of_version_2_get_a_place_for_answers(lasting: Callable[..., SqlEngine]) -> None:
    """What stands in them stays."""
    old = lasting()
    write(old, PutLetter(rows.letter("x")))
    engine = old.database.engine()
    with engine.begin() as connection:
        RESPONSES.drop(connection)
        NOTES.drop(connection)
        connection.execute(META.update().where(META.c.name == "version").values(value="2"))
    old.close()
    at = Tickets(lasting(), after=1)
    at.keep("a")
    assert at.there("a") == "a"
    assert at.engine.letter("x") is not None
    with engine.connect() as connection:
        names = [index["name"] for index in sa.inspect(connection).get_indexes("responses")]
    assert {index.name for index in RESPONSES.indexes} <= set(names)
    engine.dispose()


class Busy(MemoryEngine):
    """Its commits end when they may."""

    blocks = True

    def __init__(self) -> None:
        super().__init__(100, 1.0)
        self.began, self.go_on = threading.Event(), threading.Event()

    def commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        self.began.set()
        assert self.go_on.wait(5)
        return super().commit(batches, now)


async def test_an_answer_is_asked_for_without_waiting_for_commits(net: Any) -> None:
    """A store that is busy with others' writes holds up no call of a model."""
    engine = Busy()
    engine.ledger.apply([KeepResponse(rows.response("a"))])
    await net.open(engine)
    client = net.client()
    written = asyncio.create_task(client.write([KeepResponse(rows.response("b"))]))
    await asyncio.to_thread(engine.began.wait, 5)
    found = await client.response("a")
    assert found == rows.response("a")
    assert await client.response("b") is None
    engine.go_on.set()
    await written
    assert await client.response("b") is not None
