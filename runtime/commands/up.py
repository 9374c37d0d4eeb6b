"""`llmgine up`: starts a runtime that stays when the command has ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from llmgine.providers.errors import LlmgineError
from llmgine.runtime.commands.output import AsJson, done, waiting
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName, cluster_address, command_line
from llmgine.runtime.commands.running import begun, run, tell_interrupted
from llmgine.runtime.data import data_folder, read_record

if TYPE_CHECKING:
    from llmgine.runtime.settings import Settings

LOG = "up.log"


class DidNotStart(LlmgineError):
    """The process that was to hold the runtime ended before it was ready."""


def up(
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Start a runtime: in the Ray cluster that RAY_ADDRESS names, else on this machine in the background.

    Example: `llmgine up --name staging`
    """
    from llmgine.runtime.settings import load_settings

    settings = load_settings()
    ending = f"`{command_line('down', name)}` ends it"
    if cluster_address():
        with waiting(f"starting runtime {name} in the cluster"):
            run(_launch_detached(settings, name))
        done(f"runtime {name} runs in the cluster; {ending}", as_json=as_json, name=name)
        return
    folder = data_folder(settings.data_dir, name)
    record = read_record(folder)
    if record is not None and record.holder_lives():
        raise LlmgineError(f"a runtime named {name} already runs (process {record.pid}); {ending}")
    with waiting(f"starting runtime {name}"):
        pid = start_holder(folder, name)
    done(
        f"runtime {name} runs, held by process {pid}; {ending}, its log is {folder / LOG}",
        as_json=as_json,
        name=name,
        pid=pid,
        log=str(folder / LOG),
    )


async def _launch_detached(settings: Settings, name: str) -> None:
    from llmgine.runtime import Runtime

    with begun():
        async with Runtime.launch(settings, name=name, detached=True):
            pass


def start_holder(folder: Path, name: str) -> int:
    """The pid of a process of its own that holds the runtime; returns when the runtime is ready.

    The process tells by one line on a pipe whether it is; it does not end with this terminal.
    """
    reading, writing = os.pipe()
    with open(folder / LOG, "ab") as log, open(reading, encoding="utf-8") as told:
        try:
            holder = subprocess.Popen(
                [sys.executable, "-m", "llmgine.runtime.commands.holder", name, str(writing)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
            )
        finally:
            os.close(writing)
        try:
            line = told.readline()
        except BaseException as error:  # the person has given up: nothing of ours stays behind
            if isinstance(error, KeyboardInterrupt):
                tell_interrupted()
            holder.terminate()
            holder.wait()
            raise
    if not line:
        code = holder.wait()
        raise DidNotStart(
            f"the process that was to hold {name} ended with code {code}; its log is {folder / LOG}"
        )
    answer = json.loads(line)
    if "error" in answer:
        holder.wait()
        raise DidNotStart(answer["error"])
    return holder.pid
