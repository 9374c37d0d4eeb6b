"""Several answers side by side: columns that grow on a terminal, lines with their name elsewhere."""

from __future__ import annotations

import textwrap
from types import TracebackType

from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

_LINE = 72


class SideBySide:
    """Shows what is said under each name as it comes; whole once the block is left."""

    def __init__(self, console: Console, names: list[str]) -> None:
        self._console = console
        self._said = dict.fromkeys(names, "")
        self._printed = dict.fromkeys(names, 0)
        self._live = Live(console=console, refresh_per_second=12) if console.is_terminal else None

    def __enter__(self) -> SideBySide:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._live:
            self._live.update(self._drawn(), refresh=True)
            self._live.stop()
        for name in self._said:
            self._print_lines(name, last=True)

    def add(self, name: str, text: str) -> None:
        """More of what `name` says."""
        self._said[name] += text
        if self._live:
            self._live.update(self._drawn())
        else:
            self._print_lines(name)

    def event(self, name: str, text: str) -> None:
        """Something that happened, on a line of its own."""
        self.add(
            name, ("\n" if self._said[name] and not self._said[name].endswith("\n") else "") + text + "\n"
        )

    def _drawn(self) -> RenderableType:
        width = max(24, self._console.width // len(self._said) - 1)
        return Columns([Panel(Text(text), title=name, width=width) for name, text in self._said.items()])

    def _print_lines(self, name: str, *, last: bool = False) -> None:
        """Prints what is complete: whole lines, and long ones folded."""
        if self._live:
            return
        while True:
            rest = self._said[name][self._printed[name] :]
            line, newline, _ = rest.partition("\n")
            if not newline and len(line) > _LINE:
                line = textwrap.wrap(line, _LINE, drop_whitespace=False)[0]
            elif not newline and not (last and line):
                return
            self._console.print(f"[{name}] {line.strip()}".rstrip(), markup=False)
            self._printed[name] += len(line) + len(newline)
