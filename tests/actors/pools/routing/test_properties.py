"""What holds of a router after any history of calls, refusals, failures and changes of the pool."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmgine.actors.pools.routing import Router, Visit

NAMES = st.sets(st.sampled_from([f"p{number}" for number in range(5)]))
SHORTEST = 1.0


@dataclass(slots=True)
class Made:
    """A call under way, as the model of the router sees it."""

    actor: str
    visit: Visit
    at: float
    probe: bool = False


class History(RuleBasedStateMachine):
    """One caller's calls; the model beside it holds which actors broke when, and who probes them."""

    def __init__(self) -> None:
        super().__init__()
        self.router = Router(random.Random(5), node="here")
        self.now = 0.0
        self.actors: set[str] = set()
        self.calls: list[Made] = []
        self.broken: dict[str, float] = {}
        self.failed_at: dict[str, float] = {}

    @rule(names=NAMES, near=NAMES)
    def changes(self, names: set[str], near: set[str]) -> None:
        self.router.update({name: "here" if name in near else "there" for name in sorted(names)})
        for name in self.actors - names:
            self.broken.pop(name, None)
            self.failed_at.pop(name, None)
        self.calls = [call for call in self.calls if call.actor in names]
        self.actors = names

    @rule(seconds=st.sampled_from([0.01, 0.5, 3.0, 100.0]))
    def passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(excluded=NAMES, session=st.sampled_from(["", "s", "t"]), key=st.sampled_from([b"", b"k"]))
    def begins(self, excluded: set[str], session: str, key: bytes) -> None:
        actor = self.router.choose(self.now, excluded, session=session, key=key)
        left = self.actors - excluded
        assert (actor is None) == (not left)
        if actor is None:
            return
        assert actor in left
        probed = any(call.probe for call in self.calls if call.actor == actor)
        due = actor in self.broken and self.now >= self.broken[actor] + SHORTEST and not probed
        if left - self.broken.keys():
            assert actor not in self.broken or due
        self.calls.append(Made(actor, self.router.started(actor, self.now), self.now, due))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), outcome=st.sampled_from(["accepted", "first chunk", "refused", "failed", ""]))
    def hears(self, data: st.DataObject, outcome: str) -> None:
        call = data.draw(st.sampled_from(self.calls))
        if outcome == "failed":
            news = call.at > self.failed_at.get(call.actor, float("-inf"))
            if news and (call.actor not in self.broken or call.probe):
                self.broken[call.actor] = self.failed_at[call.actor] = self.now
            call.visit.failed(self.now)
        elif outcome:
            self.broken.pop(call.actor, None)
            for one in self.calls:
                one.probe = one.probe and one.actor != call.actor
            if outcome == "accepted":
                call.visit.accepted(3, self.now)
            elif outcome == "refused":
                call.visit.refused(9, self.now, self.now + 2.0)
            else:
                call.visit.first_chunk(self.now)
        if outcome in ("failed", "refused", ""):
            call.visit.finished()
            self.calls.remove(call)

    @invariant()
    def counts_what_is_under_way(self) -> None:
        """Calls in flight are those begun and not ended, and those that wait are among them."""
        for name, one in self.router._actors.items():
            assert one.load.mine == sum(call.actor == name for call in self.calls)
            assert 0 <= one.load.waiting <= one.load.mine


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
