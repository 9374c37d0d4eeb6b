"""How every command speaks: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from llmgine.providers.errors import LlmgineError

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


# A sentence that pydantic ends its errors with; it says nothing of what went wrong.
_PYDANTIC_LINK = re.compile(r"\s*For further information visit https://errors\.pydantic\.dev/\S+")


class UsageRefused(LlmgineError):
    """The command was called in a way that it cannot serve; exit code 2."""


def write(text: str) -> None:
    """A piece of the result, at once and as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def note(text: str) -> None:
    """A line for the person that waits."""
    err.print(text, markup=False)


def fail(text: str) -> None:
    """The one message of a command that did not succeed."""
    err.print(
        f"error: {_PYDANTIC_LINK.sub('', text)}", markup=False, style="red" if err.is_terminal else None
    )


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
