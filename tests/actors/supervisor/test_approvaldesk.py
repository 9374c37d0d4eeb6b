"""Answers to approvals: once each, in time, and told to the session wherever it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from llmgine.actors.sessions.hosting.approvals import TABLE as APPROVALS
from llmgine.actors.store import AlreadyAnswered, StoreUnavailable, UnknownApproval
from llmgine.actors.store.operations import Operation
from llmgine.actors.store.queries import Page
from llmgine.actors.store.rows import ApprovalRow, ApprovalState
from llmgine.actors.store.session_operations import AnswerApproval
from llmgine.actors.supervisor.approvaldesk import ApprovalDesk
from llmgine.actors.supervisor.entries import SessionEntry
from llmgine.actors.supervisor.members import Member, Members
from llmgine.actors.supervisor.work import Work
from llmgine.providers.errors import LlmgineError


def row(id_: str, session: str = "s", expires: int | None = 100) -> ApprovalRow:
    return ApprovalRow(id_, session, "s:1", "c1", "pay", b"{}", "", expires=expires)


class Host:
    """A process that hosts sessions, as a member."""

    name = "host-1"

    def __init__(self) -> None:
        self.told: list[Any] = []

    def wants(self, table: str) -> bool:
        return table == APPROVALS

    def push(self, kind: str, body: Any) -> None:
        assert kind == APPROVALS
        self.told.append(body)


class Runtime:
    """A store, one host, and where sessions live, around the desk."""

    def __init__(self, *rows: ApprovalRow) -> None:
        self.rows = {one.id: one for one in rows}
        self.now = 0
        self.away = 0
        self.host = Host()
        self.sessions = {"s": SessionEntry("s", 1, "m", True, "", "dedicated", "", state="passive")}
        self.woken: list[str] = []
        self.asleep_for_good = 0
        self.work = Work()
        self.desk = ApprovalDesk(
            cast(Members, self),
            self,
            self.work,
            find=self.sessions.get,
            wake=self._wake,
            wall=lambda: self.now,
            sleep=lambda seconds: asyncio.sleep(0),
        )

    # Its members.

    def all(self) -> list[Member]:
        return [cast(Member, self.host)]

    # Its store.

    def _check(self) -> None:
        if self.away:
            self.away -= 1
            raise StoreUnavailable("the store is away")

    async def write(self, operations: Sequence[Operation]) -> None:
        self._check()
        for operation in operations:
            assert isinstance(operation, AnswerApproval)
            former = self.rows[operation.id]
            if former.state != "pending":
                raise AlreadyAnswered(f"{former.state} by {former.by}")
            self.rows[operation.id] = replace(
                former, state=operation.state, by=operation.by, note=operation.note, answered=operation.time
            )

    async def approval(self, id: str) -> ApprovalRow | None:
        self._check()
        return self.rows.get(id)

    async def approvals(
        self, *, state: ApprovalState | None = None, after: int = 0, limit: int = 100
    ) -> Page[ApprovalRow]:
        self._check()
        rows = [one for one in self.rows.values() if one.state == state]
        return Page(tuple(rows[after : after + 1]), after + 1 if after + 1 < len(rows) else None)

    async def _wake(self, session: str, why: str) -> None:
        if self.asleep_for_good:
            self.asleep_for_good -= 1
            raise LlmgineError("no room")
        self.woken.append(session)
        self.open()

    def open(self) -> None:
        """The session lives in the host."""
        entry = self.sessions["s"]
        entry.state, entry.actor = "open", "host-1"

    def states(self) -> list[ApprovalState]:
        return [one.state for one in self.rows.values()]

    async def rest(self) -> None:
        while self.work._tasks:
            await asyncio.gather(*self.work._tasks)


async def test_an_answer_is_kept_and_told_to_the_process_where_its_session_lives() -> None:
    """With who gave it, when, and what they said."""
    runtime = Runtime(row("a"))
    runtime.open()
    runtime.now = 7
    await runtime.desk.answer("a", "approved", "ann", "go on")
    await runtime.rest()
    answered = runtime.rows["a"]
    assert (answered.state, answered.by, answered.note, answered.answered) == ("approved", "ann", "go on", 7)
    assert runtime.host.told == [{"session": "s", "id": "a"}]
    assert runtime.woken == []


async def test_a_session_that_sleeps_is_woken_for_its_answer() -> None:
    """As often as it takes, where there is no room for it yet."""
    runtime = Runtime(row("a"))
    runtime.asleep_for_good = 2
    await runtime.desk.answer("a", "denied", "ann", "")
    await runtime.rest()
    assert runtime.woken == ["s"]


async def test_a_session_that_is_waking_is_told_when_it_is_awake() -> None:
    """It may have looked for its answer just before there was one."""
    runtime = Runtime(row("a"))
    await runtime.desk.answer("a", "approved", "ann", "")
    assert runtime.host.told == []
    await runtime.rest()
    assert runtime.host.told == [{"session": "s", "id": "a"}]


async def test_nobody_is_told_where_the_session_is_not_open() -> None:
    """It finds the answer when it is opened again."""
    runtime = Runtime(row("a"))
    runtime.sessions.clear()
    await runtime.desk.answer("a", "approved", "ann", "")
    await runtime.rest()
    assert runtime.woken == runtime.host.told == []


async def test_a_second_answer_is_refused_with_the_first() -> None:
    """Also where the first one was that its time was over."""
    runtime = Runtime(row("a"))
    await runtime.desk.answer("a", "denied", "ann", "")
    with pytest.raises(AlreadyAnswered, match="denied by ann"):
        await runtime.desk.answer("a", "approved", "bob", "")
    with pytest.raises(UnknownApproval, match="llmgine approvals ls"):
        await runtime.desk.answer("b", "approved", "bob", "")


async def test_an_approval_expires_at_its_time_and_its_session_hears_so() -> None:
    """Not before; one that was answered does not."""
    runtime = Runtime(row("a"), row("b"))
    runtime.open()
    for one in runtime.rows.values():
        runtime.desk.asked(one.id, one.expires)
    await runtime.desk.answer("b", "approved", "ann", "")
    runtime.now = 99
    runtime.desk.tick()
    await runtime.rest()
    assert runtime.rows["a"].state == "pending"
    runtime.now = 100
    runtime.desk.tick()
    await runtime.rest()
    assert [one.state for one in runtime.rows.values()] == ["expired", "approved"]
    assert runtime.host.told == [{"session": "s", "id": "b"}, {"session": "s", "id": "a"}]


async def test_a_session_hears_of_an_approval_that_the_store_let_expire() -> None:
    """The store does so when it tidies, and tells nobody."""
    runtime = Runtime(row("a"))
    runtime.open()
    runtime.desk.asked("a", 100)
    runtime.rows["a"] = replace(runtime.rows["a"], state="expired", answered=100)
    runtime.now = 100
    runtime.desk.tick()
    await runtime.rest()
    assert runtime.host.told == [{"session": "s", "id": "a"}]


async def test_what_expires_while_the_store_is_away_expires_when_it_is_back() -> None:
    """Its time is not forgotten."""
    runtime = Runtime(row("a"))
    runtime.desk.asked("a", 100)
    runtime.now = 100
    runtime.away = 1
    runtime.desk.tick()
    await runtime.rest()
    assert runtime.states() == ["pending"]
    runtime.now += 2_000_000_000
    runtime.desk.tick()
    await runtime.rest()
    assert runtime.states() == ["expired"]


async def test_a_new_life_learns_what_is_pending_from_the_store() -> None:
    """All of it, as soon as that can be read."""
    runtime = Runtime(row("a", expires=100), row("b", expires=200), row("c", expires=None))
    runtime.away = 2
    await runtime.desk.restore()
    runtime.now = 1000
    runtime.desk.tick()
    await runtime.rest()
    assert [one.state for one in runtime.rows.values()] == ["expired", "expired", "pending"]


def test_a_process_that_joins_looks_for_answers() -> None:
    """One may have come while it was away."""
    runtime = Runtime()
    runtime.desk.joined(cast(Member, runtime.host))
    assert runtime.host.told == [None]
