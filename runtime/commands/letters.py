"""`llmgine dead-letters`: what the bus had to give up, and what may be done about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from llmgine.runtime.commands.asking import ask
from llmgine.runtime.commands.grouping import group
from llmgine.runtime.commands.moments import moment
from llmgine.runtime.commands.output import AsJson, UsageRefused, clock, done, facts, table, write, write_json
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName

if TYPE_CHECKING:
    from llmgine.actors.bus import DeadLetter
    from llmgine.runtime.dead_letters import DeadLetters, Replayed

T = TypeVar("T")

letters = group("Messages that were given up for a handler: read, run again, discard, export.")

Ids = Annotated[list[str] | None, typer.Argument(help="Ids of letters, as `ls` shows them.")]
Handler = Annotated[str | None, typer.Option("--handler", help="Only those of the handler of this name.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Only those given up for this reason.")]
InSession = Annotated[str | None, typer.Option("-s", "--session", help="Only those of this session.")]
Type = Annotated[str | None, typer.Option("--type", help="Only those of this class, by its wire name.")]
Since = Annotated[
    str | None, typer.Option("--since", help="Only those since then: a time, or 90m, 12h, 7d ago.")
]
Every = Annotated[bool, typer.Option("--all", help="All letters.")]


def _chosen(
    handler: str | None, reason: str | None, session: str | None, type_: str | None, since: str | None
) -> dict[str, Any]:
    from llmgine.actors.bus.letters import REASONS

    if reason is not None and reason not in REASONS:
        raise UsageRefused(f"--reason {reason!r}: use one of {', '.join(REASONS)}")
    chosen = {"handler": handler, "reason": reason, "session": session, "type": type_}
    return {**chosen, "since": None if since is None else moment(since)}


def _check_choice(verb: str, ids: list[str] | None, chosen: dict[str, Any], every: bool) -> None:
    narrowed = any(value is not None for value in chosen.values())
    if bool(ids) + narrowed + every != 1:
        raise UsageRefused(
            f"dead-letters {verb} takes either ids of letters, or options that choose them, or --all"
        )


def _ask(name: str, question: Callable[[DeadLetters], Awaitable[T]], doing: str = "") -> T:
    return ask(name, lambda runtime: question(runtime.bus.dead_letters), doing)


@letters.command("ls")
def list_letters(
    handler: Handler = None,
    reason: Reason = None,
    session: InSession = None,
    type_: Type = None,
    since: Since = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="So many at most, the newest first.")] = 50,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """List dead letters, the newest first.

    Example: `llmgine dead-letters ls --since 12h --handler ship`
    """
    chosen = _chosen(handler, reason, session, type_, since)

    async def listed(box: DeadLetters) -> tuple[list[DeadLetter], int]:
        return [letter async for letter in box.list(**chosen, limit=limit)], await box.count(**chosen)

    found, count = _ask(name, listed)
    if as_json:
        write_json(*(letter.to_json() for letter in found))
    else:
        show_all(found, count)


def show_all(found: list[DeadLetter], count: int) -> None:
    """One row a letter."""
    if not found:
        write("no dead letters\n")
        return
    rows = [
        (
            letter.id,
            clock(letter.time),
            letter.type,
            letter.session,
            letter.handler or "none",
            letter.reason,
            str(letter.attempts),
            letter.errors[-1].text.partition("\n")[0][:60] if letter.errors else "",
        )
        for letter in found
    ]
    columns = ("id", "time", "type", "session", "handler", "reason", "attempts", "error")
    table(f"{len(found)} of {count} dead letters", columns, rows)


@letters.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The letter's id, as `ls` shows it.")],
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Show one dead letter with its message and every error.

    Example: `llmgine dead-letters show ID --json`
    """
    letter = _ask(name, lambda box: box.show(id_)).to_json()
    if as_json:
        write_json(letter)
    else:
        facts(f"dead letter {id_}", letter)


@letters.command()
def replay(
    ids: Ids = None,
    handler: Handler = None,
    reason: Reason = None,
    session: InSession = None,
    type_: Type = None,
    since: Since = None,
    every: Every = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for each.")] = 60.0,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> int:
    """Run letters again for the handler that failed; those that succeed are gone. Code 1 where any is left.

    Example: `llmgine dead-letters replay --handler ship`
    """
    chosen = _chosen(handler, reason, session, type_, since)
    _check_choice("replay", ids, chosen, every)
    found = _ask(
        name, lambda box: box.replay(*ids or (), **chosen, everything=every, timeout=timeout), "replaying"
    )
    if not as_json:
        return show_replayed(found)
    write_json(*(dataclasses.asdict(one) for one in found))
    return 0 if all(one.handled for one in found) else 1


def show_replayed(found: tuple[Replayed, ...]) -> int:
    """Each that is still there, with the reason; 1 where any is."""
    left = [one for one in found if not one.handled]
    if left:
        rows = [(one.id, str(one.attempts), one.text.partition("\n")[0]) for one in left]
        table("still there", ("id", "attempts", "reason"), rows)
    write(f"{len(found) - len(left)} of {len(found)} handled\n")
    return 1 if left else 0


@letters.command()
def discard(
    ids: Ids = None,
    handler: Handler = None,
    reason: Reason = None,
    session: InSession = None,
    type_: Type = None,
    since: Since = None,
    every: Every = False,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Take letters out of the store for good.

    Example: `llmgine dead-letters discard --reason expired`
    """
    chosen = _chosen(handler, reason, session, type_, since)
    _check_choice("discard", ids, chosen, every)
    count = _ask(name, lambda box: box.discard(*ids or (), **chosen, everything=every))
    done(f"{count} discarded", as_json=as_json, discarded=count)


@letters.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where they go, one JSON object a line.")],
    handler: Handler = None,
    reason: Reason = None,
    session: InSession = None,
    type_: Type = None,
    since: Since = None,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Write letters to a file as JSON lines; they stay in the store.

    Example: `llmgine dead-letters export letters.jsonl --since 7d`
    """
    chosen = _chosen(handler, reason, session, type_, since)
    if not file.absolute().parent.is_dir():
        raise UsageRefused(f"{file}: its folder does not exist")
    count = _ask(name, lambda box: box.export(file, **chosen), f"writing {file}")
    done(f"{count} written to {file}", as_json=as_json, written=count, file=str(file))
