"""`llmgine sessions`: conversations, whether they are open or not."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from llmgine.runtime.commands import completing
from llmgine.runtime.commands.asking import ask
from llmgine.runtime.commands.grouping import group
from llmgine.runtime.commands.output import (
    AsJson,
    UsageRefused,
    clock,
    done,
    facts,
    table,
    write,
    write_json,
)
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName

if TYPE_CHECKING:
    from llmgine.runtime.sessions import SessionInfo, Sessions

T = TypeVar("T")

sessions = group("Conversations: listed, shown, ended, deleted, exported and imported.")

Id = Annotated[
    str, typer.Argument(metavar="ID", help="Its id, as `ls` shows it.", autocompletion=completing.sessions)
]
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


@sessions.command("ls")
def list_sessions(
    state: State = None,
    prefix: Prefix = None,
    pending: Pending = False,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """List sessions in the order of their making.

    Example: `llmgine sessions ls --state open --prefix support-`
    """
    chosen = _state(state)

    async def listed(kept: Sessions) -> list[SessionInfo]:
        return [one async for one in kept.list(state=chosen, prefix=prefix, pending=pending or None)]

    found = _ask(name, listed)
    if as_json:
        write_json(*(one.to_json() for one in found))
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
            clock(one.active),
        )
        for one in found
    ]
    columns = ("id", "state", "host", "model", "turns", "pending", "messages", "last active")
    table(f"{len(found)} sessions", columns, rows)


@sessions.command()
def show(id_: Id, as_json: AsJson = False, name: RuntimeName = DEFAULT_RUNTIME) -> None:
    """Show one session and its newest turns.

    Example: `llmgine sessions show support-7`
    """

    async def shown(kept: Sessions) -> dict[str, Any]:
        found, turns = await kept.show(id_), await kept.turns(id_)
        return {**found.to_json(), "newest_turns": [turn.to_json() for turn in turns]}

    found = _ask(name, shown)
    if as_json:
        write_json(found)
        return
    turns = found.pop("newest_turns")
    facts(f"session {id_}", found)
    columns = ("id", "state", "trace", "created", "ended")
    table("newest turns", columns, [tuple(turn[column] or "" for column in columns) for turn in turns])


@sessions.command()
def close(id_: Id, as_json: AsJson = False, name: RuntimeName = DEFAULT_RUNTIME) -> None:
    """End a session, whoever uses it; its history stays.

    Example: `llmgine sessions close support-7`
    """

    async def closed(kept: Sessions) -> None:
        await kept.show(id_)
        await kept.close(id_)

    _ask(name, closed, f"closing {id_}")
    done(f"closed {id_}", as_json=as_json, id=id_, state="closed")


@sessions.command()
def delete(id_: Id, as_json: AsJson = False, name: RuntimeName = DEFAULT_RUNTIME) -> None:
    """End a session and take everything of it out of the store, for good.

    Example: `llmgine sessions delete support-7`
    """

    async def deleted(kept: Sessions) -> None:
        await kept.show(id_)
        await kept.delete(id_)

    _ask(name, deleted, f"deleting {id_}")
    done(f"deleted {id_}", as_json=as_json, id=id_, deleted=True)


@sessions.command()
def export(
    id_: Id,
    file: Annotated[Path | None, typer.Argument(help="Where it goes; standard output without it.")] = None,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Write a session's history as JSON, indented; with --json, on one line, and of the file is told so, too.

    Example: `llmgine sessions export support-7 support-7.json`
    """
    if file is not None and not file.absolute().parent.is_dir():
        raise UsageRefused(f"{file}: its folder does not exist")
    data = _ask(name, lambda kept: kept.export(id_))
    if as_json:
        data = json.dumps(json.loads(data), ensure_ascii=False)
    if file is None:
        write(data + "\n")
    else:
        file.write_text(data, encoding="utf-8")
        done(f"written to {file}", as_json=as_json, id=id_, file=str(file))


@sessions.command("import")
def import_session(
    file: Annotated[Path, typer.Argument(help="What `export` wrote; - for standard input.")],
    id_: Annotated[str | None, typer.Option("--id", help="The new session's id.")] = None,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Make a new session of an exported one, and print its id.

    Example: `llmgine sessions import support-7.json --id support-8`
    """
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise UsageRefused(f"{file} cannot be read: {error.strerror}") from None
    made = _ask(name, lambda kept: kept.import_(data, id_))
    if as_json:
        write_json({"id": made})
    else:
        write(made + "\n")
