"""What holds of a router after any history of calls, refusals, failures and changes of the pool."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmgine.actors.pools.routing import Router

NAMES = st.sets(st.sampled_from([f"p{number}" for number in range(5)]))
NODES = ("here", "there")


class History(RuleBasedStateMachine):
    """One caller's calls, each at most once in each state; the model beside it is plain sets."""

    def __init__(self) -> None:
        super().__init__()
        self.router = Router(random.Random(5), node="here")
        self.now = 0.0
        self.actors: set[str] = set()
        self.calls: list[str] = []
        self.broken: dict[str, float] = {}
        self.probes: dict[str, float] = {}

    @rule(names=NAMES, chance=st.randoms(use_true_random=False))
    def changes(self, names: set[str], chance: random.Random) -> None:
        self.router.update({name: chance.choice(NODES) for name in sorted(names)})
        for name in self.actors - names:
            self.broken.pop(name, None)
            self.probes.pop(name, None)
            self.calls = [actor for actor in self.calls if actor != name]
        self.actors = names

    @rule(seconds=st.sampled_from([0.01, 0.5, 3.0, 100.0]))
    def passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(excluded=NAMES, session=st.sampled_from(["", "s", "t"]), key=st.sampled_from([b"", b"k"]))
    def calls_one(self, excluded: set[str], session: str, key: bytes) -> None:
        actor = self.router.choose(self.now, excluded, session=session, key=key)
        left = self.actors - excluded
        assert (actor is None) == (not left)
        if actor is None:
            return
        assert actor in left
        if left - self.broken.keys():
            # One that is well was to be had: who is broken gets a probe at most, and none within its pause.
            assert self.now >= self.broken.get(actor, self.now)
            assert self.now - self.probes.get(actor, float("-inf")) >= 30.0
        if actor in self.broken:
            self.probes[actor] = self.now
        self.router.started(actor)
        self.calls.append(actor)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), outcome=st.sampled_from(["accepted", "first chunk", "refused", "failed"]))
    def ends(self, data: st.DataObject, outcome: str) -> None:
        actor = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        if outcome == "failed":
            if actor not in self.broken or actor in self.probes:
                self.broken[actor] = self.now + 1.0
                self.probes.pop(actor, None)
            self.router.failed(actor, self.now)
        else:
            self.broken.pop(actor, None)
            self.probes.pop(actor, None)
            if outcome == "accepted":
                self.router.accepted(actor, 3, self.now)
            elif outcome == "refused":
                self.router.refused(actor, 9, self.now, self.now + 2.0)
            else:
                self.router.first_chunk(actor, 0.2, self.now)
        self.router.finished(actor)

    @invariant()
    def comes_to_rest(self) -> None:
        """Counts are those of the calls under way."""
        held = {name: one.load.mine for name, one in self.router._actors.items()}
        assert held == {name: self.calls.count(name) for name in self.actors}


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
