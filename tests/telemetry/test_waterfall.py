"""Traces as rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmgine.telemetry import Span, session_waterfall, waterfall
from llmgine.telemetry.waterfall import bar, to_wire

SECOND = 1_000_000_000


def span(number: int, parent: int, start: float, end: float | None, name: str = "", trace: int = 1) -> Span:
    finish = None if end is None else int(end * SECOND)
    return Span(
        trace, number, parent, name or f"n{number}", "internal", "s", "a", int(start * SECOND), finish
    )


def test_a_tree_is_drawn_parents_first_with_bars_in_place() -> None:
    """Depth, offset, time and bar of each span are those of the tree."""
    rows = waterfall([span(3, 2, 2, 4), span(1, 0, 0, 10), span(4, 1, 6, 10), span(2, 1, 1, 5)], now=0)
    assert [(row.depth, row.name, row.offset, row.seconds) for row in rows] == [
        (0, "n1", 0, 10),
        (1, "n2", 1, 4),
        (2, "n3", 2, 2),
        (1, "n4", 6, 4),
    ]
    assert (rows[2].left, rows[2].width) == (0.2, 0.2)
    assert bar(rows[2], 10) == "  ━━      "


def test_running_spans_last_until_now() -> None:
    """A span without an end is drawn up to the present."""
    [row] = waterfall([span(1, 0, 0, None)], now=3 * SECOND)
    assert (row.running, row.seconds, row.width) == (True, 3, 1)


def test_orphans_and_circles_are_drawn_once_each() -> None:
    """A span whose parent is missing, or that is its own ancestor, still has one row."""
    rows = waterfall([span(1, 99, 0, 1), span(2, 3, 0, 1), span(3, 2, 0, 1), span(4, 4, 0, 1)], now=0)
    assert sorted(row.name for row in rows) == ["n1", "n2", "n3", "n4"]
    assert next(row for row in rows if row.name == "n1").orphan


def test_a_session_has_one_tree_over_its_turns() -> None:
    """The turns of a session hang below one row for the session, whether it has a span or not."""
    turns = [span(1, 0, 0, 1, trace=1), span(1, 0, 2, 3, trace=2)]
    rows = session_waterfall("s", turns, now=0)
    assert [(row.depth, row.name) for row in rows] == [(0, "session s"), (1, "n1"), (1, "n1")]
    assert rows[0].seconds == 3
    own = [span(1, 0, 0, 4, "session"), span(2, 1, 1, 2)]
    assert [(row.depth, row.name) for row in session_waterfall("s", own, now=0)] == [
        (0, "session"),
        (1, "n2"),
    ]
    assert session_waterfall("s", [], now=0) == []


def test_rows_travel_as_plain_values() -> None:
    """Rows can be sent to a page."""
    [wire] = to_wire(waterfall([span(1, 0, 0, 1)], now=0))
    assert wire["name"] == "n1"
    assert wire["attributes"] == {}


spans = st.lists(
    st.builds(
        span,
        st.integers(1, 12),
        st.integers(0, 12),
        st.floats(0, 100),
        st.none() | st.floats(0, 100),
        trace=st.integers(1, 2),
    ),
    max_size=25,
    unique_by=lambda span: (span.trace_id, span.span_id),
)


@given(spans, st.integers(1, 120))
def test_any_spans_give_one_row_each_within_the_drawing(many: list[Span], columns: int) -> None:
    """No set of spans breaks the drawing: one row each, bars inside, a row of exactly the asked width."""
    rows = waterfall(many, now=50 * SECOND)
    assert {(row.span.trace_id, row.span.span_id) for row in rows if row.span} == {
        (one.trace_id, one.span_id) for one in many
    }
    assert len(rows) == len(many)
    for row in rows:
        assert 0 <= row.left <= 1
        assert row.width >= 0
        assert row.left + row.width <= 1 + 1e-9
        assert len(bar(row, columns)) == columns
