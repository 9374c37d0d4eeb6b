"""Which actor takes a session, and how many actors there should be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.sessions import RuntimeOverloaded, SessionOptions
from llmgine.actors.supervisor.hosts import Hosts, Placement, Wish


def hosts(**options: Any) -> Hosts:
    return Hosts(SessionOptions(**{"warm": 0, "slots": 2, **options}))


def wish(session: str, placement: Placement = "dedicated", runs: str = "") -> Wish:
    return Wish(session, placement, runs)


def started(known: Hosts, seconds: float = 1.0) -> list[str]:
    """What is to be started has started."""
    names = known.starts()
    for name in names:
        known.up(name, seconds)
    return names


def placed(known: Hosts, *wishes: Wish) -> list[str]:
    """Where each session went, actors for them having been started."""
    for each in wishes:
        known.ask(each)
    found = dict(known.assign())
    while len(found) < len(wishes):
        assert started(known)
        found |= dict(known.assign())
    return [found[each] for each in wishes]


def test_a_warm_actor_takes_a_session_at_once() -> None:
    """A blank actor that is ready is taken without waiting, and another is started in its place."""
    known = hosts(warm=1)
    assert started(known) == ["host-1"]
    known.ask(wish("a"))
    assert known.assign() == [(wish("a"), "host-1")]
    assert known.starts() == ["host-2"]
    assert known.starts() == []


def test_dedicated_sessions_share_no_actor() -> None:
    """Each dedicated session has an actor of its own."""
    assert placed(hosts(), wish("a"), wish("b"), wish("c")) == ["host-1", "host-2", "host-3"]


def test_pooled_sessions_fill_the_slots_of_an_actor() -> None:
    """As many pooled sessions share an actor as it has slots, and no more are started than they need."""
    known = hosts()
    assert placed(known, *(wish(one, "pooled") for one in "abc")) == ["host-1", "host-1", "host-2"]
    assert placed(known, wish("d", "pooled")) == ["host-2"]


def test_a_pooled_session_goes_where_most_are() -> None:
    """The fullest actor with room is chosen, so that others empty."""
    known = hosts(slots=3)
    placed(known, *(wish(one, "pooled") for one in "abcde"))
    known.left("a", "host-1")
    known.left("b", "host-1")
    assert placed(known, wish("f", "pooled")) == ["host-2"]


def test_other_code_means_another_actor() -> None:
    """Pooled sessions share an actor with those of the same code alone."""
    known = hosts()
    assert placed(known, wish("a", "pooled", "x"), wish("b", "pooled", "y")) == ["host-1", "host-2"]
    assert placed(known, wish("c", "pooled", "x"), wish("d", "pooled")) == ["host-1", "host-3"]


def test_an_actor_that_ran_code_ends_with_its_last_session() -> None:
    """It serves nobody else; one that ran none is blank again, and takes whoever comes."""
    known = hosts(warm=1)
    placed(known, wish("a", runs="x"), wish("b", "pooled"))
    started(known)
    known.left("a", "host-1")
    known.left("b", "host-2")
    assert known.ends() == ["host-1"]
    assert placed(known, wish("c")) == ["host-2"]


def test_more_warm_actors_than_twice_the_wish_end() -> None:
    """Blank actors beyond that are ended, so that a burst leaves nothing behind."""
    known = hosts(warm=1)
    placed(known, *(wish(str(one)) for one in range(4)))
    for number in range(4):
        known.left(str(number), f"host-{number + 1}")
    started(known)
    assert known.ends() == ["host-1", "host-2"]
    assert known.snapshot()["warm"] == 2
    assert known.ends() == []


def test_starts_are_bounded() -> None:
    """No more actors start at the same time than the settings say."""
    known = hosts(starting=2)
    for number in range(5):
        known.ask(wish(str(number)))
    assert known.starts() == ["host-1", "host-2"]
    assert known.starts() == []
    known.up("host-1", 1.0)
    assert [one.session_id for one, _ in known.assign()] == ["0"]
    assert known.starts() == ["host-3"]


def test_too_many_that_wait_are_refused() -> None:
    """The refusal says after how long to ask again: as long as those in front take to start."""
    known = hosts(starting=1, waiting=2)
    for number in range(2):
        known.ask(wish(str(number)))
    with pytest.raises(RuntimeOverloaded, match=r"sessions\.warm") as refused:
        known.ask(wish("2"))
    assert refused.value.retry_after == 2.0
    assert known.snapshot()["waiting"] == 2


def test_pooled_sessions_wait_together_for_one_actor() -> None:
    """What is bounded are the actors that are waited for, and many pooled sessions need but one."""
    known = hosts(waiting=1, slots=10)
    for number in range(10):
        known.ask(wish(str(number), "pooled"))
    with pytest.raises(RuntimeOverloaded, match="1 actors"):
        known.ask(wish("10", "pooled"))
    started(known)
    assert len(known.assign()) == 10


def test_too_many_open_sessions_are_refused() -> None:
    """Beyond the limit a session is refused until another leaves."""
    known = hosts(open_sessions=2)
    placed(known, wish("a", "pooled"), wish("b", "pooled"))
    with pytest.raises(RuntimeOverloaded, match="2 sessions are open"):
        known.ask(wish("c", "pooled"))
    known.left("a", "host-1")
    assert placed(known, wish("c", "pooled")) == ["host-1"]


def test_a_failed_start_is_told_to_who_waits_longest() -> None:
    """One that waits is told for each actor that does not start, so that nobody waits for ever."""
    known = hosts()
    for one in "ab":
        known.ask(wish(one))
    first, second = known.starts()
    assert known.failed(first) == wish("a")
    known.up(second, 1.0)
    assert known.assign() == [(wish("b"), second)]
    known.ask(wish("c"))
    known.withdraw(wish("c"))
    assert known.starts() == []


def test_an_actor_may_die_while_it_starts() -> None:
    """Whether its start then counts as failed or as done, the actor is gone, and another is started."""
    known = hosts()
    for one in "ab":
        known.ask(wish(one))
    first, second = known.starts()
    known.gone(first)
    known.gone(second)
    assert known.failed(first) == wish("a")
    known.up(second, 1.0)
    assert known.assign() == []
    assert known.starts() == ["host-3"]


def test_a_retired_actor_takes_no_more_sessions() -> None:
    """It ends when those that it has have left it."""
    known = hosts(warm=0)
    placed(known, wish("a", "pooled"))
    assert known.retire("host-1") == {"a"}
    assert placed(known, wish("b", "pooled")) == ["host-2"]
    assert known.ends() == []
    known.left("a", "host-1")
    assert known.ends() == ["host-1"]
    known.gone("host-2")
    assert known.retire("host-2") == set()
    known.left("b", "host-2")


def test_a_restarted_supervisor_finds_its_actors() -> None:
    """They are as they were; no name is given again; one that had run code and is empty ends."""
    known = hosts(warm=1)
    told = {"session_id": "a", "placement": "pooled"}
    known.found({"name": "host-4", "runs": "x", "sessions": [told], "stopping": False})
    known.found({"name": "host-2", "runs": "", "sessions": [], "stopping": False})
    known.found({"name": "host-3", "runs": "x", "sessions": [], "stopping": False})
    known.avoid(["host-9", "router-0", "host-of-none"])
    assert known.ends() == ["host-3"]
    assert placed(known, wish("b", "pooled", "x"), wish("c")) == ["host-4", "host-2"]
    assert known.starts() == ["host-10"]


def test_a_stopping_runtime_starts_nothing() -> None:
    """Neither for those that wait nor to keep one warm."""
    known = hosts(warm=2)
    known.stop()
    known.ask(wish("a"))
    assert known.starts() == []


@given(st.data())
def test_no_actor_ever_breaks_its_rules(data: st.DataObject) -> None:
    """Whatever comes and goes: slots are kept, dedicated sessions are alone, and no code meets another's."""
    known = hosts(warm=1, waiting=50)
    at: dict[str, tuple[Wish, str]] = {}
    code: dict[str, str] = {}
    for number in range(data.draw(st.integers(1, 40))):
        match data.draw(st.sampled_from(["ask", "leave", "start", "die", "retire"])):
            case "ask":
                placement: Placement = data.draw(st.sampled_from(["dedicated", "pooled"]))
                known.ask(Wish(str(number), placement, data.draw(st.sampled_from(["", "x", "y"]))))
            case "leave" if at:
                session = data.draw(st.sampled_from(sorted(at)))
                known.left(session, at.pop(session)[1])
            case "start":
                started(known)
            case what if at:
                host = data.draw(st.sampled_from(sorted({host for _, host in at.values()})))
                if what == "retire":
                    known.retire(host)
                else:
                    known.gone(host)
                    at = {one: place for one, place in at.items() if place[1] != host}
        for given_, host in known.assign():
            assert code.setdefault(host, given_.runs) in ("", given_.runs)
            code[host] = given_.runs
            at[given_.session_id] = (given_, host)
        for host in known.ends():
            assert host not in {place for _, place in at.values()}
        for host in {place for _, place in at.values()}:
            here = [one for one, place in at.values() if place == host]
            assert len(here) <= (1 if here[0].placement == "dedicated" else 2)
            assert len({(one.placement, one.runs) for one in here}) == 1
