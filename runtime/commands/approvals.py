"""`llmgine approvals`: tool calls that wait for somebody's leave."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from llmgine.runtime.commands.asking import ask
from llmgine.runtime.commands.output import UsageRefused, note, table, write
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName

if TYPE_CHECKING:
    from llmgine.runtime.approvals import Approval, ApprovalState
    from llmgine.runtime.runtime import Runtime

approvals = typer.Typer(help="Tool calls that wait for somebody's leave: list, approve, deny.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The approval's id, as `list` shows it.")]
Note = Annotated[
    str, typer.Option("--note", "-m", help="What to say with it; of a denial the model is told.")
]
By = Annotated[str | None, typer.Option("--by", help="Who answers; by default your name on this machine.")]


@approvals.command("list")
def list_approvals(
    session: Annotated[
        str | None, typer.Option("-s", "--session", help="Only those of this session.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that were answered.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="So many at most, the oldest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """List pending approvals, the oldest first."""

    async def listed(runtime: Runtime) -> list[Approval]:
        state: ApprovalState | None = None if every else "pending"
        return [one async for one in runtime.approvals.list(state=state, session=session, limit=limit)]

    found = ask(name, listed)
    if as_json:
        for approval in found:
            write(json.dumps(approval.to_json()) + "\n")
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
            one.created.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            one.session_id,
            one.tool,
            json.dumps(one.arguments, ensure_ascii=False)[:60],
            one.reason.partition("\n")[0][:60],
            one.state if not one.by else f"{one.state} by {one.by}",
            "never" if one.expires is None else one.expires.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        )
        for one in found
    ]
    columns = ("id", "asked", "session", "tool", "arguments", "reason", "state", "expires")
    table(f"{len(found)} approvals", columns, rows)


@approvals.command()
def show(id_: Id, name: RuntimeName = DEFAULT_RUNTIME) -> None:
    """Print one approval with its whole arguments, as JSON."""
    approval = ask(name, lambda runtime: runtime.approvals.get(id_))
    write(json.dumps(approval.to_json(), ensure_ascii=False, indent=2) + "\n")


@approvals.command()
def approve(id_: Id, text: Note = "", by: By = None, name: RuntimeName = DEFAULT_RUNTIME) -> None:
    """Let the tool be called; its turn goes on, wherever its session wakes."""
    ask(name, lambda runtime: runtime.approvals.approve(id_, note=text, by=_named(by)))
    note(f"{id_} approved")


@approvals.command()
def deny(id_: Id, text: Note = "", by: By = None, name: RuntimeName = DEFAULT_RUNTIME) -> None:
    """Do not let the tool be called; the model is told so, with the note."""
    ask(name, lambda runtime: runtime.approvals.deny(id_, note=text, by=_named(by)))
    note(f"{id_} denied")


def _named(by: str | None) -> str | None:
    if by is not None and not by.strip():
        raise UsageRefused("--by names who answers; leave it out for your own name")
    return by
