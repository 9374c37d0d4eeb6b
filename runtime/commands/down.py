"""`llmgine down`: ends a runtime in order."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from llmgine.providers.errors import LlmgineError
from llmgine.runtime.commands.output import AsJson, done, waiting
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName, cluster_address
from llmgine.runtime.commands.running import run
from llmgine.runtime.data import (
    folder_of,
    process_lives,
    read_holder,
    read_record,
    remove_folder,
    remove_holder,
    remove_record,
)

if TYPE_CHECKING:
    from llmgine.runtime.settings import Settings

# Beyond the time that the runtime has to drain: ending its actors and the Ray that it started.
_ENDING = 30.0


class DidNotEnd(LlmgineError):
    """The runtime was asked to end and has not done so in time."""


def down(
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """End a runtime: it drains, then it and what `llmgine up` started for it go.

    Example: `llmgine down --name staging`
    """
    from llmgine.actors.control import RuntimeNotFound
    from llmgine.runtime.settings import load_settings

    settings = load_settings()
    folder = folder_of(settings.data_dir, name)
    holder = read_holder(folder)
    if holder is not None:
        with waiting(f"ending runtime {name}"):
            _end_holder(holder, settings.control.stop_grace + _ENDING)
        done(f"runtime {name} has ended", as_json=as_json, name=name, ended=True)
        return
    record = read_record(folder)
    if record is not None and record.has_ended():
        remove_holder(folder)
        remove_folder(folder)
        gone = f"runtime {name} was gone already, with its process {record.pid}; its record is removed"
        done(gone, as_json=as_json, name=name, ended=True)
        return
    if record is not None and not record.detached:
        raise LlmgineError(
            f"runtime {name} belongs to process {record.pid} of {record.host}, which launched it; "
            "it ends with that process"
        )
    if not cluster_address() and record is None:
        raise RuntimeNotFound(
            f"no runtime named {name} runs here; `llmgine doctor` lists the ones that are known"
        )
    with waiting(f"ending runtime {name}"):
        run(_stop(settings, name))
    done(f"runtime {name} has ended", as_json=as_json, name=name, ended=True)


def _end_holder(pid: int, patience: float) -> None:
    """Asks the process that `up` started to end; its runtime drains before it goes."""
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + patience
    while process_lives(pid):
        if time.monotonic() > until:
            raise DidNotEnd(
                f"process {pid} has not ended in {patience:.0f} s; its log says why, `kill -9 {pid}` ends it"
            )
        time.sleep(0.05)


async def _stop(settings: Settings, name: str) -> None:
    from llmgine.runtime import Runtime, RuntimeNotFound

    folder = folder_of(settings.data_dir, name)
    try:
        async with Runtime.connect(name=name) as runtime:
            await runtime.stop()
    except RuntimeNotFound:
        remove_record(folder)
        raise
    remove_record(folder)
