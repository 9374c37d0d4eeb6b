"""How every command speaks: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from llmgine.providers.errors import LlmgineError

AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON: an object, or one a line where there may be several.")
]

# What others wrote may hold brackets and colons, and is shown as it is.
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


# A sentence that pydantic ends its errors with; it says nothing of what went wrong.
_PYDANTIC_LINK = re.compile(r"\s*For further information visit https://errors\.pydantic\.dev/\S+")


class UsageRefused(LlmgineError):
    """The command was called in a way that it cannot serve; exit code 2."""


class NotThere(LlmgineError):
    """Nothing has the id or the name that was given; exit code 4."""


def write(text: str) -> None:
    """A piece of the result, at once and as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def write_json(*values: Any) -> None:
    """Each value on a line of its own."""
    for value in values:
        write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def done(text: str, *, as_json: bool, **facts: Any) -> None:
    """What a command has done: a sentence for the person, or its facts as JSON."""
    if as_json:
        write_json(facts)
    else:
        note(text)


def note(text: str) -> None:
    """A line for the person that waits."""
    err.print(text)


def fail(text: str) -> None:
    """The one message of a command that did not succeed."""
    err.print(f"error: {_PYDANTIC_LINK.sub('', text)}", style="red" if err.is_terminal else None)


@contextmanager
def plain_width(columns: int) -> Iterator[None]:
    """Results are so wide where no terminal says how wide they are."""
    was = out.width
    if not out.is_terminal:
        out.width = columns
    try:
        yield
    finally:
        if not out.is_terminal:
            out.width = was


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """A spinner where a person watches, one plain line elsewhere."""
    if err.is_terminal:
        with err.status(text):
            yield
    else:
        note(text)
        yield


def table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Rows under a title; aligned words without frames where nobody watches."""
    if out.is_terminal:
        drawn = Table(title=title, title_justify="left")
        for column in columns:
            drawn.add_column(column)
        for row in rows:
            drawn.add_row(*row)
        out.print(drawn, soft_wrap=False)
        return
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    write(f"{title}\n")
    for row in [columns, *rows]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        write(f"  {line.rstrip()}\n")


def clock(moment: datetime) -> str:
    """A time of this machine's zone, as tables show it."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def cell(value: Any) -> str:
    """A value as tables show it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def facts(title: str, values: Mapping[str, Any]) -> None:
    """One thing: a row for each of its fields that says something."""
    table(title, ("", ""), [(name, cell(value)) for name, value in values.items() if value not in (None, "")])
