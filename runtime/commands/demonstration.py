"""What `llmgine demo` shows: the whole path, from a driver to a real model and back."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from llmgine.actors.sessions import ToolCalled, ToolReturned, TurnDone, TurnFailed
from llmgine.providers import LlmgineError, TextDelta
from llmgine.runtime import Event, Runtime, ToolChatEngine, tool
from llmgine.runtime.commands.demo_view import SideBySide
from llmgine.runtime.commands.joining import passing
from llmgine.runtime.commands.output import note, out, waiting
from llmgine.runtime.commands.preflight import DEFAULT_MODEL
from llmgine.runtime.commands.running import begun
from llmgine.runtime.commands.status import bus
from llmgine.runtime.commands.traced import draw_rows
from llmgine.runtime.commands.turns import submitted
from llmgine.runtime.data import folder_of, remove_folder

if TYPE_CHECKING:
    from llmgine.runtime import Session
    from llmgine.runtime.settings import Settings
    from llmgine.telemetry import Row


class DemoIncomplete(LlmgineError):
    """Something that the demo is there to show has not happened."""


class AnswerGiven(Event):
    """A session has answered."""

    name: str
    words: int


@tool
def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> str:
    """Today's weather in a city.

    Args:
        city: The city's name.
        unit: The unit of the temperature.
    """
    return f"{city}: sunny, {21 if unit == 'celsius' else 70} degrees {unit}"


@dataclass(frozen=True, slots=True)
class Part:
    """One session's role: its name, its prompt and the tools that it has to use."""

    name: str
    prompt: str
    tools: tuple[Any, ...] = ()


PARTS = (
    Part("weather", "What is the weather in Paris?", (get_weather,)),
    Part("sky", "Why is the sky blue? Answer in two sentences."),
    Part("rivers", "Name three rivers in Europe."),
)


@dataclass(slots=True)
class Seen:
    """What has happened so far."""

    answers: dict[str, str] = field(default_factory=dict)
    tool_results: list[str] = field(default_factory=list)
    published: int = 0
    handled: list[str] = field(default_factory=list)

    def missing(self, parts: Sequence[Part]) -> list[str]:
        """What should have happened and has not."""
        lacking = [
            f"session {part.name} has not answered" for part in parts if not self.answers.get(part.name)
        ]
        if not self.tool_results:
            lacking.append("no tool was called")
        if sorted(self.handled) != sorted(part.name for part in parts) or self.published != len(parts):
            lacking.append(f"of {self.published} events published, {len(self.handled)} were handled")
        return lacking


async def demonstrate(settings: Settings) -> None:
    """Launches a runtime, shows all parts and ends it; `DemoIncomplete` where one did not show."""
    name = f"demo-{os.getpid()}"
    seen = Seen()
    started = time.monotonic()
    try:
        with begun():
            await _launch_and_show(settings, name, seen, started)
    finally:
        remove_folder(folder_of(settings.data_dir, name))
    if lacking := seen.missing(PARTS):
        raise DemoIncomplete(f"the demo is not complete: {'; '.join(lacking)}")
    note(f"done in {time.monotonic() - started:.1f} s; README.md goes on from here")


async def _launch_and_show(settings: Settings, name: str, seen: Seen, started: float) -> None:
    with waiting("starting a runtime on this machine (Ray, a supervisor, a bus router, a telemetry actor)"):
        launching = Runtime.launch(passing(settings), name=name)
        runtime = await launching.__aenter__()
    try:
        note(f"started in {time.monotonic() - started:.1f} s")
        await _show(runtime, seen)
    finally:
        with waiting("ending it"):
            await launching.__aexit__(None, None, None)


async def _show(runtime: Runtime, seen: Seen) -> None:
    async def count(event: AnswerGiven) -> None:
        seen.handled.append(event.name)

    await runtime.bus.register_event_handler(AnswerGiven, count, name="demo.count")
    with waiting("opening three sessions, each an actor of its own"):
        openings = [
            runtime.session(
                model=DEFAULT_MODEL,
                tools=part.tools,
                engine=ToolChatEngine(tool_choice="required") if part.tools else None,
            )
            for part in PARTS
        ]
        sessions = await asyncio.gather(*(opening.__aenter__() for opening in openings))
    try:
        with SideBySide(out, [part.name for part in PARTS]) as view:
            talks = (
                _talk(runtime, session, part, view, seen)
                for session, part in zip(sessions, PARTS, strict=True)
            )
            await asyncio.gather(*talks)
        await _draw(runtime, sessions[0].id)
    finally:
        await asyncio.gather(*(opening.__aexit__(None, None, None) for opening in openings))


async def _talk(runtime: Runtime, session: Session, part: Part, view: SideBySide, seen: Seen) -> None:
    """One session's turn, shown as it comes, and the event that tells of it."""
    view.event(part.name, f"? {part.prompt}")
    async with submitted(session, part.prompt) as turn:
        async for event in turn.stream():
            match event:
                case TextDelta():
                    view.add(part.name, event.text)
                case ToolCalled():
                    view.event(part.name, f"→ {event.call.name}({_arguments(event.call.arguments)})")
                case ToolReturned():
                    view.event(part.name, f"← {event.result.text}")
                    if not event.result.is_error:
                        seen.tool_results.append(event.result.text)
                case TurnFailed():
                    raise event.error
                case TurnDone():
                    seen.answers[part.name] = event.reply.text
    words = len(seen.answers.get(part.name, "").split())
    await runtime.bus.publish(AnswerGiven(name=part.name, words=words), wait=True)
    seen.published += 1


async def _draw(runtime: Runtime, session_id: str) -> None:
    """The first session's spans on a common time axis, and what the bus has counted."""
    rows = await _rows(runtime, session_id)
    if not rows:
        raise DemoIncomplete("the demo is not complete: no span of the session has arrived")
    out.print()
    draw_rows(rows, f"what session {PARTS[0].name} did")
    out.print()
    bus(await runtime.bus.statistics())


async def _rows(runtime: Runtime, session_id: str) -> list[Row]:
    """The session's spans, once the last of its turn have arrived: they travel beside it, in batches."""
    for _ in range(30):
        rows = (await runtime.telemetry.session(session_id)).rows()
        if rows and not any(row.running for row in rows if row.depth > 0):
            break
        await asyncio.sleep(0.1)
    return rows


def _arguments(arguments: dict[str, Any] | None) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in (arguments or {}).items())
