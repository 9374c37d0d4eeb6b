"""Writes docs/command.md from the help of the command itself: `make docs`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from llmgine.runtime.commands.entry import app

PAGE = Path(__file__).parent / "command.md"
HEAD = """# The command `llmgine`

Results go to standard output, everything else to standard error. Where `--json` is taken, a result is one JSON object, or one a line where there
may be several; a command that only does something then tells what it has done. Times are ISO 8601, durations seconds, money decimal texts. A
command that has commands of its own does the first of them where none is named: `llmgine pools` is `llmgine pools ls`.

Commands that ask a runtime take `--name`, by default `default`; it is the one that `llmgine up` has started here, or the one of that name in the
Ray cluster that `RAY_ADDRESS` names. `llmgine --traceback COMMAND` shows where an error came from. `llmgine completion` prints what lets a shell
complete all of this.

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | it could not be done; one line on standard error says why, and what mends it |
| 2 | wrong usage; nothing was begun |
| 3 | no runtime of that name runs |
| 4 | nothing has the id or name that was given |
| 130 | ended by Ctrl-C, in order |
| 143 | ended by SIGTERM, in order |

`llmgine run` ends with the exit code of its script.

## Commands

This part is written by `make docs`.
"""


def page() -> str:
    """The page as it should be."""
    lines = [HEAD]
    for path, command in walked(typer.main.get_command(app)):
        words, _, rest = (command.help or "").partition("Example: `")
        promise = " ".join(words.split())
        lines.append(f"### llmgine {path}\n\n{promise}\n\n    {rest.partition('`')[0]}\n")
        rows = [f"| {_called(one)} | {_told(one)} |" for one in command.params if one.name != "help"]
        if rows:
            lines.append("\n".join(["| | |", "|---|---|", *rows]) + "\n")
    return "\n".join(lines).rstrip() + "\n"


def walked(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Each command that does something, by its words."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path), command
        return
    for name, one in sorted(below.items()) if not path else below.items():
        yield from walked(one, (*path, name))


def _called(one: Any) -> str:
    if one.param_type_name == "argument":
        return f"`{(one.metavar or one.name.upper()).strip('[].')}`"
    return " ".join(f"`{option}`" for option in (*one.opts, *one.secondary_opts))


def _told(one: Any) -> str:
    said = " ".join((one.help or "").split()).replace("|", "\\|").rstrip(".")
    default = one.default
    shown = not (default in (None, "", False) or callable(default) or one.required)
    return f"{said} (`{default}`)" if shown else said


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
