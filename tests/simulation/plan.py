"""What one seed decides before anything happens: options, handlers and how much goes wrong.

Each seed switches a random part of the faults and features on, so that rare ones meet each other without
being drowned by the common ones.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from llmgine.actors.bus.filters import MetadataFilter, RateFilter
from llmgine.actors.bus.letters import DEAD_LETTERED
from llmgine.actors.bus.messages import BUS
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.policies import BatchPolicy, BreakerPolicy, RetryPolicy
from tests.simulation.network import FrameFaults

EVENTS = {
    "a": "sim.A|llmgine.Event",
    "b": "sim.B|sim.A|llmgine.Event",
    "c": "sim.C|llmgine.Event",
}
# Whatever handlers of events may be for.
HANDLED = ("sim.A", "sim.B", "sim.C") * 3 + (DEAD_LETTERED,)
COMMANDS = {"x": "sim.X|llmgine.Command", "y": "sim.Y|llmgine.Command"}
SESSIONS = (BUS, "s1", "s2", "s3", "s4")
PRODUCERS = ("p1", "p2", "p3")
WORKERS = ("w1", "w2", "w3")
DEPLOYMENT = "deployment"
METADATA = MetadataFilter({"key": "k"}).to_wire()
RATE = RateFilter(50.0, burst=3).to_wire()


@dataclass(frozen=True)
class Temper:
    """How a handler behaves: shares of its attempts."""

    fails: float = 0.0
    slow: float = 0.0
    forever: float = 0.0
    publishes: float = 0.0
    waits: float = 0.0


@dataclass(frozen=True)
class HandlerPlan:
    """One handler: its record but for owner and number, who serves it, how it behaves."""

    name: str
    owner: str
    values: dict[str, Any]
    temper: Temper


@dataclass(frozen=True)
class Faults:
    """Chances per step, and per commit of the store."""

    frames: FrameFaults = field(default_factory=FrameFaults)
    cut: float = 0.0
    process: float = 0.0
    router: float = 0.0
    store: float = 0.0
    supervisor: float = 0.0
    everything: float = 0.0
    at_commit: float = 0.0


@dataclass(frozen=True)
class Changes:
    """What is done in good order, by chances per step."""

    leave: float = 0.0
    remove: float = 0.0
    gate: float = 0.0


@dataclass(frozen=True)
class Plan:
    seed: int
    steps: int
    shards: int
    processes: tuple[str, ...]
    options: BusOptions
    handlers: tuple[HandlerPlan, ...]
    faults: Faults
    changes: Changes
    window: tuple[int, int]
    retries: RetryPolicy
    durable: bool
    scheduled: float
    letters: float
    max_letters: int
    # The wire form of the one rate filter.
    rate: dict[str, Any]
    features: frozenset[str] = field(default_factory=frozenset)


FEATURES = frozenset(
    {
        "durable",
        "members",
        "retries",
        "filters",
        "schedules",
        "commands",
        "priorities",
        "pressure",
        "letters",
        "changes",
        "batches",
    }
)


def make_plan(seed: int, steps: int, supported: frozenset[str] = FEATURES) -> Plan:
    choose = random.Random(seed * 2 + 1)
    features = frozenset(one for one in sorted(supported) if choose.random() < 0.75)
    retries = RetryPolicy(
        retries=choose.choice((0, 1, 3)) if "retries" in features else 0,
        base=0.02,
        cap=0.1,
        budget_reserve=choose.choice((2, 100)),
    )
    handlers = tuple(_handler(choose, number, features, retries) for number in range(choose.randint(4, 9)))
    faults = _faults(choose)
    return Plan(
        seed=seed,
        steps=steps,
        shards=2,
        processes=(*PRODUCERS, *WORKERS),
        options=_options(choose),
        handlers=handlers,
        faults=faults,
        changes=_changes(choose, calm=faults == Faults()) if "changes" in features else Changes(),
        window=choose.choice(((4, 4_000), (16, 64_000), (1_024, 4 << 20))),
        retries=retries,
        durable="durable" in features,
        rate=RATE,
        scheduled=0.08 if "schedules" in features else 0.0,
        letters=0.1 if "letters" in features else 0.0,
        max_letters=choose.choice((10, 10_000, 10_000)),
        features=features,
    )


def _options(choose: random.Random) -> BusOptions:
    unadmitted = choose.choice((4, 16, 256))
    return BusOptions(
        prefetch=choose.choice((1, 4, 64)),
        block_timeout=choose.choice((0.02, 0.1, 0.5)),
        adaptive_delay=0.05,
        max_depth=5,
        max_unadmitted=unadmitted,
        max_unsettled=unadmitted * choose.choice((1, 4, 64)),
        outbox_bytes=choose.choice((2_000, 1 << 20)),
        client_lease=choose.choice((0.2, 1.0)),
        answer_grace=0.05,
        history=20,
        story=8,
        stories=16,
        journal_timeout=choose.choice((0.05, 0.5)),
        misfire_grace=1.0,
        replay_rate=1_000.0,
        dedup_lines=choose.choice((256, 16_384)),
        kept_result_bytes=choose.choice((2_000, 1 << 20)),
    )


def _faults(choose: random.Random) -> Faults:
    perhaps = partial(_perhaps, choose)
    if choose.random() < 0.1:
        # Where nothing goes wrong, more can be asked.
        return Faults()
    return Faults(
        frames=FrameFaults(
            drop=perhaps(0.02), double=perhaps(0.1), reorder=perhaps(0.02), late=perhaps(0.05)
        ),
        cut=perhaps(0.01),
        process=perhaps(0.01),
        router=perhaps(0.008),
        store=perhaps(0.008),
        supervisor=perhaps(0.004),
        everything=perhaps(0.002, 0.3),
        at_commit=perhaps(0.05),
    )


def _changes(choose: random.Random, *, calm: bool) -> Changes:
    perhaps = partial(_perhaps, choose)
    # Where nothing else happens, somebody leaves.
    return Changes(
        leave=perhaps(0.02, 1.0) if calm else perhaps(0.004), remove=perhaps(0.004), gate=perhaps(0.008, 0.3)
    )


def _perhaps(choose: random.Random, rate: float, share: float = 0.5) -> float:
    return rate * choose.random() if choose.random() < share else 0.0


def _handler(
    choose: random.Random, number: int, features: frozenset[str], retries: RetryPolicy
) -> HandlerPlan:
    name = f"h{number}"
    owner = choose.choice((*WORKERS, *WORKERS, *PRODUCERS))
    if "members" in features and choose.random() < 0.25:
        owner = DEPLOYMENT
    command = "commands" in features and number < 2
    values: dict[str, Any] = {
        "concurrency": choose.choice((1, 2, 4)),
        "capacity": choose.choice((2, 5, 20, 1_000)) if "pressure" in features else 10_000,
        "deadline": 0.1,
        "breaker": _breaker(choose),
        "members": owner == DEPLOYMENT,
    }
    if command:
        wire_name, session = ("sim.X", "sim.Y")[number], choose.choice((BUS, BUS, "s1"))
        idempotent = choose.random() < 0.5
        policy = retries if idempotent else RetryPolicy(retries=0)
        values |= {"kind": "command", "idempotent": idempotent, "retry": policy.model_dump()}
    else:
        wire_name, session = (
            choose.choice(HANDLED),
            choose.choice((BUS, BUS, *SESSIONS[1:])),
        )
        values |= _event_values(choose, features) | {"retry": retries.model_dump()}
    return HandlerPlan(name, owner, values | {"wire_name": wire_name, "session": session}, _temper(choose))


def _event_values(choose: random.Random, features: frozenset[str]) -> dict[str, Any]:
    values: dict[str, Any] = {"kind": "event"}
    policies = ("block", "block", "block", "drop_oldest", "reject_new", "adaptive", "coalesce")
    values["overflow"] = choose.choice(policies) if "pressure" in features else "block"
    if values["overflow"] == "coalesce":
        values["coalesce_by"] = choose.choice((None, "key"))
    values["order"] = choose.choice(("session", "session", "strict"))
    if "priorities" in features:
        values["priority"] = choose.choice((10, 50, 50))
    if "filters" in features and choose.random() < 0.3:
        values["filter"] = choose.choice((METADATA, METADATA, RATE))
    if "batches" in features and choose.random() < 0.2:
        policy = BatchPolicy(size=choose.choice((2, 5, 50)), wait=choose.choice((0.0, 0.01, 0.05)))
        values["batch"] = policy.model_dump()
    if "durable" in features and choose.random() < 0.4:
        values["durable"] = True
    return values


def _breaker(choose: random.Random) -> dict[str, Any]:
    policy = BreakerPolicy(
        enabled=choose.random() < 0.8,
        kind=choose.choice(("window", "rate")),
        failures=choose.choice((2, 5)),
        window=1.0,
        calls=10,
        minimum_calls=5,
        open_for=0.05,
        open_cap=0.2,
        permits=choose.choice((1, 3)),
        successes=2,
        park_for=choose.choice((0.1, 5.0)),
    )
    return policy.model_dump()


def _temper(choose: random.Random) -> Temper:
    return Temper(
        fails=choose.choice((0.0, 0.0, 0.2, 0.9)),
        slow=choose.choice((0.0, 0.1)),
        forever=choose.choice((0.0, 0.0, 0.05)),
        publishes=choose.choice((0.0, 0.3)),
        waits=choose.choice((0.0, 0.0, 0.2)),
    )
