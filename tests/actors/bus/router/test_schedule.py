"""Scheduled events in the router."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmgine.actors.bus.payload import read_body
from llmgine.actors.bus.router.schedule import AT_ONCE, PAGE
from llmgine.actors.store.coding import row_to_wire
from llmgine.actors.store.operations import SetAside
from llmgine.actors.store.rows import ScheduleRow
from tests.actors.bus.router.desk import SECOND, START, Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


def scheduled(desk: Desk, id_: str = "s", **row: Any) -> None:
    answer = desk.schedule(id_, **row)
    desk.store()
    assert "at" in answer()


def crash(desk: Desk, **options: Any) -> Desk:
    """The next life of the router, with what the store has, at the same time."""
    after = Desk(**options)
    after.now, after.drift = desk.now, desk.drift
    after.rows, after.letters = desk.rows, desk.letters
    after.schedules.recover(list(desk.rows.values()))
    return after


def test_it_fires_not_before_its_time_and_soon_after(desk: Desk) -> None:
    """A scheduled event is acknowledged when stored, published at its time, and forgotten when handled."""
    answer = desk.schedule(after=10.0)
    assert answer() is None
    desk.store()
    assert answer() == {"at": START + 10 * SECOND}
    assert desk.schedules.next_time(desk.now, desk.wall()) == 10.0
    desk.pass_time(9.999)
    assert desk.sent == []
    desk.pass_time(0.001)
    (firing,) = desk.sent
    assert (firing.session, firing.sequence, firing.producer) == ("chat", 1, "schedule:s")
    assert read_body(firing.body).time == START + 10 * SECOND
    assert read_body(firing.body).fields == {"text": "s"}
    assert desk.rows.keys() == {"s"}, "a crash now fires it again"
    desk.settle(firing)
    desk.store()
    assert desk.rows == {}
    assert desk.schedules.next_time(desk.now, desk.wall()) is None
    desk.validate()


def test_the_wall_clock_may_jump(desk: Desk) -> None:
    """What is due is seen from the wall clock at each tick: no jump fires it early, or keeps it back."""
    scheduled(desk, after=100.0)
    desk.drift -= 50 * SECOND
    desk.pass_time(100.0)
    assert desk.sent == []
    desk.drift += 51 * SECOND
    desk.pass_time(0.1)
    assert len(desk.sent) == 1


def test_cancelling_works_until_it_fires(desk: Desk) -> None:
    """Before its time it goes; from then on the answer says that it was too late; another id is unknown."""
    for id_ in ("early", "late"):
        scheduled(desk, id_, after=2.0)
    early = desk.ask("unschedule", {"id": "early"})
    desk.pass_time(2.0)
    assert [one.producer for one in desk.sent] == ["schedule:late"], "not while it is being cancelled"
    desk.store()
    assert early() == {"cancelled": True}
    assert desk.rows.keys() == {"late"}
    assert desk.ask("unschedule", {"id": "late"})() == {"cancelled": False}
    assert desk.ask("unschedule", {"id": "nothing"})() == {"cancelled": False}
    desk.validate()


def test_one_that_recurs_keeps_its_beat_and_never_overlaps(desk: Desk) -> None:
    """The next firing comes when the one before is handled, at a time of the row's own."""
    scheduled(desk, every=10.0)
    desk.pass_time()
    (first,) = desk.sent
    desk.pass_time(25.0)
    assert desk.sent == [first]
    desk.settle(first)
    desk.store()
    assert desk.rows["s"].at == START + 20 * SECOND
    assert desk.rows["s"].fired == 1
    desk.pass_time()
    (second,) = desk.sent
    assert second.sequence == 2
    desk.settle(second)
    desk.pass_time(4.9)
    assert desk.sent == []
    desk.pass_time(0.1)
    assert desk.sent[0].sequence == 3


def test_until_ends_it(desk: Desk) -> None:
    """The last firing is the last one that is not after `until`."""
    scheduled(desk, every=10.0, until=START + 15 * SECOND)
    for _ in range(2):
        desk.pass_time(10.0)
        desk.settle(desk.sent[0])
    desk.store()
    assert desk.rows == {}


def test_after_a_crash_it_fires_once_with_its_own_fields(desk: Desk) -> None:
    """Pending ones survive; what was handled and moved on does not come again."""
    scheduled(desk, "once", after=10.0)
    scheduled(desk, "again", after=5.0, every=60.0)
    desk.pass_time(5.0)
    desk.settle(desk.sent[0])
    desk.store()
    after = crash(desk)
    after.pass_time(5.0)
    (firing,) = after.sent
    assert firing.producer == "schedule:once"
    assert read_body(firing.body).fields == {"text": "once"}
    assert after.rows["again"].at == START + 65 * SECOND


def test_a_firing_whose_end_was_lost_comes_again_as_the_same_message(desk: Desk) -> None:
    """After a crash between handler and store it has the same identity, by which handlers know it."""
    scheduled(desk, after=1.0)
    desk.pass_time(1.0)
    (first,) = desk.sent
    desk.settle(first)
    after = crash(desk)
    after.pass_time()
    (second,) = after.sent
    assert (first.producer, first.epoch, first.session, first.sequence) == (
        second.producer,
        second.epoch,
        second.session,
        second.sequence,
    )


