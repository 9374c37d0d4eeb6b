"""What is kept of a run, and the page that is made of it."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from benchmarks import plots, report, store
from benchmarks.contract import Case
from benchmarks.figures import Figure, Outcome
from benchmarks.harness import Result

CASE = Case("bus", "events", ("events_per_s",), ("echo",), ("a < b",))


def result() -> Result:
    ours = Outcome({"events_per_s": Figure(100.0, 90.0, 110.0)}, {"p99_us": [(0.0, 5.0), (99, 50.0)]})
    peers = {"echo": Outcome({"p50_us": Figure(7.0, 6.0, 8.0)}), "bubus": Outcome(absent="not installed")}
    return Result(CASE, ours, peers, {"processor": "P"}, {"llmgine-ray": "0.1.0"})


def test_history_has_one_row_per_contender_and_figure(tmp_path: Path) -> None:
    """A second run adds rows below the first, under one head."""
    path = tmp_path / "history.csv"
    for _ in range(2):
        store.record(result(), path, now=datetime(2026, 1, 2, tzinfo=UTC))
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    assert rows[0] == list(store.COLUMNS)
    first = ["2026-01-02", "0.1.0", "bus", "llmgine", "events_per_s", "100", "90", "110", "P"]
    assert rows[1] == rows[3] == first
    assert len(rows) == 5


def test_the_page_holds_every_case_figure_and_reason(tmp_path: Path) -> None:
    """What was kept comes back as a page; text is escaped, and plots are well-formed."""
    store.keep(result(), tmp_path)
    page = report.page(store.kept(tmp_path))
    for text in ("a &lt; b", "bubus: not installed", "<td>events_per_s</td>", "Throughput", "Distribution"):
        assert text in page
    assert "<script" not in page
    for piece in page.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + piece.partition("</svg>")[0] + "</svg>")


def test_a_page_without_results_says_what_to_run(tmp_path: Path) -> None:
    """An empty folder is no error."""
    assert "python -m benchmarks all" in report.page(store.kept(tmp_path))


def test_an_axis_encloses_its_values_in_decades() -> None:
    """Equal values still have an axis of some length."""
    assert plots.decades(3.0, 900.0) == [1.0, 10.0, 100.0, 1000.0]
    assert plots.decades(10.0, 10.0) == [10.0, 100.0]


def test_values_that_no_log_axis_can_show_are_not_drawn() -> None:
    """A row or point at 0 is left out, and nothing at all is no plot."""
    assert plots.dots([("a", "c0", (0.0, 0.0, 0.0))], "x") == ""
    assert plots.distribution({"a": [(0.0, 0.0)]}, {"a": "c0"}) == ""


def test_a_course_is_drawn_over_its_time() -> None:
    """Each line from its first second to its last, as high as its values; nothing is no plot."""
    drawn = plots.course({"a": [(0.0, 0.0), (10.0, 4.0)], "b": [(5.0, 2.0)]}, {"a": "c0", "b": "c1"})
    lines = [line.attrib["points"] for line in ElementTree.fromstring(drawn) if line.tag == "polyline"]
    assert lines == ["220.0,200.0 630.0,10.0", "425.0,105.0"]
    assert plots.course({"a": []}, {"a": "c0"}) == ""
