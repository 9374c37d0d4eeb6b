"""Who is in the runtime, and what follows when somebody goes."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.control import RuntimeStopping, SessionConflict, SessionNotFound
from llmgine.actors.supervisor.directory import FINISHED, Directory, Leases
from llmgine.actors.supervisor.entries import (
    DropClient,
    EndRuntime,
    EndSession,
)

LEASES = Leases(owner=10.0, sessions=30.0, subscriptions=60.0)


def directory(*, owned: bool = True) -> Directory:
    return Directory(LEASES, owned=owned, first_opening=1)


def spec(session: str = "s", *, stay: bool = False, fingerprint: str = "") -> dict[str, Any]:
    told = {"session_id": session, "model": "m/x", "stay": stay, "fingerprint": fingerprint}
    return {**told, "placement": "dedicated", "runs": ""}


def attach(
    to: Directory,
    session: str = "s",
    driver: str = "d",
    handle: str = "h",
    *,
    stay: bool = False,
    fingerprint: str = "",
    now: float = 0.0,
) -> bool:
    entry, new = to.attach(spec(session, stay=stay, fingerprint=fingerprint), driver, handle, now=now)
    if new:
        to.opened(entry.id, entry.opening, f"host-of-{session}")
    return new


def test_the_last_handle_ends_a_session() -> None:
    """A session ends when its last driver has detached, and not before."""
    known = directory()
    assert attach(known, handle="a")
    assert not attach(known, driver="e", handle="b")
    assert known.detach("s", "a", None) == []
    assert known.detach("s", "b", "boom") == [EndSession("s", "boom")]


def test_a_staying_session_outlives_its_handles() -> None:
    """A session opened with stay=True ends by close() only."""
    known = directory()
    attach(known, stay=True)
    assert known.detach("s", "h", None) == []
    assert known.close("s") == [EndSession("s", None)]


def test_an_ending_is_decided_once() -> None:
    """Whatever else happens to an ending session, it ends once."""
    known = directory()
    attach(known)
    assert known.close("s") == [EndSession("s", None)]
    assert known.close("s") == []
    assert known.detach("s", "h", None) == []
    assert known.died("host-of-s") == []
    assert known.lose("s", "its process died") == []
    known.ended("s", 1)
    with pytest.raises(SessionNotFound, match="'s'"):
        known.session("s")


def test_each_opening_has_its_own_number() -> None:
    """Opening an ended session again is a new opening; what is said of an older one changes nothing."""
    known = directory()
    attach(known)
    first = known.session("s")
    known.close("s")
    known.ended("s", first.opening)
    assert attach(known)
    second = known.session("s")
    assert second.opening > first.opening
    known.passivated("s", first.opening)
    known.opened("s", first.opening, "elsewhere")
    known.ended("s", first.opening)
    assert known.session("s") is second
    assert (second.state, second.actor) == ("open", "host-of-s")


def test_a_session_outlives_its_process() -> None:
    """What lived in a process that died is passive until it is woken; what lived elsewhere is not touched."""
    known = directory()
    attach(known, "a")
    attach(known, "b")
    assert known.died("host-of-a") == ["a"]
    entry = known.session("a")
    assert (entry.state, entry.actor, entry.handles) == ("passive", None, {"h": "d"})
    assert known.session("b").state == "open"
    known.opened("a", entry.opening, "host-2")
    assert (entry.state, entry.actor) == ("open", "host-2")
    assert known.died("host-of-a") == []


def test_a_session_of_which_nothing_is_left_ends() -> None:
    """A passive session that no store has ends with that reason, whoever is attached."""
    known = directory()
    attach(known, "a")
    known.died("host-of-a")
    assert known.lose("a", "gone") == [EndSession("a", "gone", lost=True)]
    assert known.lose("never", "gone") == []


def test_deaths_count_until_a_session_sleeps() -> None:
    """One that has come to rest in between is not what kills its process."""
    known = directory()
    attach(known, "a")
    entry = known.session("a")
    known.died("host-of-a")
    known.opened("a", entry.opening, "host-2")
    known.died("host-2")
    assert entry.deaths == 2
    known.opened("a", entry.opening, "host-3")
    known.passivated("a", entry.opening)
    assert (entry.state, entry.deaths) == ("passive", 0)


def test_a_passive_session_is_there() -> None:
    """Passivation is no end: handles stay, attaching finds it, and its last handle ends it."""
    known = directory()
    attach(known)
    known.passivated("s", known.session("s").opening)
    entry, new = known.attach(spec(), "e", "i", now=0.0)
    assert (new, entry.state, entry.handles) == (False, "passive", {"h": "d", "i": "e"})
    known.detach("s", "i", None)
    assert known.detach("s", "h", None) == [EndSession("s", None)]
    known.opened("s", entry.opening, "late")
    assert entry.state == "ending"


def test_other_tools_are_refused() -> None:
    """Attaching with other tools or another system prompt is refused; attaching without any is not."""
    known = directory()
    attach(known, fingerprint="one")
    assert not attach(known, handle="b")
    assert not attach(known, handle="c", fingerprint="one")
    with pytest.raises(SessionConflict, match="other tools"):
        attach(known, handle="d", fingerprint="two")


def test_a_lost_driver_keeps_its_sessions_for_its_lease() -> None:
    """A driver whose link was gone for 30 s loses its sessions, after 60 s its subscriptions."""
    known = directory(owned=False)
    known.driver_joined("d", owner=False, attached=())
    attach(known)
    known.driver_lost("d", 100.0)
    assert known.tick(129.9) == []
    assert known.tick(130.0) == [EndSession("s", "the link to its driver was lost")]
    assert known.tick(140.0) == []
    assert known.tick(160.0) == [DropClient("d")]
    assert known.tick(161.0) == []


def test_a_driver_that_comes_back_in_time_loses_nothing() -> None:
    """Reconnecting within the lease restores the driver with the sessions that it says it holds."""
    known = directory(owned=False)
    known.driver_joined("d", owner=False, attached=())
    attach(known)
    known.driver_lost("d", 100.0)
    known.driver_joined("d", owner=False, attached=[("s", "h")])
    assert known.tick(1000.0) == []
    assert known.session("s").handles == {"h": "d"}


def test_an_owner_is_waited_for_ten_seconds() -> None:
    """A runtime launched by a driver ends 10 s after that driver's link broke; a detached one does not."""
    known, detached = directory(), directory(owned=False)
    for each in (known, detached):
        each.await_owner(0.0)
        each.driver_joined("d", owner=True, attached=())
        each.driver_lost("d", 100.0)
    assert known.tick(109.9) == []
    assert known.tick(110.0) == [EndRuntime("its owner is gone")]
    assert detached.tick(110.0) == []


