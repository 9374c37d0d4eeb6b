"""Processes that leave in good order, and handlers that are removed while messages flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmgine.actors.bus.subscriptions import SubscriptionRecord
    from tests.simulation.plan import HandlerPlan
    from tests.simulation.process import Process
    from tests.simulation.world import World

_LOOK = 0.003


class Leaving:
    """What a client's shell does when it is closed, and what a replica's does before that, step by step."""

    def __init__(self, world: World) -> None:
        self.world = world

    # A process

    def begin(self, process: Process) -> None:
        """It takes in nothing new; a member of a deployment ends what it runs and gives back the rest."""
        if process.leaving:
            return
        process.leaving = True
        self.world.count("departures")
        self.world.account.note("leaving", "", process.life)
        # Longer than any handler takes that heeds its deadline.
        until = self.world.scheduler.now + self.world.scheduler.between(0.3, 2.0)
        if process.member_of:
            process.handling.closed = True
            for end in process.ends:
                end.leave()
            self._settle(process, until)
        else:
            self._drain(process, until)

    def _settle(self, process: Process, until: float) -> None:
        if process.handling.at_rest or self.world.scheduler.now > until:
            self._drain(process, until)
        else:
            self.world.scheduler.after(_LOOK, process, self._settle, process, until)

    def _drain(self, process: Process, until: float) -> None:
        """Until all that it has published is done, or it has waited for long enough."""
        if any(end.outbox.count for end in process.ends) and self.world.scheduler.now < until:
            self.world.scheduler.after(_LOOK, process, self._drain, process, until)
            return
        going = [one for one in process.registered.values() if not (one.durable or one.members)]
        left = {one.number for one in going}
        for record in going:
            self._stop(process, record)
            del process.registered[record.number]

            def removed(number: int = record.number) -> None:
                left.discard(number)
                if not left:
                    self._depart(process)

            self.world.supervisor.unsubscribe(process, record.number, removed)
        if not left:
            self._depart(process)

    def _depart(self, process: Process) -> None:
        """It says what there is to say, cuts off what still runs, and is gone."""
        process.handling.closed = True
        for end in process.ends:
            end.flush()
        self._go(process)

    def _go(self, process: Process) -> None:
        if not all(end.has_said_all for end in process.ends):
            self.world.scheduler.after(_LOOK, process, self._go, process)
            return
        unsettled = sum(end.outbox.count for end in process.ends)
        self.world.account.note("LEFT", "", f"{process.life} with {unsettled} unsettled")
        self.world.ended(process)

    # A handler

    def remove(self, process: Process) -> None:
        """One of its handlers goes for good; the like of it comes a little later."""
        records = [one for one in process.registered.values() if not one.members]
        if not records or process.leaving:
            return
        choose = self.world.scheduler.random
        record = choose.choice(records)
        plan = next(one for one in process.plans if one.name == record.name)
        self.world.count("removed handlers")
        self.world.account.note("removing", "", f"{record.name} of {process.life}")
        del process.registered[record.number]
        if not record.durable:
            self._stop(process, record)
        self.world.supervisor.unsubscribe(
            process, record.number, lambda: self._removed(process, record.number, plan)
        )

    def _stop(self, process: Process, record: SubscriptionRecord) -> None:
        """It gets nothing more, whenever the table hears of that."""
        process.handling.remove(record.number)
        self.world.account.stopped(record)

    def _removed(self, process: Process, number: int, plan: HandlerPlan) -> None:
        process.handling.remove(number)
        later = self.world.scheduler.between(0, 0.05)
        self.world.scheduler.after(later, process, process.register, plan)
