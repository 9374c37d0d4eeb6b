"""All processes of one schedule, what happens to them, and the check after every step."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from llmgine.actors.bus.messages import BUS, LINEAGE_SEPARATOR
from llmgine.actors.bus.shards import shard_of
from tests.simulation.account import Account, Fact
from tests.simulation.checks import Checks
from tests.simulation.gates import Gates
from tests.simulation.leaving import Leaving
from tests.simulation.letters import Letters
from tests.simulation.network import FrameFaults, Network
from tests.simulation.plan import DEPLOYMENT, SESSIONS, WORKERS, Changes, Faults, Plan
from tests.simulation.process import Process
from tests.simulation.router import RouterHost
from tests.simulation.scheduler import FOREVER, Scheduler
from tests.simulation.scheduling import Scheduling
from tests.simulation.store import SimulatedStore, Writer
from tests.simulation.supervisor import Life, Supervisor

_WALL = 1_700_000_000_000_000_000
# How long everything may take to come to rest once nothing goes wrong any more, in steps and seconds.
_PATIENCE = 40_000
_REST = 240.0


class World:
    """`run` is one whole schedule; it raises `Violation`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.scheduler = Scheduler(plan.seed)
        self.counters: dict[str, int] = {}
        self.network = Network(self.scheduler, plan.window, self.counters)
        self.store = SimulatedStore(self.scheduler, plan.max_letters)
        self.store.before = self.store.after = self._at_commit
        self.account = Account(self)
        self.scheduling = Scheduling(self)
        self.letters = Letters(self)
        self.leaving = Leaving(self)
        self.gates = Gates(self)
        self.sessions = SESSIONS
        self.faults = plan.faults
        self.changes = plan.changes
        self.network.faults = plan.faults.frames
        self.faultless = plan.faults == Faults()
        self.publishing = True
        self.pace = 1.0
        self.ready: dict[tuple[str, int], set[int]] = {}
        self.lives = [0] * plan.shards
        self.routers: list[RouterHost] = []
        self._shards = {session: shard_of(session, plan.shards) for session in SESSIONS}
        self.supervisor = Supervisor(self)
        for shard in range(plan.shards):
            self.routers.append(RouterHost(self, shard, 0))
        self.supervisor.start()
        self.processes: dict[str, Process] = {}
        for name in plan.processes:
            self._start(name, 1)
        self.checks = Checks(self)

    @property
    def wall(self) -> int:
        return _WALL + int(self.scheduler.now * 1e9)

    def shard_of(self, session: str) -> int:
        shard = self._shards.get(session)
        if shard is None:
            shard = self._shards[session] = shard_of(session, self.plan.shards)
        return shard

    def count(self, what: str) -> None:
        self.counters[what] = self.counters.get(what, 0) + 1

    # A schedule

    def run(self) -> None:
        scheduler, checks = self.scheduler, self.checks
        while scheduler.steps < self.plan.steps:
            if not scheduler.step():
                break
            self._happen()
            checks.step()
        self._heal()
        self._rest()
        checks.end()

    def _rest(self) -> None:
        """Invariants 7 and 9: once nothing more goes wrong, all that was begun ends."""
        scheduler = self.scheduler
        last, until = scheduler.steps + _PATIENCE, scheduler.now + _REST
        while not self._at_rest():
            for _ in range(50):
                scheduler.step()
                self.checks.step()
            if scheduler.steps > last or scheduler.now > until:
                open_ = [
                    fact for fact in self.account.facts.values() if not fact.settled and fact.must_settle
                ]
                text = f"it does not come to rest: {json.dumps(self._unrest())}"
                raise self.account.violation(7, text, open_[0] if open_ else None)

    def _at_rest(self) -> bool:
        return (
            self.supervisor.restored
            and not any(router.core.unsettled or router.core.unwritten for router in self.routers)
            and all(process.at_rest for process in self.processes.values())
            and not self.store.rows.journal
            and self.scheduling.at_rest()
        )

    def _unrest(self) -> dict[str, Any]:
        return {
            "routers": {
                router.name: [router.core.unsettled, router.core.unwritten] for router in self.routers
            },
            "processes": {
                process.life: [
                    [end.outbox.count, end.connected, bool(end.inbox.answers)] for end in process.ends
                ]
                + [process.handling.at_rest]
                for process in self.processes.values()
                if not process.at_rest
            },
            "schedules": list(self.store.rows.schedules)[:5],
            "journal": list(self.store.rows.journal)[:5],
            "open": [fact.text for fact in self.account.facts.values() if not fact.settled][:20],
        }

    def digest(self) -> str:
        """The whole story in a few letters: equal where the schedules were."""
        return sha256(repr(list(self.account.story)).encode()).hexdigest()

    # What goes wrong, and what is changed

    def _happen(self) -> None:
        faults, changes = self.faults, self.changes
        chance, choose = self.scheduler.chance, self.scheduler.random
        if chance(faults.cut):
            end = choose.choice(choose.choice(list(self.processes.values())).ends)
            if end.link is not None:
                end.link.cut()
        if chance(faults.process):
            self.crash_process(choose.choice(list(self.processes)))
        if chance(faults.router):
            self.crash_router(choose.randrange(self.plan.shards))
        if chance(faults.store):
            self.crash_store()
        if chance(faults.supervisor):
            self.crash_supervisor()
        if chance(faults.everything):
            self.crash_everything()
        if chance(changes.leave):
            self.leaving.begin(choose.choice(list(self.processes.values())))
        if chance(changes.remove):
            self.leaving.remove(choose.choice(list(self.processes.values())))
        if chance(changes.gate):
            self.gates.act(choose.choice(list(self.processes.values())))

    def _at_commit(self, writer: Writer) -> None:
        """Around a durable write, one of those who take part may die."""
        if not self.scheduler.chance(self.faults.at_commit):
            return
        choose = self.scheduler.random
        match choose.randrange(4):
            case 0:
                self.crash_everything()
            case 1:
                self.crash_store()
            case 2 if isinstance(writer.owner, RouterHost) and writer.owner.alive:
                self.crash_router(writer.owner.shard)
            case _:
                self.crash_process(choose.choice(list(self.processes)))

    def crash_process(self, name: str) -> None:
        process = self.processes[name]
        if not process.alive:
            return
        self.count("process crashes")
        self.account.died(process.life)
        self.ended(process)

    def ended(self, process: Process) -> None:
        """It is gone, and comes back in another life."""
        process.die()
        self.scheduler.after(self.scheduler.between(0.005, 0.3), FOREVER, self._restart, process)

    def _restart(self, process: Process) -> None:
        if self.processes[process.name] is process:
            self._start(process.name, process.epoch + 1)

    def _start(self, name: str, epoch: int) -> None:
        handlers = tuple(
            one
            for one in self.plan.handlers
            if one.owner == name or (one.owner == DEPLOYMENT and name in WORKERS)
        )
        self.processes[name] = Process(self, name, epoch, handlers)
        self.account.note("started process", "", f"{name}.{epoch}")

    def crash_router(self, shard: int, *, alone: bool = True) -> None:
        router = self.routers[shard]
        if not router.alive or (alone and not self._is_remembered(but=router)):
            return
        self.count("router crashes")
        self.account.died(router.name)
        router.die()
        self.lives[shard] += 1
        self.scheduler.after(self.scheduler.between(0.005, 0.1), FOREVER, self._restart_router, router)

    def _is_remembered(self, but: RouterHost) -> bool:
        """Whether somebody else has the table of subscriptions."""
        others = (router for router in self.routers if router is not but)
        return self.supervisor.life.alive or any(router.alive and router.told_table for router in others)

    def _restart_router(self, router: RouterHost) -> None:
        if self.routers[router.shard] is router:
            self.routers[router.shard] = RouterHost(self, router.shard, router.life + 1)
            self.account.note("started router", "", self.routers[router.shard].name)
            self.supervisor.introduce(self.routers[router.shard])

    def crash_store(self) -> None:
        if self.store.alive:
            self.count("store crashes")
            self.account.died("store")
            self.store.crash()
            self.scheduler.after(self.scheduler.between(0.005, 0.3), FOREVER, self.store.restart)

    def crash_supervisor(self) -> None:
        life = self.supervisor.life
        if not life.alive or not any(router.alive and router.told_table for router in self.routers):
            return
        self.count("supervisor crashes")
        self.account.died("supervisor")
        self.supervisor.die()
        self.scheduler.after(self.scheduler.between(0.005, 0.3), FOREVER, self._restart_supervisor, life)

    def _restart_supervisor(self, life: Life) -> None:
        if self.supervisor.life is life:
            self.account.note("started supervisor")
            self.supervisor.restart()

    def crash_everything(self) -> None:
        self.count("crashes of everything")
        self.account.died("everything")
        for shard in range(self.plan.shards):
            self.crash_router(shard, alone=False)
        for name in self.processes:
            self.crash_process(name)
        if self.store.alive:
            self.store.crash()
            self.store.restart()
        self.supervisor.begin_anew()

    def _heal(self) -> None:
        """Nothing goes wrong from here on, and nothing new is published from outside."""
        self.account.note("HEALED")
        self.faults = Faults()
        self.changes = Changes()
        self.network.faults = FrameFaults()
        self.publishing = False
        self.pace = 50.0

    # What the account asks

    def attached(self, process: Process, number: int, shard: int) -> None:
        record = process.registered.get(number)
        if record is not None:
            self.ready.setdefault((record.name, number), set()).add(shard)

    def subscribers(self, lineage: str, session: str, key: str) -> tuple[str, ...]:
        """Handlers that are sure to get what is published now, unless they or their subscriptions go."""
        names = lineage.split(LINEAGE_SEPARATOR)
        shard = self.shard_of(session)
        return tuple(
            record.name
            for record in self.supervisor.table
            if record.kind == "event"
            and record.wire_name in names
            and record.session in (BUS, session)
            and (record.filter is None or (key == "k" and record.filter != self.plan.rate))
            and shard in self.ready.get((record.name, record.number), ())
        )

    def may_be_lost(self, fact: Fact) -> bool:
        """Whether both that kept a plain message have died: its producer, and its router since."""
        producer = fact.producer
        return (
            producer is not None
            and not producer.alive
            and self.lives[self.shard_of(fact.identity[2])] > fact.lives
        )
