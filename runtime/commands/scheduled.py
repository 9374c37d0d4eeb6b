"""`llmgine scheduled`: events that are kept for later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmgine.runtime.commands.asking import ask
from llmgine.runtime.commands.output import note, table, write
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName

if TYPE_CHECKING:
    from llmgine.runtime import Runtime
    from llmgine.runtime.schedules import ScheduledEvent

scheduled = typer.Typer(help="Events that are kept for later: list, cancel.")


@scheduled.command("list")
def list_scheduled(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """List events that are kept for later, by the time at which they are due next."""
    found = ask(name, lambda runtime: runtime.bus.scheduled())
    if as_json:
        for one in found:
            write(json.dumps(described(one)) + "\n")
    else:
        show_all(found)


def described(one: ScheduledEvent) -> dict[str, Any]:
    """As values that JSON has."""
    return {
        "id": one.id,
        "next_at": one.next_at.isoformat(),
        "type": one.type,
        "session": one.session,
        "fired": one.fired,
        "every": one.every,
        "cron": one.cron,
        "zone": one.zone,
        "until": None if one.until is None else one.until.isoformat(),
        "misfire": one.misfire,
    }


def show_all(found: list[ScheduledEvent]) -> None:
    """One row an event."""
    if not found:
        write("nothing is scheduled\n")
        return
    rows = [
        (
            one.id,
            one.next_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            one.type,
            one.session,
            f"every {one.every:g} s" if one.every else f"{one.cron} ({one.zone})" if one.cron else "",
            str(one.fired),
        )
        for one in found
    ]
    table("scheduled events", ("id", "next", "type", "session", "recurs", "fired"), rows)


@scheduled.command()
def cancel(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The event's id, as `list` shows it.")],
    name: RuntimeName = DEFAULT_RUNTIME,
) -> int:
    """Take an event out before it fires."""
    cancelled = ask(name, lambda runtime: _cancel(runtime, id_))
    note(f"{id_} is cancelled" if cancelled else f"nothing of the id {id_} is scheduled")
    return 0 if cancelled else 1


async def _cancel(runtime: Runtime, id_: str) -> bool:
    for one in await runtime.bus.scheduled():
        if one.id == id_:
            return await one.cancel()
    return False
