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
        self.day = 0
        self.changed = False  # whether anything is to be kept anew
        self._costs: dict[tuple[str, str, str, int], float] = {}

    def begin(self, day: int) -> None:
        if day > self.day:
            self.day = day
            self._costs.clear()

    def restore(self, costs: Iterable[Cost]) -> None:
        """What was kept; what was told since stands."""
        for cost in costs:
            name = (cost.key, cost.group, cost.actor, cost.life)
            if cost.day == self.day:
                self._costs[name] = max(self._costs.get(name, 0.0), cost.dollars)

    def told(self, cost: Cost) -> None:
        name = (cost.key, cost.group, cost.actor, cost.life)
        if cost.day == self.day and cost.dollars > self._costs.get(name, 0.0):
            self._costs[name] = cost.dollars
            self.changed = True

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

    def costs(self) -> list[Cost]:
        """All that is known of the day."""
        return [Cost(self.day, *name, dollars) for name, dollars in sorted(self._costs.items())]
