"""Joins the runtime that runs, or launches a passing one that ends with the command."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from llmgine.runtime import Runtime, RuntimeNotFound
from llmgine.runtime.commands.output import waiting
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, may_run_elsewhere
from llmgine.runtime.commands.running import heed_sigterm
from llmgine.runtime.data import data_folder, remove_folder
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
                heed_sigterm()
                yield runtime, True
                return
        name = f"{purpose}-{os.getpid()}"
        stack.callback(remove_folder, data_folder(settings.data_dir, name))
        with waiting("starting a runtime for this command"):
            runtime = await stack.enter_async_context(Runtime.launch(settings, name=name))
        heed_sigterm()
        yield runtime, False
