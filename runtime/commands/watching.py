"""Looks at a runtime again and again, until somebody has seen enough."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import typer

from llmgine.runtime.commands.keyboard import pressed
from llmgine.runtime.commands.output import out, write_json
from llmgine.runtime.commands.preflight import check_runs
from llmgine.runtime.commands.running import ended_alone, run

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llmgine.runtime import Runtime

T = TypeVar("T")

Every = Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two looks.")]
Ticks = Annotated[
    int | None,
    typer.Option("--ticks", min=1, help="End after so many looks; after one, where nobody watches."),
]


@dataclass(frozen=True, slots=True)
class Watch(Generic[T]):
    """What is looked at, and how it is shown: on a terminal, as plain lines, and as JSON.

    What they show are changes since the time before, so they are asked in turn, also for what is not shown.
    """

    look: Callable[[Runtime], Awaitable[T]]
    drawn: Callable[[T], RenderableType]
    plain: Callable[[T], None]
    json: Callable[[T], dict[str, Any]]


def watch(name: str, view: Watch[T], every: float, ticks: int | None, *, as_json: bool) -> None:
    """Shows a full screen until q or Ctrl-C; where nobody watches, what has changed within one interval."""
    check_runs(name)
    run(_watched(name, view, every, ticks, as_json=as_json))


async def _watched(name: str, view: Watch[T], every: float, ticks: int | None, *, as_json: bool) -> None:
    from llmgine.runtime import Runtime

    async with Runtime.connect(name=name) as runtime:

        async def look() -> T:
            return await view.look(runtime)

        if out.is_terminal and not as_json:
            from rich.live import Live

            with Live(console=out, screen=True, auto_refresh=False) as screen:

                def draw(found: T) -> None:
                    screen.update(view.drawn(found), refresh=True)

                await ended_alone(looks(look, draw, every, ticks))
            return

        def tell(found: T) -> None:
            if as_json:
                write_json(view.json(found))
            else:
                view.plain(found)

        view.json(await look())  # what the first look that is shown has changed since
        await ended_alone(looks(look, tell, every, ticks or 1, waits=True))


async def looks(
    look: Callable[[], Awaitable[T]],
    show: Callable[[T], None],
    every: float,
    ticks: int | None,
    *,
    waits: bool = False,
) -> None:
    """Shows what is found until q is pressed, or so many times; `waits` for an interval first."""
    with pressed("q") as ends:
        while not ends.is_set():
            if not waits:
                show(await look())
                if ticks is not None and (ticks := ticks - 1) == 0:
                    return
            waits = False
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await ends.wait()
