"""Calls through a runtime on Ray: asked in sessions, and completed without one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from benchmarks.contract import Effort, Measure, Round
from benchmarks.requests import CONCURRENT, MODEL, PROMPT, Ask, added_figures, added_ms, bare, throughput
from benchmarks.streams import Load, load
from llmgine.runtime import Runtime, Session, Window

_MODEL: Final = f"bench/{MODEL}"


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    async with (
        load() as server,
        bare(server.url) as sdk,
        _runtime(server) as runtime,
        AsyncExitStack() as stack,
    ):
        sessions = [await stack.enter_async_context(_session(runtime)) for _ in range(CONCURRENT)]
        asked = [_asked(session) for session in sessions]

        async def complete() -> str:
            return (await runtime.models.complete(_MODEL, PROMPT)).message.text

        async def measure(effort: Effort) -> Round:
            in_sessions = await added_ms(asked[0], sdk, effort)
            completed = await added_ms(complete, sdk, effort)
            figures = {
                **await throughput(asked, server, effort),
                **added_figures(in_sessions),
                **_named(await throughput([complete] * CONCURRENT, server, effort)),
                **_named(added_figures(completed)),
            }
            samples = {"added_ms_p50": in_sessions, "complete_added_ms_p50": completed}
            return Round(figures, samples, [await server.cpu_note()])

        yield measure


def _session(runtime: Runtime) -> Session:
    """One whose calls do not grow: its model sees the last question alone."""
    return runtime.session(model=_MODEL, placement="pooled", window=Window.messages(2))


def _asked(session: Session) -> Ask:
    async def ask() -> str:
        return (await session.ask(PROMPT)).text

    return ask


def _named(figures: dict[str, float]) -> dict[str, float]:
    return {f"complete_{name}": value for name, value in figures.items()}


def _runtime(server: Load) -> Runtime:
    settings: dict[str, Any] = {
        "data_dir": "data",
        "providers": {"endpoints": {"bench": {"kind": "openai-compatible", "base_url": server.url}}},
    }
    return Runtime.launch(settings, name="benchmark")
