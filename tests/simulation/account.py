"""What really happened to every message, written down beside the cores, and what must never happen."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from llmgine.actors.bus.messages import BUS
from llmgine.actors.bus.subscriptions import SubscriptionRecord

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.router import RouterHost
    from tests.simulation.world import World

Identity = tuple[str, int, str, int]

_STORY = 20_000
_SHOWN = 60


class Violation(AssertionError):
    """Something that must never happen, with the story that led to it."""

    def __init__(self, story: str, invariant: int, step: int) -> None:
        super().__init__(story)
        self.invariant = invariant
        self.step = step


class Run:
    """One handler's dealings with one message."""

    __slots__ = (
        "attempt",
        "batch",
        "done",
        "ended_well",
        "final",
        "known_failed",
        "life",
        "number",
        "running",
        "starts",
    )

    def __init__(self) -> None:
        self.starts = 0
        # The subscription that it was for: the same name may come back as another one.
        self.number = 0
        self.running: Process | None = None
        # Who handled it; the memory of it dies with that process.
        self.life: Process | None = None
        self.done = False
        self.ended_well = 0
        self.known_failed = False
        self.final = ""
        self.attempt = 0
        # What stands for the batch that it came in.
        self.batch: Any = None


_NEVER = 1 << 60


class Fact:
    """One message."""

    __slots__ = (
        "acknowledged",
        "acknowledged_at",
        "answer",
        "command",
        "durable",
        "identity",
        "key",
        "kind",
        "lives",
        "producer",
        "refused",
        "runs",
        "settled",
        "step",
        "subscribers",
        "text",
        "turned_away",
        "wait",
    )

    def __init__(
        self, identity: Identity, kind: str, producer: Process | None, lives: int, step: int
    ) -> None:
        self.identity = identity
        self.step = step
        self.text = ":".join(map(str, identity))
        self.kind = kind
        self.key = ""
        self.producer = producer
        self.command = False
        self.durable = False
        self.wait = False
        self.acknowledged = False
        # In steps.
        self.acknowledged_at = 0
        self.settled = False
        self.turned_away = False
        self.refused: tuple[Any, ...] = ()
        self.answer: Any = None
        # The router's life in which it was published.
        self.lives = lives
        self.runs: dict[str, Run] = {}
        # Names of the handlers that were there and ready when it was published.
        self.subscribers: tuple[str, ...] = ()

    @property
    def must_settle(self) -> bool:
        """Whether somebody lives who waits for it."""
        return self.producer is not None and self.producer.alive

    def run(self, handler: str) -> Run:
        found = self.runs.get(handler)
        if found is None:
            found = self.runs[handler] = Run()
        return found


class Lane:
    """One producer's messages of one session at one handler."""

    __slots__ = ("highest", "latest", "started")

    def __init__(self) -> None:
        self.highest = 0
        self.latest: Fact | None = None
        self.started: set[int] = set()


