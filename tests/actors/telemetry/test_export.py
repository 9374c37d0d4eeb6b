"""The thread that offers spans to a receiver: again and again, in bounded time, with exact books."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from llmgine.actors.telemetry.export import ExportThread, Patience
from llmgine.telemetry import Span
from llmgine.telemetry.exporters import OtlpExporter, Taken
from llmgine.telemetry.exporters.otlp import target
from llmgine.telemetry.options import OtlpOptions
from tests.telemetry.receivers import Received, Say, http_receiver

QUICK = Patience(seconds=30, first=0.001, longest=0.002)


def span(number: int) -> Span:
    return Span(7, number, 0, "work", "internal", "", "actor", 1, 2)


class Scripted:
    """Answers as it is told, then takes all."""

    name = "scripted"

    def __init__(self, *answers: Taken | Exception) -> None:
        self.answers = list(answers)
        self.offers: list[list[int]] = []
        self.times: list[float] = []
        self.offered = threading.Event()

    def export(self, spans: Sequence[Span]) -> Taken | None:
        self.offers.append([one.span_id for one in spans])
        self.times.append(time.monotonic())
        self.offered.set()
        if not self.answers:
            return None
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def idle(self) -> bool | None:
        return None

    def close(self) -> None: ...


def books(export: ExportThread) -> tuple[int, int, int, int]:
    counters = export.counters()
    return counters["exported"], counters["failed"], counters["dropped"], counters["waiting"]


def otlp(received: Received, timeout: float = 5.0) -> OtlpExporter:
    found = target(OtlpOptions(endpoint=received.address, timeout=timeout), {})
    assert found is not None
    return OtlpExporter(found)


def test_what_can_be_offered_again_is_until_it_is_taken() -> None:
    """Only what was not taken goes out again, and each span is counted once."""
    spans = [span(number) for number in range(1, 6)]
    scripted = Scripted(Taken(1, spans[2:]), Taken(0, spans[4:]))
    export = ExportThread(scripted, 100, patience=QUICK)
    export.put(spans)
    assert export.flush(5)
    assert scripted.offers == [[1, 2, 3, 4, 5], [3, 4, 5], [5]]
    assert books(export) == (4, 1, 0, 0)
    assert export.counters()["retries"] == 2
    assert export.close(5)


def test_an_offer_waits_as_long_as_the_receiver_asks() -> None:
    """The receiver's own time is a lower bound of the pause."""
    scripted = Scripted(Taken(again=[span(1)], after=0.1))
    export = ExportThread(scripted, 100, patience=QUICK)
    export.put([span(1)])
    assert export.flush(5)
    assert scripted.times[1] - scripted.times[0] >= 0.1
    assert export.close(5)


def test_one_in_which_something_waits_is_told_of_each_quiet_moment() -> None:
    """Until nothing waits; then it is left alone."""
    left, done = [True, True, False], threading.Event()

    class Waiting(Scripted):
        def idle(self) -> bool:
            more = left.pop(0)
            if not left:
                done.set()
            return more

    export = ExportThread(Waiting(), 100, idle_seconds=0.001)
    export.put([span(1)])
    assert done.wait(5)
    assert export.close(5)
    assert export.last_error == ""


def test_patience_ends() -> None:
    """Spans that nobody takes in time have failed, and the next ones are offered."""
    scripted = Scripted(*[Taken(again=[span(1)], reason="full")] * 3)
    export = ExportThread(scripted, 100, patience=Patience(0.001, first=0.002, longest=0.002))
    export.put([span(1)])
    assert export.flush(5)
    assert books(export) == (0, 1, 0, 0)
    assert export.last_error == "full"
    scripted.answers.clear()
    export.put([span(2)])
    assert export.flush(5)
    assert books(export) == (1, 1, 0, 0)
    assert export.close(5)


def test_closing_does_not_wait_for_an_offer_that_comes_too_late() -> None:
    """A pause that outlasts the end is cut short: what waits in it has failed at once."""
    scripted = Scripted(Taken(again=[span(1)], after=200))
    export = ExportThread(scripted, 100, patience=QUICK)
    export.put([span(1)])
    assert scripted.offered.wait(5)
    begun = time.monotonic()
    export.put([span(2)])
    assert export.close(20)
    assert time.monotonic() - begun < 10
    assert scripted.offers == [[1], [2]]
    assert books(export) == (1, 1, 0, 0)


def test_closing_waits_for_an_offer_that_comes_in_time() -> None:
    """What the receiver takes before the end is not given up."""
    scripted = Scripted(Taken(again=[span(1)], after=0.05))
    export = ExportThread(scripted, 100, patience=QUICK)
    export.put([span(1)])
    assert export.close(10)
    assert books(export) == (1, 0, 0, 0)


@pytest.mark.parametrize("failures", [1, 2, 3, 4, 50])
def test_pauses_grow_to_their_longest(failures: int) -> None:
    """They double from the first, with jitter around, and never fall below what the receiver asks."""
    patience = Patience(60, first=0.5, longest=8)
    own = min(8, 0.5 * 2 ** (failures - 1))
    assert patience.pause(failures, None, 0) == pytest.approx(own * 0.75)
    assert patience.pause(failures, None, 1) == pytest.approx(own * 1.25)
    assert patience.pause(failures, 30, 0) == 30
    assert patience.pause(failures, 1e9, 0) == 300


def test_the_books_are_exact_over_every_kind_of_trouble() -> None:
    """Refused, delayed, partly taken and dropped spans add up to what was handed over."""
    with http_receiver() as received:
        received.answers.extend([Say(503, after=0), Say(rejected=7), Say(400), Say(429, after=0)])
        export = ExportThread(otlp(received), 600, patience=QUICK)
        export.put([span(number) for number in range(1, 101)])
        assert received.wait_for(lambda it: len(it.attempts) == 2)
        assert export.flush(10)
        export.put([span(number) for number in range(101, 151)])
        assert export.flush(10)
        export.put([span(number) for number in range(151, 1151)])
        assert export.flush(10)
        exported, failed, dropped, waiting = books(export)
        assert (failed, waiting) == (7 + 50, 0)
        assert dropped == 400
        assert exported + failed + dropped == 1150
        assert len(received.spans) == exported + 7
        assert export.close(5)


def test_a_receiver_that_hangs_does_not_hold_up_the_end() -> None:
    """The end comes when it must; what is still under way then counts as dropped, whatever comes of it."""
    with http_receiver() as received:
        received.answers.append(Say(hang=True))
        export = ExportThread(otlp(received, timeout=20), 100, patience=QUICK)
        export.put([span(1), span(2)])
        assert received.wait_for(lambda it: it.attempts)
        export.put([span(3)])
        assert not export.close(0.05)
        assert books(export) == (0, 0, 3, 0)
    assert export.flush(20)
    assert books(export) == (0, 0, 3, 0)


def test_a_receiver_that_comes_back_gets_what_waited() -> None:
    """A restart of the receiver loses nothing."""
    with http_receiver() as received:
        address = received.address
    port = int(address.rpartition(":")[2])
    found = target(OtlpOptions(endpoint=address), {})
    assert found is not None
    export = ExportThread(OtlpExporter(found), 100, patience=QUICK)
    export.put([span(1)])
    with http_receiver(port) as received:
        assert received.wait_for(lambda it: it.taken)
        assert export.flush(5)
        assert export.close(5)
    assert books(export) == (1, 0, 0, 0)
