"""Scheduled events: some are made, a few cancelled; each that was acknowledged fires or is accounted for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgpack

from llmgine.actors.store.coding import row_to_wire
from llmgine.actors.store.rows import ScheduleRow
from tests.simulation.plan import EVENTS

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World


class Scheduled:
    """One scheduled event as its maker knows it."""

    __slots__ = ("acknowledged", "asked", "at", "cancelled", "key", "row", "step", "subscribers")

    def __init__(self, row: ScheduleRow, key: str, step: int) -> None:
        self.row = row
        self.key = key
        # When it was asked for, and when that was answered.
        self.asked = self.step = step
        self.at = row.at
        # Who handled such events when it was acknowledged.
        self.subscribers: tuple[str, ...] = ()
        self.acknowledged = False
        # Somebody has asked for it: from then on it may fire or not.
        self.cancelled = False


class Scheduling:
    """Everything that was scheduled in one schedule of the simulation."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.made: dict[str, Scheduled] = {}

    def make(self, process: Process) -> None:
        world = self.world
        choose, wall = world.scheduler.random, world.wall
        kind, session = choose.choice(sorted(EVENTS)), choose.choice(world.sessions)
        recurs, key = choose.random() < 0.3, choose.choice("kl")
        row = ScheduleRow(
            id=f"e{len(self.made)}",
            session=session,
            lineage=EVENTS[kind],
            body=msgpack.packb([wall, None, {"key": key}, {}]),
            at=wall + round(world.scheduler.between(0, 0.2) * 1e9),
            every=world.scheduler.between(0.02, 0.05) if recurs else None,
            misfire=choose.choice(("fire", "skip")),
            until=wall + 300_000_000 if recurs else None,
            created=wall,
        )
        scheduled = self.made[row.id] = Scheduled(row, key, world.scheduler.steps)
        world.account.note("scheduling", "", f"{row.id} {kind} in {session}")
        end = process.ends[world.shard_of(session)]
        end.ask("schedule", {"row": row_to_wire(row)}, lambda said, body: self._made(scheduled, said))
        if choose.random() < 0.2:
            later = world.scheduler.between(0, 0.2)
            world.scheduler.after(later, process, self._cancel, process, scheduled)

    def _made(self, scheduled: Scheduled, said: bool) -> None:
        row = scheduled.row
        scheduled.acknowledged = said
        scheduled.step = self.world.scheduler.steps
        scheduled.subscribers = self.world.subscribers(row.lineage, row.session, scheduled.key)
        self.world.account.note("scheduled", "", f"{scheduled.row.id} {said}")

    def _cancel(self, process: Process, scheduled: Scheduled) -> None:
        scheduled.cancelled = True
        self.world.account.note("cancelling", "", scheduled.row.id)
        end = process.ends[self.world.shard_of(scheduled.row.session)]
        end.ask("unschedule", {"id": scheduled.row.id}, lambda said, body: None)

    def check_start(self, producer: str, sequence: int) -> None:
        """Never before its time."""
        scheduled = self.made.get(producer.partition(":")[2])
        if scheduled is None:
            return
        at = scheduled.at if scheduled.row.every is None else scheduled.at + (sequence - 1)
        if self.world.wall < at:
            raise self.world.account.violation(1, f"{producer} fires {at - self.world.wall} ns early")

    def at_rest(self) -> bool:
        return not self.world.store.rows.schedules

    def check_end(self) -> None:
        """Invariant 1 of one-time events: each handler that was there has had it, or it is accounted for."""
        world, account = self.world, self.world.account
        for scheduled in self.made.values():
            row = scheduled.row
            if not scheduled.acknowledged or scheduled.cancelled or row.every is not None:
                continue
            message = f"schedule:{row.id}:{row.created}:{row.session}:1"
            if (message, "") in account.failures:
                continue
            if message not in account.fired:
                raise account.violation(1, f"scheduled event {row.id} never fired", handler=row.id)
            if world.gates.may_have_stopped(row.lineage, row.session, scheduled.key, scheduled.asked):
                continue
            for name in scheduled.subscribers:
                if not self._accounted(scheduled, message, name):
                    text = f"scheduled event {message} never reached {name}"
                    raise account.violation(1, text, account.by_text.get(message), name)

    def _accounted(self, scheduled: Scheduled, message: str, name: str) -> bool:
        account = self.world.account
        fact, record = account.by_text.get(message), account.records.get(name)
        # It may have fired before its producer heard that it is scheduled.
        step = min(scheduled.step, account.fired[message])
        if record is None or account.since.get(name, 1 << 60) > step:
            return True
        if account.unseen(name, account.fired[message], account.fired[message]):
            return True
        handled = fact is not None and name in fact.runs and fact.runs[name].done
        dropped = record.overflow in ("drop_oldest", "coalesce") and not record.durable
        return handled or dropped or (message, name) in account.failures
