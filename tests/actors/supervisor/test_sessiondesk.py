"""Openings and endings of sessions that cross each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from llmgine.actors.bus import Event
from llmgine.actors.control import ActorGone, ControlOptions, SessionConflict, SessionNotFound, StartFailed
from llmgine.actors.sessions import SessionLost, SessionOptions, SessionPassivated, SessionWoken
from llmgine.actors.store.rows import SessionRow
from llmgine.actors.supervisor.directory import Directory, Leases
from llmgine.actors.supervisor.hostdesk import HostDesk
from llmgine.actors.supervisor.lodging import Lodging
from llmgine.actors.supervisor.sessiondesk import SessionDesk
from llmgine.actors.supervisor.work import Work

Until = Callable[..., Any]


class Desk:
    """A session desk over doubles; `log` is what happened, in order."""

    def __init__(self, children: Any) -> None:
        self.children = children
        self.log: list[str] = []
        self.beside: list[str] = []
        # Whether the session has a handler of its own that hears of its end.
        self.listens = False
        self.errors: dict[str, Exception] = {}
        self.unanswered: list[str] = []
        self.releases: list[str] = []
        # Actors whose death is heard of before their answer to `adopt`.
        self.dying: set[str] = set()
        self.directory = Directory(Leases(), owned=False, first_opening=1)
        self.ending = type(children.ending)()
        work, options = Work(), ControlOptions(stop_grace=1.0)
        # None is warm, so that each session starts its own actor.
        self.hosts = HostDesk(children, work, SessionOptions(warm=0), 0.1)
        self.rows: dict[str, SessionRow] = {}
        this = cast(Any, self)
        lodging = Lodging(this, self.hosts, work)
        self.desk = SessionDesk(self.directory, lodging, this, this, this, work, options)

    # What the desk acts on: the cluster, the bus, the table of subscriptions, the store.

    async def call(self, name: str, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        self.log.append(f"{method} {name}")
        if method == "adopt" and name in self.dying:
            await self.hosts.gone(name)
        if method == "end":
            await self.ending.through(name)
        if method in self.unanswered:
            self.unanswered.remove(method)
            raise TimeoutError
        if method in self.errors:
            raise self.errors[method]
        return {"end": True, "release": self.releases}.get(method)

    async def publish(self, event: Event, wait: bool = False) -> None:
        if isinstance(event, SessionPassivated | SessionWoken):
            self.beside.append(type(event).__name__)  # nobody waits for it, so it may come at any time
            return
        self.log.append(f"{type(event).__name__} {event.model_dump()['opening']}")
        if "publish" in self.errors:
            raise self.errors["publish"]

    def hears(self, session: str, event_class: type[Event]) -> bool:
        return self.listens

    async def remove_scope(self, session: str) -> None:
        self.log.append(f"unregister {session}")

    async def find(self, session_id: str) -> SessionRow | None:
        return self.rows.get(session_id)

    async def code(self, row: SessionRow) -> bytes | None:
        return None

    async def close_row(self, row: SessionRow) -> None:
        self.log.append(f"closed {row.id}")

    # What the tests do.

    def open(self, handle: str = "h", **spec: Any) -> asyncio.Task[dict[str, Any]]:
        whole = {"session_id": "s", "model": "m/x", "stay": False, "fingerprint": ""}
        whole |= {"placement": "dedicated", "runs": "", **spec}
        return asyncio.create_task(self.desk.open("d", handle, whole, None))

    def close(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._ended(self.directory.close("s")))

    def sleep(self, pending: int = 0) -> None:
        """The session's process has died, and the store has all of it."""
        opening = self.directory.session("s").opening
        record = {"model": "m/x", "stay": False, "fingerprint": "", "placement": "dedicated", "runs": ""}
        self.rows["s"] = SessionRow("s", 1, "", opening=opening, record=record, pending=pending)
        self.directory.died(self.directory.session("s").actor or "")

    def detach(self, handle: str = "h") -> asyncio.Task[None]:
        return asyncio.create_task(self._ended(self.directory.detach("s", handle, None)))

    async def _ended(self, decisions: list[Any]) -> None:
        for decision in decisions:
            self.desk.end(decision)
        await self.desk.ended("s")


@pytest.fixture
def desk(children: Any) -> Desk:
    return Desk(children)


async def test_a_session_from_opening_to_end(desk: Desk) -> None:
    """One start event follows the adoption; turns end, the end event is said, handlers go, the actor goes."""
    where = await desk.open()
    assert (where["actor"], where["state"]) == ("host-1", "open")
    await desk.detach()
    assert desk.log == [
        "adopt host-1",
        "SessionStarted 1",
        "end host-1",
        "SessionEnded 1",
        "unregister s",
    ]
    assert desk.children.alive == set()
    assert desk.directory.sessions == {}
    assert len(desk.desk._lanes) == 0
    assert not desk.desk._endings
    assert not desk.desk._arrivals