class Account:
    """Facts of a schedule; each method is told of one thing and checks what it can at once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.facts: dict[Identity, Fact] = {}
        self.by_text: dict[str, Fact] = {}
        self.lanes: dict[tuple[str, int, str, int, str], Lane] = {}
        self.busy: Counter[tuple[str, int, str, int]] = Counter()
        self.story: deque[tuple[int, float, str, str, str]] = deque(maxlen=_STORY)
        # When each handler's subscription came into the table for the latest time, by handler name.
        self.since: dict[str, int] = {}
        self.records: dict[str, SubscriptionRecord] = {}
        # What some router took as failed for good: messages by their ids, and for whom.
        self.failures: set[tuple[str, str]] = set()
        # What routers have published by themselves.
        self.fired: dict[str, int] = {}
        self._unseen: dict[str, list[tuple[int, int]]] = {}

    # The story

    def note(self, what: str, message: str = "", detail: str = "") -> None:
        scheduler = self.world.scheduler
        self.story.append((scheduler.steps, scheduler.now, what, message, detail))

    def violation(self, invariant: int, text: str, fact: Fact | None = None, handler: str = "") -> Violation:
        """Tells the last steps of that message and handler, and every death."""
        of = fact.text if fact is not None else ""
        shown = [
            f"  {step:6} {at:8.4f}  {what} {message} {detail}".rstrip()
            for step, at, what, message, detail in self.story
            if not message or message == of or (not of and handler in detail)
        ]
        plan = self.world.plan
        head = f"seed {plan.seed}, step {self.world.scheduler.steps}: invariant {invariant}: {text}"
        return Violation("\n".join([head, *shown[-_SHOWN:]]), invariant, self.world.scheduler.steps)

    # Subscriptions

    def subscribed(self, record: SubscriptionRecord) -> None:
        self.records[record.name] = record
        self.note("subscribed", "", f"{record.name} #{record.number} by {record.client}.{record.epoch}")

    def in_force(self, record: SubscriptionRecord) -> None:
        """Every router knows of it."""
        if record.name in self.records:
            step = self.world.scheduler.steps
            self.since.setdefault(record.name, step)
            windows = self._unseen.get(record.name)
            if windows and windows[-1][1] == _NEVER:
                windows[-1] = (windows[-1][0], step)

    def out_of_sight(self, name: str) -> None:
        """Routers route, and only the store knows of this handler."""
        self._unseen.setdefault(name, []).append((self.world.scheduler.steps, _NEVER))

    def unseen(self, name: str, published: int, routed: int) -> bool:
        """Whether what was published and routed in these steps may have been routed while it was so."""
        return any(published <= end and routed >= start for start, end in self._unseen.get(name, ()))

    def stopped(self, record: SubscriptionRecord) -> None:
        """Its own process has removed it: what is on its way to it is discarded."""
        if self.records.get(record.name) == record:
            self.since.pop(record.name, None)

    def unsubscribed(self, record: SubscriptionRecord) -> None:
        self.since.pop(record.name, None)
        self.records.pop(record.name, None)
        self.note("unsubscribed", "", record.name)
        for key in [key for key in self.lanes if key[0] == record.name]:
            del self.lanes[key]

    # Producers

    def published(self, process: Process, session: str, sequence: int, kind: str, lives: int) -> Fact:
        fact = Fact(
            (process.name, process.epoch, session, sequence), kind, process, lives, self.world.scheduler.steps
        )
        self.facts[fact.identity] = fact
        self.by_text[fact.text] = fact
        self.note("published", fact.text, kind)
        return fact

    def acknowledged(self, fact: Fact, refused: tuple[Any, ...]) -> None:
        if not fact.acknowledged:
            fact.acknowledged, fact.acknowledged_at = True, self.world.scheduler.steps
        fact.refused = refused
        self.note("acknowledged", fact.text, str(refused or ""))

    def settled(self, fact: Fact) -> None:
        fact.settled = True
        if not fact.acknowledged:
            fact.acknowledged, fact.acknowledged_at = True, self.world.scheduler.steps
        self.note("settled", fact.text)
        for name, run in () if fact.turned_away else fact.runs.items():
            record = self.records.get(name)
            if record is None or record.number != run.number:
                continue
            kept = record.durable or self.world.gates.may_stop(fact)
            if run.running is not None and run.running.alive and not (run.final or fact.command or kept):
                raise self.violation(5, f"{fact.text} is settled while {name} runs it", fact)

    def answered(self, fact: Fact, answer: Any) -> None:
        if fact.answer is not None:
            raise self.violation(1, f"{fact.text} is answered twice: {fact.answer}, {answer}", fact)
        fact.answer = answer
        self.note("answered", fact.text, str(answer)[:80])
        if fact.command and answer[0] and not any(run.ended_well for run in fact.runs.values()):
            raise self.violation(1, f"{fact.text} succeeded, and no handler did it", fact)

    # Handlers

    def started(self, process: Process, record: SubscriptionRecord, identity: Identity, job: Any) -> Run:
        fact = self.facts.get(identity)
        if fact is None:
            fact = self._originated(identity)
        name = record.name
        run = fact.run(name)
        if fact.producer is None:
            self.world.scheduling.check_start(identity[0], identity[3])
            self.world.letters.started(record, fact.text, job)
        elif record.filter is not None and record.filter != self.world.plan.rate and fact.key != "k":
            raise self.violation(5, f"{name} gets {fact.text}, which its filter keeps away", fact)
        elif not fact.command:
            self.world.gates.check_start(fact, name)
        self.note(
            "started", fact.text, f"{name} at {process.life} attempt {job.passage.attempt} entry {job.entry}"
        )
        if run.number != record.number:
            run.number, run.running, run.life = record.number, None, None
        run.batch = job.leader
        self._check_twice(process, record, fact, run)
        if not fact.command and not job.passage.reentrant and not (fact.wait and job.head.chain):
            self._check_order(record, fact, run)
        run.starts += 1
        run.running = process
        run.known_failed = False
        run.attempt = job.passage.attempt
        return run

    def _originated(self, identity: Identity) -> Fact:
        """The bus itself published it: a schedule's firing, a replay, news of a dead letter."""
        fact = Fact(identity, "originated", None, 0, self.world.scheduler.steps)
        self.facts[identity] = fact
        self.by_text[fact.text] = fact
        return fact

    def _check_twice(self, process: Process, record: SubscriptionRecord, fact: Fact, run: Run) -> None:
        name = record.name
        if run.running is process:
            raise self.violation(5, f"{name} runs {fact.text} beside itself", fact)
        if run.done and run.life is process:
            raise self.violation(5, f"{name} handles {fact.text} again in the same process", fact)
        if self.world.faultless:
            self._check_once(name, fact, run)
        if run.done and run.life is not None and run.life.alive and not record.members:
            raise self.violation(5, f"{name} handled {fact.text} in {run.life.life}, which lives", fact)
        if fact.command and not record.idempotent and run.starts and not run.known_failed:
            raise self.violation(5, f"{name}, not idempotent, gets command {fact.text} again", fact)

    def _check_once(self, name: str, fact: Fact, run: Run) -> None:
        """Where nothing goes wrong but handlers, nothing comes twice, whoever leaves or is removed."""
        if run.final:
            raise self.violation(5, f"{name} gets {fact.text} after its dead letter {run.final}", fact)
        if run.done:
            raise self.violation(5, f"{name} gets {fact.text} again, and nothing has failed", fact)
        if run.running is not None and run.running.alive:
            raise self.violation(5, f"{name} gets {fact.text} while {run.running.life} runs it", fact)

    def _check_order(self, record: SubscriptionRecord, fact: Fact, run: Run) -> None:
        producer, epoch, session, sequence = fact.identity
        if (session == BUS and record.order != "strict") or fact.producer is None:
            return
        key = (record.name, record.number, producer, epoch, session)
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane()
        # What one life of the router refused, or took before there was this handler, the next may give it.
        late = (
            run.final
            or "" in fact.runs
            or fact.step < self.since.get(record.name, 1 << 60)
            or _is_rated(record)
        )
        late = late or self.world.gates.may_stop(fact)
        if sequence < lane.highest and not (sequence in lane.started or late):
            raise self.violation(3, f"{record.name} gets {fact.text} after number {lane.highest}", fact)
        latest = lane.latest
        if sequence > lane.highest and latest is not None:
            former = latest.run(record.name)
            over = former.done or former.final or latest.turned_away or "" in latest.runs
            # A batch may hold several of a lane.
            over = over or (run.batch is not None and former.batch is run.batch)
            if not (over or self.world.may_be_lost(latest) or self.world.gates.may_stop(latest)):
                raise self.violation(
                    3, f"{record.name} gets {fact.text} while {latest.text} is not done", latest
                )
        if sequence > lane.highest:
            lane.highest, lane.latest = sequence, fact
        lane.started.add(sequence)

    def place(self, process: Process, record: SubscriptionRecord, taken: int) -> None:
        """A handler starts or ends, or waits and leaves its place to others meanwhile."""
        self.busy[process.name, process.epoch, record.name, record.number] += taken

    def check_places(self, process: Process, record: SubscriptionRecord) -> None:
        """One more was started; those that are back from waiting may make it more than allowed only later."""
        busy = self.busy[process.name, process.epoch, record.name, record.number]
        if busy > record.concurrency:
            text = f"{record.name} runs {busy} at a time, allowed are {record.concurrency}"
            raise self.violation(8, text, handler=record.name)

    def ended(self, process: Process, record: SubscriptionRecord, run: Run, job: Any, outcome: str) -> None:
        former = run.number != record.number
        if run.running is process and not former:
            run.running = None
        self.note("ended", job.id, f"{record.name} at {process.life}: {outcome}")
        if outcome == "handled":
            run.done = True
            run.ended_well += 1
            run.life = None if former else process
            self.world.letters.ended_well(job)
        elif not former:
            run.known_failed = True

    # Routers

    def watch(self, router: RouterHost) -> None:
        """Every failure that a router takes as final comes here, too."""
        log = router.core._state.failures
        note = log.note

        def noted(failure: Any) -> None:
            self.failed(router, failure)
            note(failure)

        state = router.core._state
        tell = state.note

        def told(what: Any, mailbox: Any, record: Any = None, text: str = "") -> None:
            if what == "coalesced":
                self.replaced(router, record.id, mailbox.subscription.name)
            tell(what, mailbox, record, text)

        originate = state.originate

        def originated(origin: Any) -> bool:
            sent = originate(origin)
            if sent:
                message = f"{origin.producer}:{origin.epoch}:{origin.session}:{origin.sequence}"
                self.fired.setdefault(message, self.world.scheduler.steps)
            return sent

        state.originate = originated
        take = log.take

        def taken(failure: Any) -> None:
            self.world.letters.taken(router, failure)
            take(failure)

        # The one way past the core that needs no hook there.
        log.note = noted  # type: ignore[method-assign]
        log.take = taken  # type: ignore[method-assign]
        state.note = told  # type: ignore[method-assign]

    def failed(self, router: RouterHost, failure: Any) -> None:
        fact = self.by_text.get(failure.message)
        self.failures.add((failure.message, failure.handler))
        self.note("failed", failure.message, f"{failure.handler} at {router.name}: {failure.reason}")
        if fact is None:
            return
        if failure.handler or failure.reason != "store" or not fact.acknowledged:
            fact.run(failure.handler).final = failure.reason
        else:
            # One life of the router had taken it, the next would not: the journal still answers for it.
            fact.turned_away = True

    def replaced(self, router: RouterHost, message: str, handler: str) -> None:
        """A newer event took its place: this handler gets it no more, as after a failure."""
        self.failures.add((message, handler))
        self.note("replaced", message, f"{handler} at {router.name}")
        fact = self.by_text.get(message)
        if fact is not None:
            fact.run(handler).final = "coalesced"

    def died(self, what: str) -> None:
        self.note("DIED", "", what)


def _is_rated(record: SubscriptionRecord) -> bool:
    """Whether a rate filter stands before the handler: a router's next life lets through what one refused."""
    return "'kind': 'rate'" in repr(record.filter)
