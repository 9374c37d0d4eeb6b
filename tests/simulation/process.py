"""One life of a process with a bus client: the real outboxes and inboxes, one of each per router."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgpack

from llmgine.actors.bus import wire
from llmgine.actors.bus.client.outbox import Entry, RunHead, Space
from llmgine.actors.bus.subscriptions import SubscriptionRecord
from llmgine.actors.bus.wire import failed_answer
from tests.simulation.account import Fact
from tests.simulation.ends import End
from tests.simulation.handlers import Handling
from tests.simulation.plan import COMMANDS, DEPLOYMENT, EVENTS, HandlerPlan

if TYPE_CHECKING:
    from tests.simulation.world import World


class Call:
    """Somebody waits for an answer; `job` is the suspended delivery it is made in."""

    __slots__ = ("done", "entry", "fact", "on_answer")

    def __init__(self, entry: Entry, fact: Fact, on_answer: Callable[[Any], None]) -> None:
        self.entry = entry
        self.fact = fact
        self.on_answer = on_answer
        self.done = False


class Process:
    """Publishes, executes and serves handlers, until it dies."""

    def __init__(self, world: World, name: str, epoch: int, handlers: tuple[HandlerPlan, ...]) -> None:
        self.world = world
        self.name = name
        self.epoch = epoch
        self.life = f"{name}.{epoch}"
        self.alive = True
        self.plans = handlers
        self.member_of = DEPLOYMENT if any(one.owner == DEPLOYMENT for one in handlers) else ""
        self.space = Space(world.plan.options.outbox_bytes)
        self.handling = Handling(self)
        self.ends = [End(self, shard) for shard in range(world.plan.shards)]
        self.registered: dict[int, SubscriptionRecord] = {}
        self.leaving = False
        for plan in handlers:
            world.scheduler.after(world.scheduler.between(0, 0.01), self, self.register, plan)
        for end in self.ends:
            end.connect()
        world.scheduler.after(world.scheduler.between(0, 0.01), self, self._act)

    # Handlers

    def register(self, plan: HandlerPlan) -> None:
        if self.leaving:
            return
        deployed = plan.owner == DEPLOYMENT
        client, epoch = (DEPLOYMENT, 0) if deployed else (self.name, self.epoch)
        lives = {self.name: self.epoch} if deployed else {}
        record = SubscriptionRecord(client=client, epoch=epoch, name=plan.name, lives=lives, **plan.values)
        self.world.supervisor.subscribe(self, record, lambda known: self._registered(plan, known))

    def _registered(self, plan: HandlerPlan, record: SubscriptionRecord) -> None:
        if self.leaving:
            if not (record.durable or record.members):
                self.world.supervisor.unsubscribe(self, record.number, lambda: None)
            return
        self.registered[record.number] = record
        self.handling.add(record, plan.temper)
        for end in self.ends:
            end.attach(record.number)

    # What it does by itself

    def _act(self) -> None:
        world = self.world
        if world.publishing and not self.leaving:
            choose = world.scheduler.random
            if world.scheduler.chance(world.plan.scheduled):
                world.scheduling.make(self)
            if world.scheduler.chance(world.plan.letters):
                world.letters.act(self)
            if "commands" in world.plan.features and choose.random() < 0.25:
                self.execute(
                    choose.choice(sorted(COMMANDS)), choose.choice(world.sessions), None, lambda answer: None
                )
            else:
                session = choose.choice(world.sessions)
                for _ in range(choose.choice((1, 1, 2, 8))):
                    self.publish(choose.choice(sorted(EVENTS)), session, None, wait=choose.random() < 0.1)
        world.scheduler.after(world.scheduler.between(0.002, 0.03) * world.pace, self, self._act)

    # Publishing

    def publish(
        self, kind: str, session: str, job: Any, *, wait: bool, on_answer: Callable[[Any], None] | None = None
    ) -> bool:
        """Whether there was room for it."""
        entry = self._enter(EVENTS[kind], kind, session, wire.WAIT if wait else 0, job, None)
        if entry is None:
            return False
        if wait:
            entry.answer = Call(entry, entry.waiter, on_answer or (lambda answer: None))
        return True

    def execute(self, kind: str, session: str, job: Any, on_answer: Callable[[Any], None]) -> bool:
        world = self.world
        deadline = world.scheduler.between(0.05, 0.6)
        flags = wire.COMMAND
        if world.plan.durable and world.scheduler.chance(0.3):
            flags |= wire.DURABLE
        entry = self._enter(COMMANDS[kind], kind, session, flags, job, deadline)
        if entry is None:
            return False
        call = entry.answer = Call(entry, entry.waiter, on_answer)
        world.scheduler.after(deadline, self, self._expire, call, session)
        return True

    def _enter(
        self, lineage: str, kind: str, session: str, flags: int, job: Any, deadline: float | None
    ) -> Entry | None:
        world = self.world
        end = self.ends[world.shard_of(session)]
        if self.space.bytes >= self.space.limit or self.leaving:
            return None
        depth = 0
        extra: dict[str, Any] = {}
        if job is not None:
            depth = job.head.depth + 1
            if flags:
                own = [job.queue.number, job.head.session]
                extra["chain"] = [*job.head.chain, *([] if own in job.head.chain else [own])]
        if deadline is not None:
            extra["deadline"] = deadline
        key = world.scheduler.random.choice("kl")
        metadata = {"key": key}
        body = msgpack.packb([world.wall, None, metadata, {"n": world.scheduler.steps}])
        entry = Entry(RunHead(lineage, depth, flags, extra or None), body)
        sequence = end.outbox.add(session, entry)
        fact = world.account.published(self, session, sequence, kind, world.lives[end.shard])
        fact.command = bool(flags & wire.COMMAND)
        fact.wait = bool(flags & wire.WAIT)
        fact.durable = bool(flags & wire.DURABLE)
        fact.key = key
        fact.subscribers = () if fact.command else world.subscribers(lineage, session, key)
        entry.waiter = fact
        end.wake()
        return entry

    def _expire(self, call: Call, session: str) -> None:
        if call.done:
            return
        end = self.ends[self.world.shard_of(session)]
        if end.outbox.give_up(session, call.entry.sequence):
            self.answer(call, failed_answer("deadline", "the router was not reached"))
            return
        end.cancel(session, call.entry.sequence)
        grace = self.world.plan.options.answer_grace
        text = "the router could not say how far the command has come"
        self.world.scheduler.after(grace, self, self.answer, call, failed_answer("outcome_unknown", text))

    def answer(self, call: Call, answer: Any) -> None:
        if not call.done:
            call.done = True
            self.world.account.answered(call.fact, answer)
            call.on_answer(answer)

    # Ends

    @property
    def at_rest(self) -> bool:
        return all(end.at_rest for end in self.ends) and self.handling.at_rest and not self.leaving

    def die(self) -> None:
        self.alive = False
        for end in self.ends:
            end.die()
        self.world.supervisor.died(self)
