"""What sessions write and ask over a link."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.store import AlreadyAnswered, Fenced, SessionFilter, UnknownApproval
from llmgine.actors.store.session_operations import (
    Activate,
    AnswerApproval,
    AppendEntries,
    DropSession,
    KeepCode,
    PutApproval,
    PutSession,
    PutSnapshot,
    PutTurn,
)
from tests.actors.store import rows


async def test_what_a_session_writes_is_there_for_everybody(net: Any) -> None:
    """Its row, snapshot, entries, turns, approvals, blobs and code."""
    await net.open()
    client, other = net.client("host-1"), net.client("driver")
    turn, approval = rows.turn(outcome=b"end", state="done", ended=5), rows.approval()
    record = {"model": "m", "code": "c1", "parent": "p"}
    await client.write(
        [
            KeepCode("c1", b"code", 1),
            Activate("s", 0, 7, "host-1", 100),
            PutSession("s", 7, {"opening": 1, "record": record, "pending": 1, "active": 200}),
            AppendEntries("s", 7, 1, tuple(b"%d" % number for number in range(1, 1_201))),
            PutSnapshot("s", 7, 100, b"snapshot"),
            PutTurn(7, turn),
            PutApproval(7, approval),
            rows.blob(epoch=7),
        ]
    )
    row = await other.session("s")
    assert row is not None
    assert (row.epoch, row.owner, row.state, row.opening, row.record) == (7, "host-1", "open", 1, record)
    assert (row.head, row.pending, row.created, row.active) == (1_200, 1, 100, 200)
    assert await other.session("unknown") is None
    assert await other.snapshot("s") == (100, b"snapshot")
    assert await other.snapshot("unknown") is None
    pages = [page async for page in other.entries("s", after=100)]
    assert [len(page) for page in pages] == [500, 500, 100]
    assert [entry for page in pages for entry in page] == [(n, b"%d" % n) for n in range(101, 1_201)]
    assert [page async for page in other.entries("unknown")] == []
    assert await other.turn("s", "t1") == turn
    assert await other.turn("other", "t1") is None
    assert (await other.turns("s")).rows == (turn,)
    assert await other.approval("a1") == approval
    assert (await other.approvals(state="pending", session="s")).rows == (approval,)
    assert (await other.approvals(state="denied")).rows == ()
    assert (await other.blob("h1"), await other.blob("h2")) == (b"large", None)
    assert (await other.code("c1"), await other.code("h1")) == (b"code", None)
    await other.write([DropSession("s")])
    assert await client.session("s") is None
    assert await client.blob("h1") is None
    assert await client.count_sessions() == 0


async def test_sessions_are_listed_by_what_they_have_in_common(net: Any) -> None:
    """In the order of their making, page by page."""
    await net.open()
    client = net.client()
    for number in range(7):
        changes = {"state": "closed" if number % 2 else "open", "pending": number % 3}
        operations = [Activate(f"s{number}", 0, 1, "h", 1), PutSession(f"s{number}", 1, changes)]
        await client.write(operations)
    await client.write(
        [Activate("other", 0, 1, "h", 1), PutSession("other", 1, {"record": {"parent": "s1"}})]
    )
    page = await client.sessions(SessionFilter(state="closed"), limit=2)
    assert [row.id for row in page.rows] == ["s1", "s3"]
    page = await client.sessions(SessionFilter(state="closed"), after=page.next, limit=2)
    assert ([row.id for row in page.rows], page.next) == (["s5"], None)
    assert await client.count_sessions(SessionFilter(pending=True)) == 4
    assert await client.count_sessions(SessionFilter(prefix="s", pending=False)) == 3
    found = [row.id async for page in client.every_session(SessionFilter(parent="s1")) for row in page]
    assert found == ["other"]


async def test_a_refusal_reaches_the_one_who_wrote_and_nobody_else(net: Any) -> None:
    """As the error that it is; what the same client writes next is written."""
    await net.open()
    old, new = net.client("host-1"), net.client("host-2")
    await old.write([Activate("s", 0, 1, "host-1", 1), PutApproval(1, rows.approval())])
    await new.write([Activate("s", 1, 2, "host-2", 1)])
    with pytest.raises(Fenced, match="epoch 2, of 'host-2'"):
        await old.write([AppendEntries("s", 1, 1, (b"late",))])
    await old.write([AnswerApproval("a1", "denied", "bob", "no", 5)])
    with pytest.raises(AlreadyAnswered, match="denied by 'bob'"):
        await new.write([AnswerApproval("a1", "approved", "ann", "", 6)])
    with pytest.raises(UnknownApproval):
        await new.write([AnswerApproval("a2", "approved", "ann", "", 6)])
    assert [page async for page in new.entries("s")] == []


async def test_a_refusal_that_was_not_heard_is_told_again(net: Any, until: Any) -> None:
    """A batch that was refused before the link broke is not taken for one that was committed."""
    await net.open()
    old, new = net.client("host-1"), net.client("host-2")
    await new.write([Activate("s", 0, 2, "host-2", 1)])
    await old.count_sessions()
    told: list[Any] = []
    old.write_soon([PutSession("s", 1, {"turns": 1})], lambda: told.append(None), told.append)
    old.write_soon([Activate("t", 0, 1, "host-1", 1)], lambda: told.append(None), told.append)
    await until(lambda: "t" in net.engine.ledger.sessions.rows)
    lost = not told
    assert net.transport.break_connections("store")
    await until(lambda: len(told) == 2)
    assert lost
    assert isinstance(told[0], Fenced)
    assert told[1] is None