def test_an_owner_that_never_comes_is_not_waited_for_longer() -> None:
    """The owner's lease runs from the launch, also when the driver dies before its link stands."""
    known = directory()
    known.await_owner(50.0)
    assert known.tick(59.0) == []
    assert known.tick(60.0) == [EndRuntime("its owner is gone")]


def test_a_guest_that_leaves_ends_only_what_it_held() -> None:
    """A goodbye detaches the driver's own handles at once."""
    known = directory()
    known.driver_joined("d", owner=False, attached=())
    attach(known, "mine")
    attach(known, "ours")
    attach(known, "ours", "e", "i")
    assert known.driver_left("d") == [EndSession("mine", "its driver left")]
    assert known.session("ours").handles == {"i": "e"}


def test_a_restarted_supervisor_rebuilds_from_reports() -> None:
    """Sessions report themselves, drivers what they hold; one that no driver claims ends after the lease."""
    known = directory()
    known.driver_joined("early", owner=False, attached=[("early's", "e")])
    for session, opening in (("held", 7), ("orphan", 8), ("early's", 9)):
        known.found({**spec(session), "opening": opening}, "host-1", 100.0)
    known.driver_joined("d", owner=True, attached=[("held", "h"), ("unknown", "i")])
    assert known.tick(129.0) == []
    assert known.tick(130.0) == [EndSession("orphan", "its drivers did not come back")]
    assert attach(known, "new")
    assert known.session("new").opening == 10
    assert known.detach("early's", "e", None) == [EndSession("early's", None)]


def test_a_stopping_runtime_opens_nothing() -> None:
    """Stopping ends every session once and refuses new ones with the reason."""
    known = directory()
    attach(known, "a")
    attach(known, "b", stay=True)
    assert known.stop(keeps=False) == [EndSession("a", None), EndSession("b", None)]
    assert known.stop(keeps=False) == []
    with pytest.raises(RuntimeStopping):
        attach(known, "c")


def test_sessions_that_stay_outlive_a_runtime_whose_store_keeps_them() -> None:
    """They have no end then: the next launch finds them; the others end."""
    known = directory()
    attach(known, "a")
    attach(known, "b", stay=True)
    assert known.stop(keeps=True) == [EndSession("a", None)]


