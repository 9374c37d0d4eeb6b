"""`llmgine traces`: what the runtime did, span by span."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from llmgine.runtime.commands.grouping import group
from llmgine.runtime.commands.moments import nanoseconds
from llmgine.runtime.commands.output import (
    AsJson,
    NotThere,
    UsageRefused,
    done,
    write,
    write_json,
)
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName
from llmgine.runtime.commands.telemetry_asking import ask_telemetry
from llmgine.runtime.commands.traced import draw, show_all, show_stats, span_json

if TYPE_CHECKING:
    from llmgine.actors.telemetry import TelemetryClient
    from llmgine.actors.telemetry.query import View
    from llmgine.telemetry import TraceQuery, TraceSummary

T = TypeVar("T")

traces = group("What the runtime did, span by span: ls, show, search, stats, export.")

# Traces asked for at a time.
_PAGE = 200

Id = Annotated[str, typer.Argument(metavar="ID", help="The trace's id, as `ls` shows it.")]
InSession = Annotated[str | None, typer.Option("-s", "--session", help="Only those of this session.")]
Failed = Annotated[bool, typer.Option("--errors", help="Only those in which something failed.")]
Slow = Annotated[float | None, typer.Option("--slow", min=0, help="Only those that took so many seconds.")]
Model = Annotated[str | None, typer.Option("-m", "--model", help="Only those that called such a model.")]
Since = Annotated[
    str | None, typer.Option("--since", help="Only those begun since then: a time, or 90m, 12h, 7d ago.")
]
Until = Annotated[str | None, typer.Option("--until", help="Only those begun before then.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="So many at most, the newest first.")]


@traces.command("ls")
def list_traces(
    session: InSession = None,
    errors: Failed = False,
    slow: Slow = None,
    model: Model = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """List traces, the newest first.

    Example: `llmgine traces ls --errors --since 2h`
    """
    _list(name, _chosen(session, errors, slow, model, since, until), limit, as_json=as_json)


@traces.command()
def search(
    text: Annotated[str, typer.Argument(help="What stands in a span's name, error or attributes.")],
    session: InSession = None,
    errors: Failed = False,
    slow: Slow = None,
    model: Model = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """List traces in which a text stands, whatever its case; what was said is searched where it is recorded.

    Example: `llmgine traces search get_weather --slow 2`
    """
    chosen = {**_chosen(session, errors, slow, model, since, until), "text": text}
    _list(name, chosen, limit, as_json=as_json)


def _chosen(
    session: str | None,
    errors: bool,
    slow: float | None,
    model: str | None,
    since: str | None,
    until: str | None,
) -> dict[str, Any]:
    return {
        "session": session,
        "error": True if errors else None,
        "min_seconds": slow,
        "model": model,
        "since": nanoseconds(since),
        "until": nanoseconds(until, "--until"),
    }


def _list(name: str, chosen: dict[str, Any], limit: int, *, as_json: bool) -> None:
    async def listed(telemetry: TelemetryClient) -> list[TraceSummary]:
        from llmgine.telemetry import TraceQuery

        return await pages(telemetry, TraceQuery(**chosen), limit)

    found = ask_telemetry(name, listed)
    if as_json:
        write_json(*(one.to_json() for one in found))
    else:
        show_all(found)


async def pages(telemetry: TelemetryClient, query: TraceQuery, limit: int) -> list[TraceSummary]:
    """So many traces at most, page by page."""
    found: list[TraceSummary] = []
    cursor: str | None = None
    while True:
        page = await telemetry.traces(query, min(limit - len(found), _PAGE), cursor)
        found += page.items
        cursor = page.next
        if cursor is None or len(found) >= limit:
            return found[:limit]


@traces.command()
def show(
    id_: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The trace's id, as `ls` shows it.")
    ] = None,
    session: Annotated[
        str | None, typer.Option("-s", "--session", help="All that is kept of this session, instead.")
    ] = None,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Draw a trace, or all of a session, as a tree of spans over time.

    Example: `llmgine traces show -s support-7`
    """
    if (id_ is None) is (session is None):
        raise UsageRefused("traces show takes one thing to show: a trace's id, or --session")

    async def shown(telemetry: TelemetryClient) -> View:
        return await (telemetry.session(session) if session is not None else telemetry.trace(checked(id_)))

    view = ask_telemetry(name, shown)
    if not view.spans:
        raise _unknown(id_ or session or "")
    if as_json:
        write_json(*({**dataclasses.asdict(row), "span": span_json(row.span)} for row in view.rows()))
    else:
        draw(view)


@traces.command()
def stats(as_json: AsJson = False, name: RuntimeName = DEFAULT_RUNTIME) -> None:
    """Show what all model calls came to: tokens, cost, latencies, waits and errors.

    Example: `llmgine traces stats --json`
    """
    found = ask_telemetry(name, lambda telemetry: telemetry.stats())
    if as_json:
        write_json(found.to_json())
    else:
        show_stats(found)


@traces.command()
def export(
    id_: Id,
    file: Annotated[Path | None, typer.Argument(help="Where it goes; standard output without it.")] = None,
    format: Annotated[
        str,
        typer.Option(
            "--format", help="otlp-json, which OpenTelemetry's tools read, or jsonl, a span a line."
        ),
    ] = "otlp-json",
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Write one trace as JSON; --json tells of the file as JSON, too.

    Example: `llmgine traces export ID trace.json --format otlp-json`
    """
    chosen = _format(format)
    if file is not None and not file.absolute().parent.is_dir():
        raise UsageRefused(f"{file}: its folder does not exist")
    data = ask_telemetry(name, lambda telemetry: telemetry.export(checked(id_), chosen))
    if not data:
        raise _unknown(id_)
    if file is None:
        write(data.rstrip("\n") + "\n")
        return
    file.write_text(data, encoding="utf-8")
    done(f"written to {file}", as_json=as_json, id=id_, file=str(file), format=chosen)


def _format(text: str) -> Literal["otlp-json", "jsonl"]:
    if text == "otlp-json":
        return "otlp-json"
    if text == "jsonl":
        return "jsonl"
    raise UsageRefused(f"--format {text!r}: use otlp-json or jsonl")


def checked(id_: str | None) -> str:
    """The id of a trace; else `UsageRefused`."""
    try:
        int(id_ or "", 16)
    except ValueError:
        raise UsageRefused(f"{id_!r} is not the id of a trace: it has hexadecimal digits alone") from None
    return id_ or ""


def _unknown(what: str) -> NotThere:
    return NotThere(f"nothing is kept of {what}; `llmgine traces ls` shows what is")
