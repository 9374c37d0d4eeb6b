"""Finished traces drawn on a terminal as a tree with bars."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmgine.telemetry import names
from llmgine.telemetry.records import Span
from llmgine.telemetry.waterfall import Row, bar, waterfall

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

MAX_TRACES = 256
MAX_SPANS = 500
WITHOUT_ROOT = 10  # moments of quiet that a trace waits for its root
BAR_COLUMNS = 32


class ConsoleExporter:
    """Draws each trace once its root has ended and nothing more has come for a moment.

    One whose root is elsewhere, or takes long, is drawn once it has been quiet for longer.
    """

    name = "console"

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._traces: OrderedDict[int, list[Span]] = OrderedDict()
        self._quiet: dict[int, int] = {}  # how often a trace without a root was found quiet

    def export(self, spans: Sequence[Span]) -> None:
        for span in spans:
            self._quiet.pop(span.trace_id, None)
            kept = self._traces.setdefault(span.trace_id, [])
            if len(kept) < MAX_SPANS:
                kept.append(span)
        while len(self._traces) > MAX_TRACES:
            self._draw(self._traces.popitem(last=False)[1])

    def idle(self) -> bool:
        for trace_id, spans in list(self._traces.items()):
            quiet = self._quiet[trace_id] = self._quiet.get(trace_id, 0) + 1
            if quiet > WITHOUT_ROOT or any(not span.parent_id for span in spans):
                del self._traces[trace_id]
                self._draw(spans)
        return bool(self._traces)

    def close(self) -> None:
        while self._traces:
            self._draw(self._traces.popitem(last=False)[1])

    def _draw(self, spans: list[Span]) -> None:
        self._quiet.pop(spans[0].trace_id, None)
        if self._console is None:
            from rich.console import Console

            self._console = Console()
        last = {span.span_id: span for span in spans}
        end = max(span.end or span.start for span in spans)
        self._console.print(drawing(waterfall(last.values(), end), title=f"trace {spans[0].trace_id:032x}"))


def drawing(rows: Sequence[Row], *, title: str = "", columns: int = BAR_COLUMNS) -> RenderableType:
    """The rows as a table that rich prints: name by depth, bar, time, and what a model call came to."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, expand=False)
    table.add_column("span", overflow="fold")
    table.add_column("", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in rows:
        style = "red" if row.error else ("yellow" if row.running else _STYLES.get(row.kind, "cyan"))
        name = Text("  " * row.depth + ("⋯ " if row.orphan else "") + row.name)
        table.add_row(
            name, Text(bar(row, columns), style=style), duration(row), Text(_notes(row), style="dim")
        )
    return table


def duration(row: Row) -> str:
    """`1.24 s`, `38 ms`, `0.21 ms`; a running span's ends with `…`."""
    seconds = row.seconds
    text = f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.{0 if seconds >= 0.01 else 2}f} ms"
    return text + "…" if row.running else text


_STYLES = {"client": "green", "producer": "magenta", "consumer": "magenta", "internal": "cyan"}


def _notes(row: Row) -> str:
    attributes: dict[str, Any] = row.span.attributes if row.span else {}
    notes = [row.error] if row.error else []
    used = attributes.get(names.GEN_AI_USAGE_INPUT_TOKENS), attributes.get(names.GEN_AI_USAGE_OUTPUT_TOKENS)
    if used != (None, None):
        notes.append(f"{_known(used[0])} → {_known(used[1])} tokens")
    if isinstance(first := attributes.get(names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK), int | float):
        notes.append(f"first {first * 1e3:.0f} ms")
    if cost := attributes.get(names.LLMGINE_COST_USD):
        notes.append(f"${cost}")
    return " · ".join(notes)


def _known(value: Any) -> str:
    return "?" if value is None else str(value)