async def test_openings_of_one_id_share_one_actor(desk: Desk, until: Until) -> None:
    """Whoever opens a session that is being opened attaches to it."""
    desk.children.starting.shut()
    opens = [desk.open("a"), desk.open("b"), desk.open("b")]
    await until(lambda: desk.children.starting.came)
    desk.children.starting.open()
    actors = {where["actor"] for where in await asyncio.gather(*opens)}
    assert actors == {"host-1"}
    assert desk.children.starting.came == ["host-1"]
    assert desk.directory.session("s").handles == {"a": "d", "b": "d"}


async def test_closing_cuts_an_opening_short(desk: Desk, until: Until) -> None:
    """A session that is closed while it opens never starts: no event, no actor, and who opened is told."""
    desk.children.starting.shut()
    opening = desk.open()
    await until(lambda: desk.children.starting.came)
    await desk.close()
    with pytest.raises(SessionNotFound, match="while it was being opened"):
        await opening
    assert desk.log == []
    desk.children.starting.open()
    await until(lambda: desk.children.ending.came == ["host-1"])
    assert (await desk.open())["actor"] == "host-2"


async def test_opening_again_waits_for_the_ending(desk: Desk, until: Until) -> None:
    """The next opening begins when nothing of the former one is left."""
    await desk.open()
    desk.ending.shut()
    closing = desk.close()
    await until(lambda: desk.ending.came)
    opening = desk.open("again")
    await asyncio.sleep(0)
    assert not opening.done()
    desk.ending.open()
    await closing
    assert (await opening)["actor"] == "host-2"
    assert desk.log[-2:] == ["adopt host-2", "SessionStarted 2"]


async def test_all_who_close_wait_for_the_end(desk: Desk, until: Until) -> None:
    """A second close, and a detach meanwhile, return when the session has ended, which it does once."""
    await desk.open()
    desk.ending.shut()
    asked = [desk.close(), desk.close(), desk.detach()]
    await until(lambda: desk.ending.came)
    await asyncio.sleep(0)
    assert not any(task.done() for task in asked)
    desk.ending.open()
    await asyncio.gather(*asked)
    assert desk.log.count("SessionEnded 1") == 1


async def test_an_actor_that_does_not_start_leaves_no_session(desk: Desk) -> None:
    """A failed opening says why and leaves the id free for the next."""
    desk.children.failures["host-1"] = StartFailed("no CPUs")
    with pytest.raises(StartFailed, match="no CPUs"):
        await desk.open()
    assert desk.directory.sessions == {}
    assert (await desk.open())["actor"] == "host-2"


async def test_a_process_that_dies_at_adoption(desk: Desk) -> None:
    """It is an error of that session and does not say that the runtime is gone."""
    desk.errors["adopt"] = ActorGone("host-1 has died")
    with pytest.raises(StartFailed, match="session 's' could not be opened"):
        await desk.open()
    assert desk.children.alive == set()


async def test_an_ending_goes_through(desk: Desk) -> None:
    """Neither turns that cannot be ended nor a bus that takes nothing keep a session from ending."""
    await desk.open()
    desk.errors.update(end=ValueError("a bug"), publish=TimeoutError())
    await desk.close()
    assert "unregister s" in desk.log
    assert desk.children.alive == set()
    assert desk.directory.sessions == {}


async def test_a_lost_session_is_not_asked_for_its_turns(desk: Desk) -> None:
    """The end of a session of which nothing is left is said at once, with the reason."""
    await desk.open()
    desk.directory.died("host-1")
    await desk._ended(desk.directory.lose("s", "its process died"))
    assert "end host-1" not in desk.log
    assert "SessionEnded 1" in desk.log


async def test_a_refused_handle_changes_nothing(desk: Desk) -> None:
    """Attaching with other tools is refused and leaves the session as it was."""
    await desk.open("a", fingerprint="one")
    with pytest.raises(SessionConflict):
        await desk.open("b", fingerprint="two")
    assert desk.directory.session("s").handles == {"a": "d"}


async def test_a_sleeping_session_is_woken_by_whoever_asks(desk: Desk, until: Until) -> None:
    """Many who ask at once wake it once, in another actor, under its own opening; it has no second start."""
    await desk.open()
    desk.sleep()
    assert desk.directory.session("s").state == "passive"
    asked = [asyncio.create_task(desk.desk.wake("s", "test")) for _ in range(3)]
    found = await asyncio.gather(desk.open("again"), *asked)
    assert {(where["actor"], where["opening"], where["state"]) for where in found} == {("host-2", 1, "open")}
    assert desk.log == ["adopt host-1", "SessionStarted 1", "adopt host-2"]
    await until(lambda: desk.beside == ["SessionWoken"])


async def test_a_session_may_be_asked_to_stay_later(desk: Desk) -> None:
    """The first handle that wants it to stay has that noted where the session lives."""
    await desk.open()
    for handle in ("a", "b"):
        await desk.open(handle, stay=True)
    await desk.detach()
    assert desk.log == ["adopt host-1", "SessionStarted 1", "stay host-1"]


