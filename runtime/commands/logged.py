"""`llmgine logs`: what the actors log."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from llmgine.runtime.commands.asking import ask
from llmgine.runtime.commands.completing import one_of
from llmgine.runtime.commands.output import AsJson, UsageRefused, clock, write, write_json
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName, check_runs
from llmgine.runtime.commands.running import ended_alone, run

if TYPE_CHECKING:
    from llmgine.runtime.logs import LogLine

_LEVELS = ("debug", "info", "warning", "error", "critical")

Wanted = Callable[["LogLine"], bool]


Actor = Annotated[
    str | None, typer.Argument(help="Only actors whose name begins so: host-1, router, provider-openai.")
]
Follow = Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes, until Ctrl-C.")]
Session = Annotated[
    str | None, typer.Option("-s", "--session", help="Only what was logged for this one, or names it.")
]
Level = Annotated[
    str,
    typer.Option("--level", help="Only what is so grave, or graver.", autocompletion=one_of(*_LEVELS)),
]
Tail = Annotated[int, typer.Option("-n", "--tail", min=0, help="So many lines of each actor at most.")]


def logs(
    actor: Actor = None,
    follow: Follow = False,
    session: Session = None,
    level: Level = "debug",
    tail: Tail = 100,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Print what the actors have logged on all nodes, by time; dead actors' lines stay there.

    Example: `llmgine logs -f --session support-7 --level warning`
    """
    wanted = _wanted(actor, session, level)
    if not follow:
        for line in ask(name, lambda runtime: runtime.logs.read(tail=tail)):
            if wanted(line):
                tell(line, as_json=as_json)
        return
    check_runs(name)
    run(ended_alone(_follow(name, wanted, tail, as_json=as_json)))


async def _follow(name: str, wanted: Wanted, tail: int, *, as_json: bool) -> None:
    from llmgine.runtime import Runtime

    async with Runtime.connect(name=name) as runtime:
        async for line in runtime.logs.follow(tail=tail):
            if wanted(line):
                tell(line, as_json=as_json)


def _wanted(actor: str | None, session: str | None, level: str) -> Wanted:
    if level.lower() not in _LEVELS:
        raise UsageRefused(f"--level {level!r}: use one of {', '.join(_LEVELS)}")
    grave = _LEVELS[_LEVELS.index(level.lower()) :]

    def wanted(line: LogLine) -> bool:
        return (
            line.level.lower() in grave
            and (actor is None or line.actor.startswith(actor))
            and (session is None or session == line.session or session in line.text)
        )

    return wanted


def tell(line: LogLine, *, as_json: bool) -> None:
    """One line, and below it the traceback where there is one."""
    if as_json:
        write_json(dataclasses.asdict(line))
        return
    of = f" [{line.session}]" if line.session else ""
    write(f"{clock(datetime.fromisoformat(line.time))} {line.level:7} {line.actor}{of} {line.text}\n")
    if line.error:
        write("".join(f"    {below}\n" for below in line.error.splitlines()))