def test_what_came_due_while_nobody_was_there_fires_once(desk: Desk) -> None:
    """Of many missed times one fires, late; `skip` leaves them out and goes on."""
    scheduled(desk, "fire", every=10.0, after=10.0)
    scheduled(desk, "skip", every=10.0, after=10.0, misfire="skip")
    desk.now += 128.0
    after = crash(desk)
    after.pass_time()
    (firing,) = after.sent
    assert firing.producer == "schedule:fire"
    after.settle(firing)
    after.store()
    assert after.rows["fire"].at == START + 120 * SECOND, "the last of those that were missed, once"
    assert after.rows["skip"].at == START + 130 * SECOND
    after.pass_time()
    after.settle(after.sent[0])
    after.store()
    assert after.rows["fire"].at == START + 130 * SECOND


@pytest.mark.parametrize(("misfire", "late"), [("fire", 3_601.0), ("skip", 6.0)])
def test_what_comes_too_late_is_a_dead_letter(desk: Desk, misfire: str, late: float) -> None:
    """One that is beyond its grace is not fired; it is kept as expired, and its row goes."""
    scheduled(desk, after=1.0, misfire=misfire)
    desk.now += 1.0 + late
    after = crash(desk)
    after.pass_time()
    after.store()
    assert [one for one in after.sent if not one.producer.startswith("letters:")] == []
    (letter,) = after.letters.values()
    assert (letter.reason, letter.handler) == ("expired", "")
    assert after.rows == {}


def test_it_waits_for_a_handler_up_to_its_grace() -> None:
    """Where nobody handles it at its time, it fires when somebody does, or is a dead letter in the end."""
    desk = Desk(misfire_grace=10.0)
    desk.handled = False
    scheduled(desk, "found")
    scheduled(desk, "lost")
    desk.pass_time()
    assert desk.schedules.statistics()["schedules_unhandled"] == 2
    desk.pass_time(5.0)
    desk.handled = True
    answer = desk.ask("unschedule", {"id": "lost"})
    desk.pass_time(1.0)
    desk.store()
    assert answer() == {"cancelled": True}
    assert [one.producer for one in desk.sent] == ["schedule:found"]
    desk.handled = False
    scheduled(desk, "never")
    desk.pass_time()
    desk.pass_time(10.5)
    desk.store()
    (letter,) = desk.letters.values()
    assert (letter.reason, letter.message.split(":")[1]) == ("no_handler", "never")
    desk.validate()


def test_a_new_handler_is_noticed_at_once(desk: Desk) -> None:
    """What waits for a handler fires soon after one is registered."""
    desk.handled = False
    scheduled(desk)
    desk.pass_time()
    desk.handled = True
    desk.pass_time(0.1)
    assert desk.sent == []
    desk.handler("new")
    desk.pass_time(0.1)
    assert len(desk.sent) == 1


def test_thousands_at_one_time_are_spread_over_ticks(desk: Desk) -> None:
    """One tick fires a bounded number, and says that there is more to do at once."""
    rows = [desk.row(f"s{number:05}", after=1.0) for number in range(3 * AT_ONCE)]
    desk.schedules.recover(rows)
    desk.pass_time(1.0)
    assert len(desk.sent) == AT_ONCE
    assert desk.schedules.next_time(desk.now, desk.wall()) == desk.now
    desk.pass_time()
    desk.pass_time()
    assert len({one.producer for one in desk.sent}) == 3 * AT_ONCE


def test_a_damaged_row_is_set_aside_and_the_others_go_on(desk: Desk) -> None:
    """What cannot be read goes to the damaged ones with the reason."""
    good = desk.row("good")
    damaged = [
        replace(good, id="cron", cron="often"),
        replace(good, id="body", body=b""),
        replace(good, id="both", every=1.0, cron="* * * * *"),
        replace(good, id="policy", misfire="maybe"),
        replace(good, id="zone", cron="* * * * *", zone="Nowhere/Land"),
    ]
    desk.schedules.recover([*damaged, good])
    batch = desk.writes.take()
    assert batch is not None
    assert [one.id for one in batch[1] if isinstance(one, SetAside)] == [row.id for row in damaged]
    desk.pass_time()
    assert [one.producer for one in desk.sent] == ["schedule:good"]
    assert desk.schedules.statistics()["schedules_set_aside"] == 5


def test_what_the_store_does_not_take_is_refused_and_does_not_fire(desk: Desk) -> None:
    """Without the store nothing is scheduled, and the error names what mends it."""
    answer = desk.schedule()
    desk.pass_time(desk.options.journal_timeout)
    assert answer()[:2] == ("refused", "store")
    assert "journal_timeout" in answer()[2]
    desk.store()
    desk.pass_time(1.0)
    assert (desk.sent, desk.rows, len(desk.schedules)) == ([], {}, 0)


