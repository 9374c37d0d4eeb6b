"""The schedule core against a tiny model: what is to fire when, whatever crashes in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmgine.actors.bus.payload import read_body
from llmgine.actors.bus.router.records import Origin
from tests.actors.bus.router.desk import SECOND, Desk

GRACE = 1e6
IDS = st.sampled_from(["a", "b", "c"])
CRONS = st.sampled_from(["* * * * *", "*/2 * * * *"])


@dataclass
class Expected:
    """One acknowledged schedule: nothing of it fires before `at`."""

    epoch: int
    at: int
    every: float | None = None
    cron: str | None = None


class ScheduleAgainstAModel(RuleBasedStateMachine):
    """An acknowledged event fires, never early, one firing at a time, until it is handled or cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(misfire_grace=GRACE)
        self.model: dict[str, Expected] = {}
        self.pending: list[tuple[str, Any, Expected | None]] = []
        self.handled: set[tuple[str, int, int]] = set()

    @rule(
        id_=IDS,
        after=st.integers(0, 200),
        how=st.one_of(
            st.just({}),
            st.fixed_dictionaries({"every": st.integers(1, 90)}),
            st.fixed_dictionaries({"cron": CRONS}),
        ),
    )
    def schedule(self, id_: str, after: int, how: dict[str, Any]) -> None:
        self.desk.now += 0.001
        row = self.desk.row(id_, after=after, **how)
        answer = self.desk.schedule(id_, after=after, **how)
        self.pending.append((id_, answer, Expected(row.created, row.at, row.every, row.cron)))
        self._look()

    @rule(id_=IDS)
    def cancel(self, id_: str) -> None:
        self.pending.append((id_, self.desk.ask("unschedule", {"id": id_}), None))
        self._look()

    @rule()
    def commit(self) -> None:
        self.desk.store()
        self._look()

    def _look(self) -> None:
        """What has been answered holds from now on."""
        waiting = []
        for id_, answer, expected in self.pending:
            said = answer()
            if said is None:
                waiting.append((id_, answer, expected))
            elif expected is not None and "at" in said:
                self.model[id_] = expected
            elif expected is None and isinstance(said, dict) and said["cancelled"]:
                self.model.pop(id_, None)
        self.pending = waiting

    @rule(seconds=st.sampled_from([0.5, 1.0, 30.0, 61.0]))
    def pass_time(self, seconds: float) -> None:
        self.desk.pass_time(seconds)
        self._look()

    @rule(seconds=st.integers(-40, 40))
    def clock_jumps(self, seconds: int) -> None:
        self.desk.drift += seconds * SECOND

    @precondition(lambda self: self.desk.sent)
    @rule(data=st.data(), success=st.booleans())
    def settle(self, data: st.DataObject, success: bool) -> None:
        origin: Origin = data.draw(st.sampled_from(self.desk.sent))
        id_ = origin.producer.partition(":")[2]
        self.desk.settle(origin, success)
        self.handled.add((id_, origin.epoch, origin.sequence))
        self.desk.store()
        self._look()
        expected = self.model.get(id_)
        if expected is None or expected.epoch != origin.epoch:
            return
        if expected.every is None and expected.cron is None:
            del self.model[id_]
        else:
            before = expected.at
            expected.at = self.desk.rows[id_].at
            assert expected.at > before

    @precondition(lambda self: not self.pending)
    @rule()
    def crash(self) -> None:
        """The router dies: the store keeps what it has, and firings come again."""
        former = self.desk
        self.desk = Desk(misfire_grace=GRACE)
        self.desk.now, self.desk.drift, self.desk.rows = former.now, former.drift, former.rows
        self.desk.schedules.recover(list(former.rows.values()))

    @invariant()
    def firings_are_right(self) -> None:
        self.desk.validate()
        ids = [origin.producer.partition(":")[2] for origin in self.desk.sent]
        current = [
            id_
            for id_, origin in zip(ids, self.desk.sent, strict=True)
            if id_ in self.model and self.model[id_].epoch == origin.epoch
        ]
        assert len(set(current)) == len(current), "firings of one schedule overlap"
        for id_, origin in zip(ids, self.desk.sent, strict=True):
            assert (id_, origin.epoch, origin.sequence) not in self.handled, "a handled firing came again"
            expected = self.model.get(id_)
            if expected is not None and expected.epoch == origin.epoch:
                assert read_body(origin.body).time >= expected.at, "it fired before its time"

    @invariant()
    def what_is_acknowledged_is_in_the_store(self) -> None:
        if not self.pending:
            assert self.model.keys() <= self.desk.rows.keys()
            for id_, expected in self.model.items():
                assert self.desk.rows[id_].created == expected.epoch

    def teardown(self) -> None:
        """In the end everything that is due has fired."""
        self.desk.store()
        self._look()
        self.desk.drift += 1_000 * SECOND
        for _ in range(3):
            self.desk.pass_time(0.1)
        firing = {origin.producer.partition(":")[2] for origin in self.desk.sent}
        assert self.model.keys() <= firing


ScheduleAgainstAModel.TestCase.settings = settings(max_examples=60, stateful_step_count=50)
TestScheduleAgainstAModel = ScheduleAgainstAModel.TestCase
