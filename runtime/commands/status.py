"""`llmgine status`: what a runtime is doing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from llmgine.runtime.commands.asking import ask
from llmgine.runtime.commands.output import AsJson, cell, table, write, write_json
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName

# What tells one opening of a session from another, which no reader of a table has to.
_INTERNAL = ("opening",)
# Their zeros say something: nothing was published, nothing failed.
_ALWAYS = ("events_published_total", "events_processed_total", "events_failed_total")


def status(
    name: RuntimeName = DEFAULT_RUNTIME,
    as_json: AsJson = False,
    every: Annotated[bool, typer.Option("--all", help="Show the counters that are zero, too.")] = False,
) -> None:
    """Show a runtime's actors, sessions, pools and the counters of its bus. Code 3 where none runs.

    Example: `llmgine status --json`
    """
    found = ask(name, lambda runtime: runtime.status())
    if as_json:
        write_json({**found, "started": datetime.fromtimestamp(found["started"], UTC).isoformat()})
    else:
        show(found, every=every)


def show(found: dict[str, Any], *, every: bool = False) -> None:
    """One table for each part of a runtime's status that has rows."""
    write(f"runtime {found['name']}\n")
    for part in ("actors", "hosts", "sessions", "pools"):
        rows = _rows(found.get(part) or [])
        if not rows:
            write(f"no {part}\n")
            continue
        columns = tuple(
            dict.fromkeys(column for row in rows for column in row if every or column not in _INTERNAL)
        )
        table(part, columns, [tuple(cell(row.get(column)) for column in columns) for row in rows])
    bus(found.get("bus") or {}, every=every)


def bus(statistics: dict[str, Any], *, every: bool = False) -> None:
    """A row for each handler, then the counters of the whole bus, without those of the asking client."""
    figures = {name: value for name, value in statistics.items() if name not in ("per_handler", "client")}
    handlers(statistics.get("per_handler", {}), every=every)
    counters(figures, every=every)


def handlers(rows: dict[str, dict[str, Any]], *, every: bool = False) -> None:
    """What became of each handler's messages, one a row; of the figures those that say something, or all."""
    if not rows:
        return
    figures = list(dict.fromkeys(name for row in rows.values() for name in row))
    told = [name for name in figures if every or any(_says(row.get(name)) for row in rows.values())]
    # A key is session, kind, class and name.
    lines = [
        (name, kind, type_, session, *(cell(row.get(figure)) for figure in told))
        for (session, kind, type_, name), row in ((key.split("\x1f"), row) for key, row in rows.items())
    ]
    table("handlers", ("name", "kind", "type", "session", *told), lines)


def _says(figure: Any) -> bool:
    return bool(figure) and figure != "closed"


def counters(bus: dict[str, Any], *, every: bool = False) -> None:
    """The bus counters that say something, or all, one a row; those of a part under its name."""
    flat: dict[str, Any] = {}
    for name, value in sorted(bus.items()):
        if isinstance(value, dict):
            flat |= {f"{name}.{below}": inner for below, inner in sorted(value.items())}
        else:
            flat[name] = value
    rows = [(name, cell(value)) for name, value in flat.items() if every or value or name in _ALWAYS]
    table("bus", ("counter", "value"), rows)


def _rows(part: Any) -> list[dict[str, Any]]:
    """A list of tables, or a table of them under their names, as rows."""
    if isinstance(part, dict):
        return [
            {"name": name, **(row if isinstance(row, dict) else {"value": row})} for name, row in part.items()
        ]
    return [row if isinstance(row, dict) else {"name": row} for row in part]
