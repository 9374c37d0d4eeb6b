"""`llmgine sessions`: conversations, whether they are open or not."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from llmgine.runtime.commands.asking import ask
from llmgine.runtime.commands.output import UsageRefused, note, table, write
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName

if TYPE_CHECKING:
    from llmgine.runtime.sessions import SessionInfo, Sessions

T = TypeVar("T")

sessions = typer.Typer(help="Conversations: listed, shown, ended, deleted, exported and imported.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The session's id, as `list` shows it.")]
Prefix = Annotated[str | None, typer.Option("--prefix", help="Only those whose id begins so.")]
State = Annotated[str | None, typer.Option("--state", help="Only those that are open, or closed.")]
Pending = Annotated[bool, typer.Option("--pending", help="Only those with turns that have not ended.")]


def _ask(name: str, question: Callable[[Sessions], Awaitable[T]], doing: str = "") -> T:
    return ask(name, lambda runtime: question(runtime.sessions), doing)


def _state(state: str | None) -> Literal["open", "closed"] | None:
    if state == "open":
        return "open"
    if state == "closed":
        return "closed"
    if state is not None:
        raise UsageRefused(f"--state {state!r}: use open or closed")
    return None


@sessions.command("list")
def list_sessions(
    state: State = None,
    prefix: Prefix = None,
    pending: Pending = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """List sessions in the order of their making."""
    chosen = _state(state)

    async def listed(kept: Sessions) -> list[SessionInfo]:
        return [one async for one in kept.list(state=chosen, prefix=prefix, pending=pending or None)]

    found = _ask(name, listed)
    if as_json:
        for one in found:
            write(json.dumps(one.to_json()) + "\n")
    else:
        show_all(found)


def show_all(found: list[SessionInfo]) -> None:
    """One row a session."""
    if not found:
        write("no sessions\n")
        return
    rows = [
        (
            one.id,
            one.state,
            one.host or "",
            one.model,
            str(one.turns),
            str(one.pending),
            str(one.messages),
            one.active.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        )
        for one in found
    ]
    columns = ("id", "state", "host", "model", "turns", "pending", "messages", "last active")
    table(f"{len(found)} sessions", columns, rows)


@sessions.command()
def show(id_: Id, name: RuntimeName = DEFAULT_RUNTIME) -> None:
    """Print one session and its newest turns, as JSON."""

    async def shown(kept: Sessions) -> dict[str, Any]:
        found, turns = await kept.show(id_), await kept.turns(id_)
        return {**found.to_json(), "newest_turns": [turn.to_json() for turn in turns]}

    write(json.dumps(_ask(name, shown), ensure_ascii=False, indent=2) + "\n")


@sessions.command()
def close(id_: Id, name: RuntimeName = DEFAULT_RUNTIME) -> None:
    """End a session, whoever uses it; its history stays."""

    async def closed(kept: Sessions) -> None:
        await kept.show(id_)
        await kept.close(id_)

    _ask(name, closed, f"closing {id_}")
    note(f"closed {id_}")


@sessions.command()
def delete(id_: Id, name: RuntimeName = DEFAULT_RUNTIME) -> None:
    """End a session and take everything of it out of the store, for good."""

    async def deleted(kept: Sessions) -> None:
        await kept.show(id_)
        await kept.delete(id_)

    _ask(name, deleted, f"deleting {id_}")
    note(f"deleted {id_}")


@sessions.command()
def export(
    id_: Id,
    file: Annotated[Path | None, typer.Argument(help="Where it goes; standard output without it.")] = None,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Write a session's history as JSON."""
    if file is not None and not file.absolute().parent.is_dir():
        raise UsageRefused(f"{file}: its folder does not exist")
    data = _ask(name, lambda kept: kept.export(id_))
    if file is None:
        write(data + "\n")
    else:
        file.write_text(data, encoding="utf-8")
        note(f"written to {file}")


@sessions.command("import")
def import_session(
    file: Annotated[Path, typer.Argument(help="What `export` wrote; - for standard input.")],
    id_: Annotated[str | None, typer.Option("--id", help="The new session's id.")] = None,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Make a new session of an exported one, and print its id."""
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise UsageRefused(f"{file} cannot be read: {error.strerror}") from None
    write(_ask(name, lambda kept: kept.import_(data, id_)) + "\n")
