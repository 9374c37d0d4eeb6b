"""`llmgine story`: why an event or command was not handled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmgine.runtime.commands.asking import ask
from llmgine.runtime.commands.output import AsJson, UsageRefused, note, table, write, write_json
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName

if TYPE_CHECKING:
    from llmgine.runtime import Runtime, StoryLine


def story(
    handler: Annotated[str | None, typer.Argument(help="The name of a handler.")] = None,
    session: Annotated[str | None, typer.Option("-s", "--session", help="Of a session; BUS is one.")] = None,
    event: Annotated[
        str | None, typer.Option("--event", help="Of one event or command, by the id in its receipt.")
    ] = None,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Tell why something was not handled: of a handler, a session or one event, the oldest first.

    Example: `llmgine story ship`
    """
    if sum(about is not None for about in (handler, session, event)) != 1:
        raise UsageRefused("story takes one thing to tell of: a handler's name, --session or --event")
    lines, handlers = ask(name, lambda runtime: _told(runtime, handler, session, event))
    if as_json:
        write_json(*({**line._asdict(), "at": line.at.isoformat()} for line in lines))
        return
    show_story(lines)
    if handler is not None and handler not in handlers and not lines:
        known = ", ".join(sorted(handlers)) or "none"
        note(f"no handler of the name {handler} is registered; there are: {known}")


async def _told(
    runtime: Runtime, handler: str | None, session: str | None, event: str | None
) -> tuple[list[StoryLine], set[str]]:
    """The story, and the names of all handlers."""
    lines = await runtime.bus.story(handler=handler, session=session, event=event)
    rows = (await runtime.bus.statistics())["per_handler"] if handler is not None else ()
    return lines, {key.rpartition("\x1f")[2] for key in rows}


def show_story(lines: list[StoryLine]) -> None:
    """One row a line."""
    if not lines:
        write("nothing remarkable: what goes well has no story, and an old one is forgotten\n")
        return
    rows = [
        (
            line.at.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
            line.what,
            line.handler,
            line.session_id,
            line.message,
            line.text.partition("\n")[0],
        )
        for line in lines
    ]
    table("story", ("time", "what", "handler", "session", "message", "more"), rows)
