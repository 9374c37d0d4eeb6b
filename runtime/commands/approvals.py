"""`llmgine approvals`: tool calls that wait for somebody's leave."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from llmgine.runtime.commands.asking import ask
from llmgine.runtime.commands.grouping import group
from llmgine.runtime.commands.output import AsJson, UsageRefused, clock, done, facts, table, write, write_json
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName

if TYPE_CHECKING:
    from llmgine.actors.store.rows import ApprovalState
    from llmgine.runtime.approvals import Approval
    from llmgine.runtime.runtime import Runtime

approvals = group("Tool calls that wait for somebody's leave: ls, show, approve, deny.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The approval's id, as `ls` shows it.")]
Note = Annotated[
    str, typer.Option("--note", "-m", help="What to say with it; of a denial the model is told.")
]
By = Annotated[str | None, typer.Option("--by", help="Who answers; by default your name on this machine.")]


@approvals.command("ls")
def list_approvals(
    session: Annotated[
        str | None, typer.Option("-s", "--session", help="Only those of this session.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that were answered.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="So many at most, the oldest first.")] = 50,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """List pending approvals, the oldest first.

    Example: `llmgine approvals ls --session support-7`
    """

    async def listed(runtime: Runtime) -> list[Approval]:
        state: ApprovalState | None = None if every else "pending"
        return [one async for one in runtime.approvals.list(state=state, session=session, limit=limit)]

    found = ask(name, listed)
    if as_json:
        write_json(*(approval.to_json() for approval in found))
    else:
        show_all(found)


def show_all(found: list[Approval]) -> None:
    """One row an approval."""
    if not found:
        write("no approvals\n")
        return
    rows = [
        (
            one.id,
            clock(one.created),
            one.session_id,
            one.tool,
            json.dumps(one.arguments, ensure_ascii=False)[:60],
            one.reason.partition("\n")[0][:60],
            one.state if not one.by else f"{one.state} by {one.by}",
            "never" if one.expires is None else clock(one.expires),
        )
        for one in found
    ]
    columns = ("id", "asked", "session", "tool", "arguments", "reason", "state", "expires")
    table(f"{len(found)} approvals", columns, rows)


@approvals.command()
def show(id_: Id, as_json: AsJson = False, name: RuntimeName = DEFAULT_RUNTIME) -> None:
    """Show one approval with its whole arguments.

    Example: `llmgine approvals show ID --json`
    """
    found = ask(name, lambda runtime: runtime.approvals.get(id_)).to_json()
    if as_json:
        write_json(found)
    else:
        facts(f"approval {id_}", found)


@approvals.command()
def approve(
    id_: Id, text: Note = "", by: By = None, as_json: AsJson = False, name: RuntimeName = DEFAULT_RUNTIME
) -> None:
    """Let the tool be called; its turn goes on, wherever its session wakes.

    Example: `llmgine approvals approve ID --by ann`
    """
    ask(name, lambda runtime: runtime.approvals.approve(id_, note=text, by=_named(by)))
    done(f"{id_} approved", as_json=as_json, id=id_, state="approved")


@approvals.command()
def deny(
    id_: Id, text: Note = "", by: By = None, as_json: AsJson = False, name: RuntimeName = DEFAULT_RUNTIME
) -> None:
    """Do not let the tool be called; the model is told so, with the note.

    Example: `llmgine approvals deny ID --note "too much"`
    """
    ask(name, lambda runtime: runtime.approvals.deny(id_, note=text, by=_named(by)))
    done(f"{id_} denied", as_json=as_json, id=id_, state="denied")


def _named(by: str | None) -> str | None:
    if by is not None and not by.strip():
        raise UsageRefused("--by names who answers; leave it out for your own name")
    return by