def test_what_only_had_turns_to_finish_ends_when_it_is_idle() -> None:
    """A session that was woken for its turns alone is not held by a handle, and ends when they have ended."""
    known = directory()
    entry = known.found({**spec(), "opening": 5}, None, 0.0)
    entry.finishing, entry.orphan_until = True, None
    known.opened("s", 5, "host-1")
    assert not attach(known, handle="a")
    assert known.detach("s", "a", None) == []
    assert known.idle("s") == [EndSession("s", FINISHED)]
    assert known.idle("s") == known.idle("t") == []


def test_long_leases_are_kept() -> None:
    """A driver is forgotten when it has lost both its sessions and its subscriptions, in whichever order."""
    known = Directory(Leases(sessions=100.0, subscriptions=60.0), owned=False, first_opening=1)
    known.driver_joined("d", owner=False, attached=())
    attach(known)
    known.driver_lost("d", 0.0)
    assert known.tick(60.0) == [DropClient("d")]
    assert known.tick(61.0) == []
    assert known.tick(100.0) == [EndSession("s", "the link to its driver was lost")]
    assert known.drivers == {}


def test_a_driver_that_was_never_here_has_its_lease() -> None:
    """A session that was opened for a driver whose link never stood ends after the lease."""
    known = directory(owned=False)
    attach(known, driver="ghost", now=100.0)
    assert known.tick(129.0) == []
    assert known.tick(130.0) == [EndSession("s", "the link to its driver was lost")]


def test_an_end_is_decided_once() -> None:
    """A runtime whose owner is gone is ended once, and opens nothing meanwhile."""
    known = directory()
    known.await_owner(0.0)
    assert known.tick(10.0) == [EndRuntime("its owner is gone")]
    assert known.tick(11.0) == []
    with pytest.raises(RuntimeStopping):
        attach(known)


def test_an_ending_is_not_undone_by_an_opening() -> None:
    """A session that was closed while it opened stays closed, and one that is opening cannot be lost."""
    known = directory()
    entry, _ = known.attach(spec(), "d", "h", now=0.0)
    assert known.died("host-1") == []
    assert known.close("s") == [EndSession("s", None)]
    known.opened("s", entry.opening, "host-1")
    assert known.session("s").state == "ending"
    assert known.close("nowhere") == []


def test_what_the_store_alone_has_is_passive() -> None:
    """A session that no actor reports is found passive, with a number that no next opening repeats."""
    known = directory()
    found = known.found({**spec(stay=True), "opening": 5}, None, 100.0)
    assert (found.state, found.actor) == ("passive", None)
    assert known.found({**spec(stay=True), "opening": 5}, "host-1", 100.0) is found
    assert known.tick(200.0) == []
    assert attach(known, "t")
    assert known.session("t").opening == 6


def child(to: Directory, session: str, parent: str) -> bool:
    entry, new = to.attach({**spec(session), "parent": parent}, parent, "any", now=0.0)
    if new:
        to.opened(entry.id, entry.opening, f"host-of-{session}")
    return new


def test_a_session_that_another_opened_ends_with_it() -> None:
    """It is held by that one, whatever becomes of drivers, and no longer than it is there."""
    known = directory()
    attach(known, "p", stay=True)
    assert child(known, "p/c", "p")
    assert not child(known, "p/c", "p")
    assert not any(isinstance(decision, EndSession) for decision in known.tick(1000.0))
    opening = known.session("p").opening
    assert known.orphaned("other") == []
    known.ended("p", opening)
    assert known.orphaned("p") == [EndSession("p/c", "the session that asked it has ended")]


def test_a_session_that_another_opened_is_let_go_by_it() -> None:
    """Its handle is off: it ends, and the one that asked goes on."""
    known = directory()
    attach(known, "p")
    child(known, "p/c", "p")
    assert known.detach("p/c", "parent", None) == [EndSession("p/c", None)]
    assert known.session("p").state == "open"


def test_only_an_open_session_opens_others() -> None:
    """One that has ended asks nobody."""
    with pytest.raises(SessionNotFound):
        child(directory(), "p/c", "p")


def test_after_a_restart_a_session_is_held_by_the_one_that_opened_it() -> None:
    """It stays while that one is there too, and ends after the lease where it is not."""
    for parents, ends in ((["p"], []), ([], ["p/c"])):
        known = directory(owned=False)
        for session in [*parents, "p/c"]:
            told = {**spec(session, stay=session == "p"), "opening": 1}
            known.found({**told, "parent": "p" if session == "p/c" else None}, "host-1", 0.0)
        assert [end.session_id for end in known.tick(31.0) if isinstance(end, EndSession)] == ends