async def test_what_is_not_open_cannot_be_woken(desk: Desk) -> None:
    """Neither a session that never was nor one that has ended."""
    with pytest.raises(SessionNotFound):
        await desk.desk.wake("never", "test")
    await desk.open()
    await desk.close()
    with pytest.raises(SessionNotFound):
        await desk.desk.wake("s", "test")


async def test_a_session_of_which_the_store_has_nothing_is_lost(desk: Desk, until: Until) -> None:
    """Whoever asks for it is told, and it ends with the reason."""
    await desk.open()
    desk.sleep()
    del desk.rows["s"]
    with pytest.raises(SessionLost, match="has nothing of it"):
        await desk.desk.wake("s", "test")
    await desk.desk.ended("s")
    assert desk.log[-2:] == ["SessionEnded 1", "unregister s"]


async def test_a_process_that_dies_under_a_waking_session(desk: Desk) -> None:
    """Another one is tried; the session sleeps on where that dies, too."""
    await desk.open()
    desk.sleep()
    desk.errors["adopt"] = ActorGone("it has died")
    with pytest.raises(StartFailed):
        await desk.desk.wake("s", "test")
    assert desk.log.count("adopt host-2") == desk.log.count("adopt host-3") == 1
    assert desk.directory.session("s").state == "passive"
    del desk.errors["adopt"]
    assert (await desk.desk.wake("s", "test"))["actor"] == "host-4"


async def test_a_process_that_dies_as_it_has_taken_the_session(desk: Desk) -> None:
    """Where its death is heard of before its answer, the session is not taken to live there."""
    await desk.open()
    desk.sleep()
    desk.dying = {"host-2"}
    assert (await desk.desk.wake("s", "test"))["actor"] == "host-3"


async def test_sessions_go_to_sleep(desk: Desk) -> None:
    """One that its actor let go of sleeps; one that is in use, or lives elsewhere by now, goes on."""
    await desk.open()
    await desk.desk.rest("host-1", ["s", "unknown"])
    assert desk.directory.session("s").state == "open"
    await desk.desk.rest("host-0", ["s"])
    desk.releases = ["s"]
    await desk.desk.rest("host-1", ["s"])
    assert desk.directory.session("s").state == "passive"
    assert desk.log[2:] == ["release host-1", "release host-1"]
    assert len(desk.desk._lanes) == 0


async def test_a_session_that_is_busy_keeps_no_other_from_sleeping(desk: Desk) -> None:
    """Only those that nobody does anything about go to sleep; they wait for none of the others."""
    await desk.open()
    desk.releases = ["s"]
    async with desk.desk._lanes.of("other"):
        await desk.desk.rest("host-1", ["other", "s"])
    assert desk.directory.session("s").state == "passive"
    assert len(desk.desk._lanes) == 0


async def test_an_actor_that_does_not_say_what_it_let_go_of_is_asked_again(desk: Desk) -> None:
    """It may have let go of the session, which nobody could find otherwise."""
    actor = (await desk.open())["actor"]
    desk.releases, desk.unanswered = ["s"], ["release"]
    await desk.desk.rest(actor, ["s"])
    assert desk.log[-2:] == [f"release {actor}"] * 2
    assert desk.directory.session("s").state == "passive"


async def test_an_actor_drops_what_sleeps(desk: Desk) -> None:
    """It had it from an earlier life of the supervisor; nobody is told of it again."""
    await desk.open()
    desk.sleep()
    desk.releases = ["s"]
    await desk.desk.rest("host-9", ["s"])
    assert desk.log[-1] == "release host-9"
    assert desk.beside == []


async def test_a_sleeping_session_ends_in_the_store(desk: Desk) -> None:
    """It is closed there, without waking; one with turns to end is woken to end them."""
    await desk.open()
    desk.sleep()
    await desk.close()
    assert desk.log[2:] == ["closed s", "SessionEnded 1", "unregister s"]
    desk.log.clear()
    await desk.open()
    desk.sleep(pending=1)
    await desk.close()
    assert desk.log[2:] == ["adopt host-3", "end host-3", "SessionEnded 2", "unregister s"]
    assert desk.directory.sessions == {}


async def test_a_sleeping_session_is_woken_to_hear_of_its_end(desk: Desk) -> None:
    """Where a handler of its own listens for that; its actor goes only after it has heard."""
    await desk.open()
    desk.sleep()
    desk.listens = True
    await desk.close()
    assert desk.log[2:] == ["adopt host-2", "end host-2", "SessionEnded 1", "unregister s"]
    assert "host-2" not in desk.children.alive


async def test_closing_cuts_a_wake_short(desk: Desk, until: Until) -> None:
    """A session that is closed while it wakes ends once, and who asked for it is told."""
    await desk.open()
    desk.sleep()
    desk.children.starting.shut()
    waking = asyncio.create_task(desk.desk.wake("s", "test"))
    await until(lambda: desk.children.starting.came == ["host-1", "host-2"])
    await desk.close()
    with pytest.raises(SessionNotFound):
        await waking
    assert desk.log[2:] == ["closed s", "SessionEnded 1", "unregister s"]
    desk.children.starting.open()
