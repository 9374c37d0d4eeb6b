"""Joins the runtime that runs, or launches a passing one that ends with the command."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from llmgine.actors.store.options import MEMORY
from llmgine.runtime import Runtime, RuntimeNotFound
from llmgine.runtime.commands.output import note, waiting
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, may_run_elsewhere
from llmgine.runtime.commands.running import begun
from llmgine.runtime.data import folder_of, remove_folder
from llmgine.runtime.settings import Settings


@asynccontextmanager
async def joined_or_launched(settings: Settings, purpose: str) -> AsyncIterator[tuple[Runtime, bool]]:
    """The runtime `default` and True, else one of our own and False.

    A passing runtime has a name of its own: nobody else joins what ends with this command.
    """
    async with AsyncExitStack() as stack:
        if may_run_elsewhere(settings):
            try:
                with waiting("joining the runtime"):
                    runtime = await stack.enter_async_context(Runtime.connect(name=DEFAULT_RUNTIME))
            except RuntimeNotFound:
                pass
            else:
                yield runtime, True
                return
        name = f"{purpose}-{os.getpid()}"
        stack.callback(remove_folder, folder_of(settings.data_dir, name))
        stack.enter_context(begun())
        with waiting("starting a runtime for this command"):
            runtime = await stack.enter_async_context(Runtime.launch(passing(settings), name=name))
        yield runtime, False


def passing(settings: Settings) -> Settings:
    """Those of a runtime that ends with its command: what it stores is not left behind in a file."""
    if settings.store.url is not None:
        return settings
    return settings.model_copy(update={"store": settings.store.model_copy(update={"url": MEMORY})})


async def tell_beginning(runtime: Runtime, session_id: str, *, joined: bool) -> None:
    """Says that the named session has no conversation behind it, or will have none after this command."""
    if not joined:
        note("no runtime runs, so this session ends with this command; `llmgine up` starts one that stays")
        return
    sessions = (await runtime.status())["sessions"]
    if session_id not in {one["session_id"] for one in sessions}:
        note(f"session {session_id} begins anew")
