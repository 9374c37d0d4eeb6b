"""`llmgine bus`: handlers, their mailboxes and breakers, and what did not get through."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmgine.runtime.commands.asking import ask
from llmgine.runtime.commands.grouping import group
from llmgine.runtime.commands.output import AsJson, cell, table, write_json
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName
from llmgine.runtime.commands.watching import Every, Ticks, Watch, watch

if TYPE_CHECKING:
    from rich.console import RenderableType

Part = tuple[str, tuple[str, ...], list[tuple[str, ...]]]

buses = group("Handlers, their mailboxes and breakers, and what did not get through: show, watch.")

_NAMED = ("name", "kind", "type", "session")
_MAILBOX = ("held", "in_flight", "waiting_for_room", "waiting_for_retry", "parked", "pressure_on")
_OUTCOMES = ("members", "accepted", "handled", "failed", "retried", "redelivered")
# What was published for a handler and never came to it, or was not handled by it.
_GAPS = ("dropped", "coalesced", "expired", "cancelled", "discarded", "rejected", "failed")
_PER_SECOND = ("events_published", "events_processed", "events_failed")

Session = Annotated[
    str | None, typer.Option("-s", "--session", help="Only handlers of this one; BUS is a session.")
]


@buses.command()
def show(session: Session = None, as_json: AsJson = False, name: RuntimeName = DEFAULT_RUNTIME) -> None:
    """Show each handler, its mailbox and breaker, what did not get through, and the counters of the bus.

    Example: `llmgine bus show --json`
    """
    found = ask(name, lambda runtime: runtime.bus.statistics())
    if as_json:
        write_json(described(found, session))
        return
    for title, columns, rows in parts(described(found, session)):
        table(title, columns, rows)


@buses.command("watch")
def watch_bus(
    session: Session = None,
    every: Every = 1.0,
    ticks: Ticks = None,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Watch the handlers with what they handle a second, until q or Ctrl-C.

    Example: `llmgine bus watch --session support-7`
    """
    rates = Rates()

    def seen(found: Mapping[str, Any]) -> dict[str, Any]:
        return rates.told(described(found, session))

    def plain(found: dict[str, Any]) -> None:
        for title, columns, rows in watched(seen(found)):
            table(title, columns, rows)

    bus = Watch(
        lambda runtime: runtime.bus.statistics(), lambda found: drawn(watched(seen(found))), plain, seen
    )
    watch(name, bus, every, ticks, as_json=as_json)


def described(found: Mapping[str, Any], session: str | None = None) -> dict[str, Any]:
    """The counters of the bus, and its handlers one by one."""
    inner = ("per_handler", "client", "handlers", "circuit_breaker_state")
    handlers = []
    for key, row in found["per_handler"].items():
        of, kind, type_, name = key.split("\x1f")
        if session in (None, of):
            breaker = row["circuit_breaker_state"]
            counts = {figure: value for figure, value in row.items() if figure != "circuit_breaker_state"}
            handlers.append(
                {"name": name, "kind": kind, "type": type_, "session": of, "breaker": breaker, **counts}
            )
    counters = {figure: value for figure, value in found.items() if figure not in inner}
    return {"counters": counters, "handlers": sorted(handlers, key=lambda row: (row["session"], row["name"]))}


def parts(bus: Mapping[str, Any]) -> Iterator[Part]:
    """Tables of handlers, mailboxes, breakers, gaps and counters."""
    handlers = bus["handlers"]
    yield _part("handlers", (*_NAMED, *_OUTCOMES), handlers)
    yield _part("mailboxes", ("name", "session", *_MAILBOX), handlers)
    yield _part("breakers", ("name", "session", "breaker"), handlers)
    gaps = [row for row in handlers if any(row[figure] for figure in _GAPS)]
    yield _part("gaps: what did not get through", ("name", "session", *_GAPS), gaps)
    yield "counters", ("counter", "value"), [(name, cell(value)) for name, value in bus["counters"].items()]


def watched(bus: Mapping[str, Any]) -> Iterator[Part]:
    """One table, of what changes."""
    columns = ("name", "session", "handled/s", "failed/s", *_MAILBOX[:-1], "breaker", "dropped", "expired")
    yield _part("handlers; q or Ctrl-C ends", columns, bus["handlers"])
    told = (*(f"{name}/s" for name in _PER_SECOND), "queue_size", "dead_letter_queue_size")
    yield "bus", told, [tuple(cell(bus["counters"].get(name)) for name in told)]


def drawn(all_: Iterator[Part]) -> RenderableType:
    """The tables below each other, for a terminal."""
    from rich.console import Group
    from rich.table import Table

    tables = []
    for title, columns, rows in all_:
        one = Table(*columns, title=title, title_justify="left")
        for row in rows:
            one.add_row(*row)
        tables.append(one)
    return Group(*tables)


def _part(title: str, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> Part:
    return title, columns, [tuple(cell(row.get(column)) for column in columns) for row in rows]


class Rates:
    """Counts a second, from one look to the next."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock()
        self._counts: dict[tuple[str, ...], float] = {}

    def told(self, bus: dict[str, Any]) -> dict[str, Any]:
        """The same with figures that end in `/s`."""
        now = self._clock()
        seconds, self._at = max(now - self._at, 1e-3), now
        counters = bus["counters"]
        for name in _PER_SECOND:
            counters[f"{name}/s"] = self._rate((name,), counters[f"{name}_total"], seconds)
        for row in bus["handlers"]:
            for figure in ("handled", "failed"):
                key = (row["session"], row["kind"], row["type"], row["name"], figure)
                row[f"{figure}/s"] = self._rate(key, row[figure], seconds)
        return {"time": datetime.now(UTC).isoformat(), **bus}

    def _rate(self, key: tuple[str, ...], count: float, seconds: float) -> float:
        """What was there before it was first seen came at an unknown time."""
        before = self._counts.get(key, count)
        self._counts[key] = count
        return round(max(0.0, count - before) / seconds, 1)
