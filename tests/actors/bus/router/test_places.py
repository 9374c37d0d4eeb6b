"""Places in time against a sorted list."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from llmgine.actors.bus.router.places import FEW, Places

ITEMS = st.sampled_from("abcdefgh")
TIMES = st.integers(0, 20)


class PlacesAgainstAList(RuleBasedStateMachine):
    """What is due comes by its time, and at one time in the order of entering."""

    def __init__(self) -> None:
        super().__init__()
        self.places: Places[str] = Places()
        self.model: list[tuple[int, int, str]] = []
        self.serial = 0

    @rule(at=TIMES, item=ITEMS)
    def put(self, at: int, item: str) -> None:
        self.serial += 1
        self.model = sorted([entry for entry in self.model if entry[2] != item] + [(at, self.serial, item)])
        self.places.put(at, item)

    @rule(item=ITEMS)
    def drop(self, item: str) -> None:
        self.model = [entry for entry in self.model if entry[2] != item]
        self.places.drop(item)

    @rule(until=TIMES)
    def pop(self, until: int) -> None:
        due = self.model.pop(0)[2] if self.model and self.model[0][0] <= until else None
        assert self.places.pop(until) == due

    @invariant()
    def same(self) -> None:
        assert self.places.first() == (self.model[0][0] if self.model else None)
        assert len(self.places) == len(self.model)
        assert {item for _, _, item in self.model} == {item for item in "abcdefgh" if item in self.places}
        assert self.places.held <= 2 * len(self.places) + FEW


PlacesAgainstAList.TestCase.settings = settings(max_examples=40, stateful_step_count=100)
TestPlacesAgainstAList = PlacesAgainstAList.TestCase
