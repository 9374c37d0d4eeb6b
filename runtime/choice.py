"""Whether this process launches a runtime or joins one, where the command that runs it has a say."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from llmgine.actors.control import RuntimeNotFound
from llmgine.runtime.data import folder_of, read_record
from llmgine.runtime.driver import Driver
from llmgine.runtime.opening import joined, launched
from llmgine.runtime.settings import load_settings

DEFAULT_NAME = "default"

Way = Literal["launch", "connect", "either"]

_choice: Choice | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What `llmgine run` was told: `launch` a runtime for the script, `connect` to one that runs, or
    `either`, which launches one where none runs. `name` stands in for the name that a script leaves out.
    """

    way: Way
    name: str = DEFAULT_NAME


def choose(choice: Choice | None) -> None:
    """From here on it holds for whatever in this process leaves open where its runtime comes from."""
    global _choice
    _choice = choice


def chosen() -> Choice | None:
    return _choice


@asynccontextmanager
async def entered(choice: Choice, name: str, *, launches: bool) -> AsyncIterator[Driver]:
    """The runtime as the command has chosen it; `launches` is what the script itself would do."""
    settings = load_settings()
    name = choice.name if name == DEFAULT_NAME else name
    record = read_record(folder_of(settings.data_dir, name))
    ours = record is not None and record.pid == os.getpid() and record.holder_lives()
    async with AsyncExitStack() as stack:
        driver: Driver | None = None
        if choice.way != "launch" or (ours and not launches):
            try:
                driver = await stack.enter_async_context(joined(settings, name, None))
            except RuntimeNotFound:
                if choice.way == "connect":
                    raise
        if driver is None:
            driver = await stack.enter_async_context(launched(settings, name, detached=False))
        yield driver
