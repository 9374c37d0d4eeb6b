"""What a seed stands for: how many of what, and how often what fails."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Plan:
    """One run; rates are per second of made-up time, chances from 0 to 1."""

    seed: int
    seconds: float
    drivers: int
    sessions: int
    # How much each driver does at once.
    hands: int
    crashes: dict[str, float] = field(default_factory=dict)
    stalls: float = 0.0
    breaks: float = 0.0
    slow_links: float = 0.0
    fragile_disk: float = 0.0
    disk_away: float = 0.0
    flaky_model: float = 0.0
    deaths_of_all: int = 0
    # Hosts that are taken for dead, and live on for a while.
    ghosts: float = 0.0
    # How many openings outlive those who opened them.
    stays: float = 0.0
    sessions_are: dict[str, Any] = field(default_factory=dict)


def make_plan(seed: int) -> Plan:
    chance = random.Random(f"plan {seed}")

    def some(high: float, probability: float = 0.6) -> float:
        return chance.random() * high if chance.random() < probability else 0.0

    kinds = ("session", "router", "store", "supervisor", "provider", "driver")
    return Plan(
        seed=seed,
        seconds=chance.uniform(3.0, 7.0),
        drivers=chance.randint(1, 3),
        sessions=chance.randint(1, 4),
        hands=chance.randint(1, 4),
        crashes={kind: some(2.0 if kind == "session" else 0.4) for kind in kinds},
        stalls=some(0.2),
        breaks=some(0.3),
        slow_links=some(0.2, 0.3),
        fragile_disk=some(0.05),
        disk_away=some(0.1),
        flaky_model=some(0.1),
        deaths_of_all=int(chance.random() < 0.25),
        ghosts=some(1.0, 0.5),
        stays=chance.random(),
        sessions_are={
            "idle": chance.choice([0.3, 1.5, 300.0]),
            "placement": chance.choice(["dedicated", "pooled"]),
            "warm": chance.randint(0, 2),
            "snapshot_entries": chance.choice([3, 10, 500]),
            "finished_turns": chance.choice([1, 100]),
            "recovery": chance.choice(["retry", "fail", "ask"]),
        },
    )
