"""What a handler remembers of finished messages, against a plain set."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from llmgine.actors.bus import wire
from llmgine.actors.bus.handling.answers import Answers, Kept
from llmgine.actors.bus.handling.dedup import Line, Lines

WINDOW = 24


class LineMachine(RuleBasedStateMachine):
    """Marks and floors in any order; a set knows what is finished."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line(WINDOW)
        self.finished: set[int] = set()
        self.base = 0

    def _follow(self) -> None:
        while self.base + 1 in self.finished:
            self.base += 1

    @rule(ahead=st.integers(-3, WINDOW + 6))
    def mark(self, ahead: int) -> None:
        sequence = max(1, self.base + ahead)
        self.line.mark(sequence)
        self.finished.add(sequence)
        # What is a window behind it counts as finished.
        self.base = max(self.base, sequence - WINDOW)
        self._follow()

    @rule(ahead=st.integers(1, 3 * WINDOW))
    def overtake(self, ahead: int) -> None:
        sequence = self.base + ahead
        self.line.mark(sequence, ahead=True)
        self.finished.add(sequence)
        self._follow()

    @rule(ahead=st.integers(-3, WINDOW + 6))
    def settle(self, ahead: int) -> None:
        floor = max(1, self.base + ahead)
        self.line.settle(floor)
        self.base = max(self.base, floor - 1)
        self._follow()

    @invariant()
    def knows_exactly_what_is_finished(self) -> None:
        for sequence in range(max(1, self.base - 3), self.base + 5 * WINDOW):
            expected = sequence <= self.base or sequence in self.finished
            assert self.line.seen(sequence) is expected, sequence
        assert self.line.highest == max([self.base, *self.finished])


TestLineMachine = LineMachine.TestCase


def test_lines_are_bounded_and_keep_what_is_used() -> None:
    """The least recently used lines are forgotten, those with a running message never."""
    lines = Lines(10, 8)
    busy = lines.line(("busy", 1, "s"))
    busy.running = 1
    used = lines.line(("used", 1, "s"))
    used.mark(1)
    for number in range(100):
        lines.line((f"p{number}", 1, "s"))
        assert lines.line(("used", 1, "s")) is used
        assert len(lines) <= 9
    assert lines.line(("busy", 1, "s")) is busy


def test_what_is_not_ahead_keeps_the_memory_small() -> None:
    """Without floors the mask never grows beyond the window."""
    line = Line(WINDOW)
    for sequence in range(1, 1000, 3):
        line.mark(sequence)
        assert line.mask.bit_length() <= WINDOW


def test_what_failed_is_forgotten_with_the_floor() -> None:
    """Outcomes and failures go when the producer has seen them settled."""
    line = Line(8)
    line.outcomes.update({1: "one", 5: "five"})
    line.failed.update({2: 1, 6: 3})
    line.forget(5)
    assert (line.outcomes, line.failed) == ({5: "five"}, {6: 3})


def test_answers_become_ranges() -> None:
    """Consecutive entries of one subscription travel as one range."""
    answers = Answers()
    for number, entry in ((1, 1), (1, 2), (2, 3), (1, 3), (1, 4)):
        answers.done(number, entry)
    assert answers.take() == [wire.DONE, [[1, 1, 2], [2, 3, 3], [1, 3, 4]]]
    assert answers.take() is None


def test_kept_results_are_bounded_in_bytes() -> None:
    """The oldest results are forgotten first."""
    kept, line = Kept(2_000), Line(8)
    for sequence in range(1, 11):
        kept.keep(line, sequence, wire.VALUE, [True, bytes(200)])
    assert sorted(line.outcomes) == [7, 8, 9, 10]