def test_a_cancellation_that_the_store_does_not_take_leaves_it_in_place(desk: Desk) -> None:
    """It is refused, and fires."""
    scheduled(desk, after=1.0)
    answer = desk.ask("unschedule", {"id": "s"})
    assert desk.writes.take() is not None
    desk.pass_time(desk.options.journal_timeout)
    assert answer()[:2] == ("refused", "store")
    desk.pass_time()
    assert len(desk.sent) == 1
    desk.writes.written(2)
    desk.store()
    assert desk.rows.keys() == {"s"}, "what may have been dropped is there again"
    desk.validate()


def test_the_same_id_again_takes_the_place_of_the_former(desk: Desk) -> None:
    """There is one of a name; where the newer one is not stored, the former stays."""
    scheduled(desk, after=100.0)
    desk.now += 1
    scheduled(desk, after=5.0)
    assert desk.rows["s"].at == START + 6 * SECOND
    desk.now += 1
    answer = desk.schedule(after=50.0)
    desk.pass_time(desk.options.journal_timeout)
    assert answer()[0] == "refused"
    assert [one.producer for one in desk.sent] == ["schedule:s"]
    desk.validate()


def test_asking_again_schedules_it_once(desk: Desk) -> None:
    """A client whose link broke asks again, before the store has it, after, and when it has fired."""
    wire = {"row": row_to_wire(desk.row())}
    answers = [desk.ask("schedule", wire), desk.ask("schedule", wire)]
    desk.store()
    answers.append(desk.ask("schedule", wire))
    desk.pass_time()
    desk.settle(desk.sent[0])
    desk.store()
    answers.append(desk.ask("schedule", wire))
    assert {answer()["at"] for answer in answers} == {START}
    desk.store()
    desk.pass_time()
    assert (desk.sent, desk.rows) == ([], {})


def test_one_that_recurs_goes_on_while_the_store_is_away(desk: Desk) -> None:
    """Its moves wait for the store as one write, however often it fires meanwhile."""
    scheduled(desk, every=1.0)
    for _ in range(100):
        desk.pass_time(1.0)
        desk.settle(desk.sent[0])
    assert len(desk.writes) == 1
    desk.store()
    assert desk.rows["s"].fired == 100


def test_the_list_comes_in_pages(desk: Desk) -> None:
    """All that is scheduled, by id."""
    desk.schedules.recover([desk.row(f"s{number:05}", after=100.0) for number in range(PAGE + 5)])
    first = desk.ask("scheduled", {})()
    assert (len(first["rows"]), first["next"]) == (PAGE, f"s{PAGE - 1:05}")
    second = desk.ask("scheduled", {"after": first["next"]})()
    assert [row[0] for row in second["rows"]] == [f"s{number:05}" for number in range(PAGE, PAGE + 5)]
    assert second["next"] is None


def test_cancelled_ones_leave_no_memory_behind(desk: Desk) -> None:
    """The heap holds no more than twice what is scheduled."""
    desk.schedules.recover([desk.row(f"s{number}", after=1e6) for number in range(1_000)])
    for number in range(1_000):
        desk.ask("unschedule", {"id": f"s{number}"})
    desk.store()
    desk.validate()
    assert len(desk.schedules) == 0


def test_who_asks_before_the_store_has_spoken_waits_for_it() -> None:
    """A router that has just begun knows nothing yet, and does not say that there is nothing."""
    desk = Desk(recovered=False)
    listed, cancelled, saved = (
        desk.ask("scheduled", {}),
        desk.ask("unschedule", {"id": "kept"}),
        desk.schedule("new", after=1.0),
    )
    assert (listed(), cancelled(), saved()) == (None, None, None)
    desk.schedules.recover([desk.row("kept", after=100.0)])
    desk.store()
    assert [row[0] for row in listed()["rows"]] == ["kept"]
    assert cancelled() == {"cancelled": True}
    assert desk.rows.keys() == {"new"}


def test_who_waits_for_the_store_in_vain_is_told() -> None:
    """After the journal's patience, with what mends it."""
    desk = Desk(recovered=False)
    answer = desk.schedule()
    desk.pass_time(desk.options.journal_timeout)
    assert answer()[:2] == ("refused", "store")
    desk.schedules.recover([])
    desk.store()
    assert desk.rows == {}


def test_what_is_no_schedule_is_refused(desk: Desk) -> None:
    """A question that the verbs do not understand changes nothing."""
    assert desk.ask("schedule", {"row": [1]})()[:2] == ("refused", "invalid")
    assert desk.schedule(cron="never")()[:2] == ("refused", "invalid")
    bad: ScheduleRow = replace(desk.row(), lineage="")
    assert desk.ask("schedule", {"row": row_to_wire(bad)})()[:2] == ("refused", "invalid")
    assert desk.writes.take() is None


def test_an_id_used_again_is_another_identity(desk: Desk) -> None:
    """What is scheduled under an old name is no duplicate of what was."""
    scheduled(desk)
    desk.pass_time()
    first = desk.sent[0]
    desk.settle(first)
    desk.now += 1.0
    scheduled(desk)
    desk.pass_time()
    assert desk.sent[0].epoch != first.epoch
