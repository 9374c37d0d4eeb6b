"""The calls of one actor that wait for a lease, in their order.

They are served as they came, except that work in bulk counts as having come later, and so does each
further call of a session that waits already: none has to wait until all of another's have been made.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf

from llmgine.actors.pools.quota.meters import Meter, Need

# A call that can wait counts as one that came so much later, in seconds.
_BATCH_COMES_LATER = 30.0
# A session's next call counts as one that came so much after its last.
_NEXT_COMES_LATER = 1.0


@dataclass(eq=False, slots=True)
class Waiting:
    """A call that waits, until then at most, for what it needs of any of its keys.

    `lacks` is what there is too little of, `place` the time by which it stands in line.
    """

    keys: tuple[str, ...]
    model: str
    need: Need
    since: float
    until: float = inf
    batch: bool = False
    session: str = ""
    lacks: Meter | None = None
    place: float = 0.0


class Line:
    """None passes another that waits for the same, however little it needs itself."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self.blocked: set[Meter] = set()  # what somebody in it lacks

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting)

    def add(self, waiting: Waiting) -> None:
        kin = (waiting.session, waiting.batch)
        last = max((one.place for one in self._waiting if (one.session, one.batch) == kin), default=-inf)
        came = waiting.since + (_BATCH_COMES_LATER if waiting.batch else 0.0)
        waiting.place = max(came, last + _NEXT_COMES_LATER)
        insort(self._waiting, waiting, key=lambda one: one.place)

    def remove(self, waiting: Waiting) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def serve(self, attempt: Callable[[Waiting, str, set[Meter]], Meter | None]) -> None:
        """Tries each waiting call with its keys; `attempt` gives what is lacking, or None for one served.

        It is given what those before lack, which nobody behind them may take.
        """
        blocked: set[Meter] = set()
        stuck: dict[tuple[tuple[str, ...], str], Meter | None] = {}
        left = []
        for waiting in self._waiting:
            alike = (waiting.keys, waiting.model)
            if alike not in stuck:
                lacking: list[Meter] = []
                for key in waiting.keys:
                    found = attempt(waiting, key, blocked)
                    if found is None:
                        break
                    lacking.append(found)
                else:
                    blocked.update(lacking)
                    stuck[alike] = next(iter(lacking), None)
            if alike in stuck:
                waiting.lacks = stuck[alike]
                left.append(waiting)
        self._waiting, self.blocked = left, blocked

    def demand(
        self, needs: Callable[[str, str, Need], Iterable[tuple[Meter, float]]]
    ) -> dict[Meter, tuple[float, float, float]]:
        """What all need of each meter, what the first of them needs, and since when that waits."""
        alike: dict[tuple[tuple[str, ...], str], tuple[Waiting, Need]] = {}
        for one in self._waiting:
            first, so_far = alike.get((one.keys, one.model), (one, Need(calls=0.0)))
            alike[one.keys, one.model] = (first, so_far + one.need)
        demand: dict[Meter, tuple[float, float, float]] = {}
        for (keys, model), (first, together) in alike.items():
            for key in keys:
                least = dict(needs(key, model, first.need))
                for meter, amount in needs(key, model, together):
                    wanted, head, since = demand.get(meter, (0.0, least[meter], first.since))
                    if first.since < since:
                        head, since = least[meter], first.since
                    demand[meter] = (wanted + amount, head, since)
        return demand
