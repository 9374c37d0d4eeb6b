"""What all tries of a call came to, for its last event to tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from llmgine.providers import Attempt, Usage
from llmgine.providers.names import ModelName


@dataclass(slots=True)
class Told:
    """The tries of one call, and the sum of what they used; a cost that is unknown makes it unknown."""

    attempts: tuple[Attempt, ...] = ()
    usage: Usage | None = None
    cost: Decimal | None = field(default_factory=Decimal)

    def add(
        self, attempts: tuple[Attempt, ...], actor: str, model: ModelName, outcome: str, seconds: float
    ) -> None:
        """The tries that the actor tells of, as its own; the whole try as one where it tells of none."""
        if attempts:
            self.attempts += tuple(one.model_copy(update={"actor": one.actor or actor}) for one in attempts)
        else:
            self.attempts += (Attempt(actor=actor, model=str(model), outcome=outcome, seconds=seconds),)

    def spent(self, usage: Usage, cost: Decimal | None) -> None:
        self.usage = usage if self.usage is None else self.usage + usage
        self.cost = None if cost is None or self.cost is None else self.cost + cost
