"""A bar on terminals that shows how far a map is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

# Is told how many prompts are done.
Show = Callable[[int], None]


def shown(total: int, name: str, wanted: bool | None) -> AbstractContextManager[Show]:
    """The bar, where it is wanted; by default on terminals."""
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        return nullcontext(lambda done: None)
    return _bar(total, name)


@contextmanager
def _bar(total: int, name: str) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done: progress.update(task, completed=done)
