"""Models' answers that are kept: statements inside a transaction of somebody else's, and the question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from llmgine.actors.store.rows import ResponseRow
from llmgine.actors.store.sql.dialects import chunks
from llmgine.actors.store.sql.tables import RESPONSES
from llmgine.actors.store.sql.values import row_of, values_of

# Rows that are looked at in one question.
_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Amount:
    """How many answers, and how many bytes of them."""

    count: int = 0
    bytes: int = 0

    def plus(self, other: Amount) -> Amount:
        return Amount(self.count + other.count, self.bytes + other.bytes)

    def minus(self, other: Amount) -> Amount:
        return Amount(self.count - other.count, self.bytes - other.bytes)


def kept(connection: sa.Connection) -> Amount:
    """What there is."""
    found = connection.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(RESPONSES.c.size), 0))
    ).one()
    return Amount(int(found[0]), int(found[1]))


def put(connection: sa.Connection, rows: Sequence[ResponseRow]) -> Amount:
    """By how much there is more; one whose key was there takes its place and is the newest."""
    more = Amount()
    for some in chunks([row.key for row in rows]):
        more = more.minus(_remove(connection, RESPONSES.c.key.in_(some)))
    if rows:
        values = [{**values_of(row), "size": len(row.body)} for row in rows]
        connection.execute(RESPONSES.insert(), values)
        more = more.plus(Amount(len(rows), sum(one["size"] for one in values)))
    return more


def drop_pool(connection: sa.Connection, pool: str) -> Amount:
    """How much there was of it."""
    return _remove(connection, RESPONSES.c.pool == pool)


def drop_oldest(connection: sa.Connection, there: Amount, most: Amount) -> Amount:
    """How much is left of what is there: no more than `most`."""
    while there.count > most.count or there.bytes > most.bytes:
        oldest = sa.select(RESPONSES.c.number, RESPONSES.c.size).order_by(RESPONSES.c.number).limit(_ROWS)
        last, left = 0, there
        for number, size in connection.execute(oldest).all():
            if left.count <= most.count and left.bytes <= most.bytes:
                break
            last, left = number, left.minus(Amount(1, size))
        gone = _remove(connection, RESPONSES.c.number <= last)
        if not gone.count:
            return kept(connection)
        there = there.minus(gone)
    return there


def expire(connection: sa.Connection, now: int, most: int) -> Amount:
    """Removes so many of those whose time is over, at most; how much that was."""
    some = sa.select(RESPONSES.c.number).where(RESPONSES.c.expires <= now).limit(most)
    return _remove(connection, RESPONSES.c.number.in_(some))


def response(connection: sa.Connection, key: str) -> ResponseRow | None:
    """None too for a row that cannot be read: who asks makes the answer anew, which takes its place."""
    found = connection.execute(RESPONSES.select().where(RESPONSES.c.key == key)).first()
    if found is None:
        return None
    try:
        row: ResponseRow = row_of(ResponseRow, found)
        return row
    except ValueError:
        return None


def _remove(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Amount:
    gone: Any = connection.execute(RESPONSES.delete().where(condition).returning(RESPONSES.c.size))
    return _amount(gone.scalars().all())


def _amount(sizes: Iterable[int]) -> Amount:
    listed = list(sizes)
    return Amount(len(listed), sum(listed))
