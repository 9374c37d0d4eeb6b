"""`llmgine schedules`: events that are kept for later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmgine.runtime.commands.asking import ask
from llmgine.runtime.commands.grouping import group
from llmgine.runtime.commands.output import AsJson, NotThere, clock, done, table, write, write_json
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName

if TYPE_CHECKING:
    from llmgine.runtime import Runtime
    from llmgine.runtime.schedules import ScheduledEvent

schedules = group("Events that are kept for later: ls, cancel.")


@schedules.command("ls")
def list_scheduled(
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """List events that are kept for later, by the time at which they are due next.

    Example: `llmgine schedules ls --json`
    """
    found = ask(name, lambda runtime: runtime.bus.scheduled())
    if as_json:
        write_json(*map(described, found))
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
            clock(one.next_at),
            one.type,
            one.session,
            f"every {one.every:g} s" if one.every else f"{one.cron} ({one.zone})" if one.cron else "",
            str(one.fired),
        )
        for one in found
    ]
    table("scheduled events", ("id", "next", "type", "session", "recurs", "fired"), rows)


@schedules.command()
def cancel(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The event's id, as `ls` shows it.")],
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Take an event out before it fires.

    Example: `llmgine schedules cancel daily-report`
    """
    if not ask(name, lambda runtime: _cancel(runtime, id_)):
        raise NotThere(f"nothing of the id {id_} is scheduled; `llmgine schedules ls` shows what is")
    done(f"{id_} is cancelled", as_json=as_json, id=id_, cancelled=True)


async def _cancel(runtime: Runtime, id_: str) -> bool:
    for one in await runtime.bus.scheduled():
        if one.id == id_:
            return await one.cancel()
    return False
