"""Filters of the whole bus: set and removed at random moments; what they keep away reaches nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmgine.actors.bus.filtering import Subject, compile_filter
from llmgine.actors.bus.filters import Filter, MetadataFilter, SessionFilter, TypeFilter
from tests.simulation.plan import EVENTS

if TYPE_CHECKING:
    from tests.simulation.account import Fact
    from tests.simulation.process import Process
    from tests.simulation.world import World

_FILTERS: tuple[Filter, ...] = (
    TypeFilter(exclude=("sim.B",)),
    TypeFilter(include=("sim.A",)),
    SessionFilter(exclude=("s2",)),
    MetadataFilter({"key": "k"}),
    ~MetadataFilter({"key": "k"}),
)
_MOST = 2


class Gate:
    """One filter: every router has it from step `since` to step `ended`, and none has it after `gone`."""

    __slots__ = ("_filter", "ended", "gone", "number", "since")

    def __init__(self, wanted: Filter) -> None:
        self._filter = compile_filter(wanted.to_wire())
        self.number = 0
        self.since: int | None = None
        self.ended: int | None = None
        self.gone: int | None = None

    def admits(self, lineage: str, session: str, key: str) -> bool:
        return self._filter.admits(Subject(lineage, session, lambda: {"key": key}), 0.0)


class Gates:
    """Every filter that the bus has had."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._gates: list[Gate] = []

    @property
    def _step(self) -> int:
        return self.world.scheduler.steps

    # What happens to them

    def act(self, process: Process) -> None:
        """One more, or one less."""
        choose = self.world.scheduler.random
        present = [gate for gate in self._gates if gate.ended is None]
        settled = [gate for gate in present if gate.since is not None]
        if settled and (len(present) == _MOST or choose.random() < 0.5):
            gate = choose.choice(settled)
            self._end(gate)
            self.world.supervisor.remove_filter(gate.number, lambda: self._gone(gate))
        elif len(present) < _MOST and process.alive and not process.leaving:
            self._add(process, choose.choice(_FILTERS))

    def _add(self, process: Process, wanted: Filter) -> None:
        gate = Gate(wanted)
        self._gates.append(gate)
        self.world.count("filters of the bus")
        self.world.account.note("filtering", "", f"{process.life}: {wanted}")
        gate.number = self.world.supervisor.add_filter(process, wanted.to_wire(), lambda: self._set(gate))

    def _set(self, gate: Gate) -> None:
        if gate.ended is None:
            gate.since = self._step

    def _end(self, gate: Gate) -> None:
        gate.ended = self._step
        self.world.account.note("filtering no more", "", f"filter {gate.number}")

    def _gone(self, gate: Gate) -> None:
        gate.gone = self._step

    def lost(self, number: int) -> None:
        """It goes with the process that had set it."""
        for gate in self._gates:
            if gate.number == number and gate.ended is None:
                self._end(gate)

    # What they do

    def check_start(self, fact: Fact, handler: str) -> None:
        """What was published under a filter that does not want it, and that still stands, reaches nobody."""
        for gate in self._gates:
            if gate.since is None or gate.ended is not None or fact.step <= gate.since:
                continue
            if not gate.admits(EVENTS[fact.kind], fact.identity[2], fact.key):
                text = f"{handler} gets {fact.text}, which a filter of the bus keeps away"
                raise self.world.account.violation(5, text, fact)

    def may_stop(self, fact: Fact) -> bool:
        """Whether it may have met a filter that does not want it: sent again it meets later ones, too."""
        lineage = EVENTS.get(fact.kind)
        return lineage is not None and self.may_have_stopped(lineage, fact.identity[2], fact.key, fact.step)

    def may_have_stopped(self, lineage: str, session: str, key: str, step: int) -> bool:
        """The same of any message, from that step on."""
        return any(
            (gate.gone is None or gate.gone >= step) and not gate.admits(lineage, session, key)
            for gate in self._gates
        )
