"""`llmgine cost`: what model calls came to."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from llmgine.runtime.commands.completing import one_of
from llmgine.runtime.commands.moments import nanoseconds
from llmgine.runtime.commands.output import AsJson, UsageRefused, table, write, write_json
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName
from llmgine.runtime.commands.telemetry_asking import ask_telemetry
from llmgine.runtime.commands.traced import money

if TYPE_CHECKING:
    from llmgine.telemetry import CostRow
    from llmgine.telemetry.answers import CostBy


def cost(
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="session, model or provider.",
            autocompletion=one_of("session", "model", "provider"),
        ),
    ] = "model",
    since: Annotated[
        str | None, typer.Option("--since", help="Only calls since then: a time, or 90m, 12h, 7d ago.")
    ] = None,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Show what model calls came to, the dearest first; sampling leaves none out.

    Example: `llmgine cost --by session --since 24h`
    """
    key, start = _key(by), nanoseconds(since)
    found = ask_telemetry(name, lambda telemetry: telemetry.cost(key, start))
    if as_json:
        write_json(*(row.to_json() for row in found))
    else:
        show_cost(by, found)


def show_cost(by: str, found: Sequence[CostRow]) -> None:
    """A row for each, and their sum."""
    if not found:
        write("no model calls\n")
        return
    known = [row.cost for row in found if row.cost is not None]
    unpriced = sum(row.unpriced for row in found)
    total = money(sum(known, Decimal(0)) if known else None, unpriced)
    rows = [_row(row) for row in found]
    calls = str(sum(row.calls for row in found))
    tokens = tuple(
        str(sum(getattr(row.tokens, kind) for row in found)) for kind in ("input", "cached", "output")
    )
    table(
        f"cost by {by}",
        (by, "calls", "input", "cached", "output", "cost"),
        [*rows, ("all", calls, *tokens, total)],
    )


def _row(row: CostRow) -> tuple[str, ...]:
    counts = (row.calls, row.tokens.input, row.tokens.cached, row.tokens.output)
    return (row.key, *map(str, counts), money(row.cost, row.unpriced))


def _key(text: str) -> CostBy:
    if text in ("session", "model", "provider"):
        return text  # type: ignore[return-value]
    raise UsageRefused(f"--by {text!r}: use session, model or provider")
