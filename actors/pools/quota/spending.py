"""What each key has cost today, as every life of an actor told it last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmgine.actors.pools.quota.meters import Meter


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars that one life of an actor spent in one day; it only rises, so that none is counted twice."""

    day: int
    key: str
    group: str
    actor: str
    life: int
    dollars: float


class Spending:
    """Costs of one day; those of another day are forgotten when it begins."""

    def __init__(self) -> None:
        self._day = 0
        self._costs: dict[tuple[str, str, str, int], float] = {}
        self._changed: set[tuple[str, str, str, int]] = set()

    def begin(self, day: int) -> None:
        if day > self._day:
            self._day = day
            self._costs.clear()
            self._changed.clear()

    def restore(self, costs: Iterable[Cost]) -> None:
        """What was kept; what was told since stands."""
        for cost in costs:
            name = (cost.key, cost.group, cost.actor, cost.life)
            if cost.day == self._day:
                self._costs[name] = max(self._costs.get(name, 0.0), cost.dollars)

    def told(self, cost: Cost) -> None:
        name = (cost.key, cost.group, cost.actor, cost.life)
        if cost.day == self._day and cost.dollars > self._costs.get(name, 0.0):
            self._costs[name] = cost.dollars
            self._changed.add(name)

    def add(self, cost: Cost) -> None:
        """An actor that is gone had as much more under way, and nobody will tell what came of it."""
        before = self._costs.get((cost.key, cost.group, cost.actor, cost.life), 0.0)
        self.told(Cost(cost.day, cost.key, cost.group, cost.actor, cost.life, before + cost.dollars))

    def total(self, meter: Meter) -> float:
        return sum(
            dollars
            for (key, group, _, _), dollars in self._costs.items()
            if key == meter.key and group == meter.group
        )

    def changed(self) -> list[Cost]:
        """What is to be kept anew since this was asked last."""
        changed, self._changed = self._changed, set()
        return [Cost(self._day, *name, self._costs[name]) for name in sorted(changed)]
