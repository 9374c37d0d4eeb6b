"""Sessions whose process is gone, and those that an earlier run of the runtime left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from llmgine.actors.bus import Event
from llmgine.actors.control import ControlOptions
from llmgine.actors.sessions import SessionOptions, SessionPassivated, SessionWoken
from llmgine.actors.store import StoreUnavailable
from llmgine.actors.store.queries import Page, SessionFilter
from llmgine.actors.store.rows import SessionRow
from llmgine.actors.supervisor import sessionkeeping
from llmgine.actors.supervisor.directory import Directory, Leases
from llmgine.actors.supervisor.hostdesk import HostDesk
from llmgine.actors.supervisor.lodging import Lodging
from llmgine.actors.supervisor.sessiondesk import SessionDesk
from llmgine.actors.supervisor.sessionkeeping import SessionKeeping
from llmgine.actors.supervisor.work import Work

Until = Callable[..., Any]


class Stage:
    """The keeping of sessions over doubles of actors, the bus and the store; `log` is what happened."""

    def __init__(self, children: Any) -> None:
        self.actors = children
        self.log: list[str] = []
        self.rows: dict[str, SessionRow] = {}
        self.away = False
        self.asked = 0
        self.directory = Directory(Leases(), owned=False, first_opening=1)
        this, work = cast(Any, self), Work()
        hosts = HostDesk(children, work, SessionOptions(warm=0, slots=10), 0.1)
        lodging = Lodging(this, hosts, work)
        desk = SessionDesk(self.directory, lodging, this, this, this, work, ControlOptions())
        self.hosts, self.desk = hosts, desk
        self.keeping = SessionKeeping(self.directory, hosts, desk, lodging, this, this, work)

    # Actors, bus and subscriptions.

    async def call(self, name: str, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        first = arguments[0]["session_id"] if method == "adopt" else arguments[0]
        self.log.append(f"{method} {first}")
        return list(first) if method == "release" else True

    async def publish(self, event: Event, wait: bool = False) -> None:
        if isinstance(event, SessionPassivated | SessionWoken):
            return  # nobody waits for it, so it may come at any time
        told = event.model_dump()
        self.log.append(f"{type(event).__name__} {told['session_id']} {told.get('error') or ''}".rstrip())

    def hears(self, session: str, event_class: type[Event]) -> bool:
        return False

    async def remove_scope(self, session: str) -> None:
        pass

    # The store.

    def now(self) -> int:
        return 10_000_000_000

    async def find(self, session_id: str) -> SessionRow | None:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("it is away")
        return self.rows.get(session_id)

    async def open(self) -> AsyncIterator[SessionRow]:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("it is away")
        for row in self.rows.values():
            if row.state == "open":
                yield row

    async def page(self, wanted: SessionFilter, after: int, limit: int) -> Page[SessionRow]:
        if self.away:
            raise StoreUnavailable("it is away")
        return Page(tuple(filter(wanted.admits, self.rows.values())), None)

    async def opened_by(self, session_id: str) -> AsyncIterator[str]:
        for row in self.rows.values():
            if row.record.get("parent") == session_id:
                yield row.id

    async def code(self, row: SessionRow) -> bytes | None:
        return None

    async def close_row(self, row: SessionRow) -> None:
        self.log.append(f"closed {row.id}")

    async def children(self, session_id: str) -> AsyncIterator[str]:
        for row in self.rows.values():
            if row.record["parent"] == session_id:
                yield row.id

    async def delete(self, session_id: str) -> None:
        self.log.append(f"deleted {session_id}")

    # What the tests do.

    def has(
        self,
        session: str,
        *,
        stay: bool = False,
        pending: int = 0,
        state: Any = "open",
        parent: str | None = None,
    ) -> None:
        """The store has this session."""
        record: dict[str, Any] = {
            "model": "m/x",
            "stay": stay,
            "fingerprint": "",
            "placement": "pooled",
            "runs": "",
        }
        record["parent"] = parent
        self.rows[session] = SessionRow(session, 1, "", state, 5, record, pending=pending)

    async def lives(self, session: str, *, stay: bool = False, pending: int = 0) -> str:
        """The session is open in an actor; which."""
        self.has(session, stay=stay, pending=pending)
        spec = {**self.rows[session].record, "session_id": session}
        where = await self.desk.open("d", "h", spec, None)
        await asyncio.sleep(0)  # its start is told beside the answer
        self.log.clear()
        return str(where["actor"])

    def state(self, session: str) -> str:
        return self.directory.sessions[session].state


@pytest.fixture
def stage(children: Any, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(sessionkeeping, "_PAUSE", 0.0)
    return Stage(children)


async def test_sessions_with_something_to_do_are_woken_elsewhere(stage: Stage, until: Until) -> None:
    """When an actor dies, what had turns to end wakes in another; the rest sleeps until somebody asks."""
    host = await stage.lives("busy", pending=1)
    await stage.lives("quiet")
    await stage.keeping.died(host)
    await until(lambda: stage.log == ["adopt busy"])
    assert (stage.state("busy"), stage.state("quiet")) == ("open", "passive")
    assert stage.directory.sessions["busy"].actor != host
    assert host not in stage.actors.alive


async def test_a_session_that_died_with_its_store_ends(stage: Stage, until: Until) -> None:
    """What neither a process nor the store has any more ends with the reason."""
    host = await stage.lives("s")
    stage.rows.clear()
    await stage.keeping.died(host)
    await until(lambda: not stage.directory.sessions)
    assert stage.log == [f"SessionEnded s {host} died, and the store has nothing of it"]


async def test_a_store_that_is_away_is_waited_for(stage: Stage, until: Until) -> None:
    """No session is given up because the store cannot be asked now."""
    host = await stage.lives("s", pending=1)
    stage.away, stage.asked = True, 0
    await stage.keeping.died(host)
    await until(lambda: stage.asked > 2)
    assert stage.state("s") == "passive"
    stage.away = False
    await until(lambda: stage.state("s") == "open")


async def test_an_actor_that_was_fenced_has_left_its_session(stage: Stage, until: Until) -> None:
    """The session is looked for in the store; what another actor says of it counts for nothing."""
    host = await stage.lives("s", pending=1)
    stage.keeping.left("host-of-old", "s")
    stage.keeping.left(host, "never")
    assert stage.state("s") == "open"
    stage.keeping.left(host, "s")
    assert stage.state("s") == "passive"
    await until(lambda: stage.state("s") == "open")


async def test_idle_sessions_sleep(stage: Stage) -> None:
    """What an actor tells to be idle is put to sleep there, with one call."""
    host = await stage.lives("a")
    await stage.lives("b")
    await stage.keeping.idle(host, ["a", "b"])
    assert stage.log == ["release ['a', 'b']"]
    assert (stage.state("a"), stage.state("b")) == ("passive", "passive")


async def test_an_actor_that_is_not_well_is_emptied(stage: Stage, until: Until) -> None:
    """It takes no more sessions, its own wake elsewhere when somebody asks, and it ends."""
    host = await stage.lives("s")
    await stage.keeping.retire(host, "threads are stuck")
    assert stage.state("s") == "passive"
    await until(lambda: host not in stage.actors.alive)
    assert (await stage.desk.wake("s", "test"))["actor"] != host


async def test_a_launch_over_an_old_store(stage: Stage, until: Until) -> None:
    """What had turns to end is woken for them, what stays sleeps on, the rest has ended with its runtime."""
    stage.has("busy", pending=2)
    stage.has("staying", stay=True)
    stage.has("staying and busy", stay=True, pending=1)
    stage.has("left")
    stage.has("closed", state="closed")
    stage.rows["damaged"] = SessionRow("damaged", 1, "")
    await stage.keeping.restore(anew=True)
    await until(lambda: len(stage.log) == 4)
    assert sorted(stage.log) == [
        "SessionEnded left its runtime had ended",
        "adopt busy",
        "adopt staying and busy",
        "closed left",
    ]
    await until(lambda: "left" not in stage.directory.sessions)
    assert set(stage.directory.sessions) == {"busy", "staying", "staying and busy"}
    assert stage.state("staying") == "passive"
    assert stage.directory.tick(1e9) == []


async def test_what_was_woken_for_its_turns_ends_with_them(stage: Stage, until: Until) -> None:
    """Nobody holds it: when it has been idle, it ends with the reason that it was left."""
    stage.has("busy", pending=2)
    await stage.keeping.restore(anew=True)
    await until(lambda: stage.state("busy") == "open")
    host = stage.directory.sessions["busy"].actor
    assert host is not None
    await stage.keeping.idle(host, ["busy"])
    await until(lambda: not stage.directory.sessions)
    assert stage.log == ["adopt busy", "end busy", "SessionEnded busy its runtime had ended"]


async def test_a_restarted_supervisor_ends_none(stage: Stage) -> None:
    """What sleeps is found in the store and waits for its drivers; what an actor has reported is known."""
    host = await stage.lives("reported")
    stage.has("sleeping")
    await stage.keeping.restore(anew=False)
    assert stage.log == []
    assert stage.directory.sessions["reported"].actor == host
    assert stage.state("sleeping") == "passive"
    assert stage.directory.sessions["sleeping"].orphan_until is not None


async def test_deleting_leaves_nothing(stage: Stage) -> None:
    """An open session ends first, those that it had opened go with it; one that is not open goes, too."""
    await stage.lives("s")
    stage.has("s/helper/1", state="closed", parent="s")
    await stage.keeping.delete("s")
    await stage.keeping.delete("other")
    assert stage.log == ["end s", "SessionEnded s", "deleted s/helper/1", "deleted s", "deleted other"]


async def test_all_sessions_are_listed(stage: Stage) -> None:
    """Those that the store has, each with its state and where it lives."""
    host = await stage.lives("s")
    stage.has("old", state="closed")
    listed = await stage.keeping.listed(SessionFilter(), 0, 10)
    assert [(one["session_id"], one["state"], one["actor"]) for one in listed["sessions"]] == [
        ("s", "open", host),
        ("old", "closed", None),
    ]
    only = await stage.keeping.listed(SessionFilter(state="closed"), 0, 10)
    assert [one["session_id"] for one in only["sessions"]] == ["old"]


async def test_open_sessions_are_described(stage: Stage) -> None:
    """With where each is and how long it has been idle, as far as the store tells."""
    host = await stage.lives("s")
    stage.rows["s"] = replace(stage.rows["s"], active=7_000_000_000)
    (described,) = await stage.keeping.described()
    assert (described["state"], described["actor"], described["idle"]) == ("open", host, 3.0)
    stage.away = True
    assert [one["idle"] for one in await stage.keeping.described()] == [None]
