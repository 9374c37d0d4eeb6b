"""`llmgine up`: starts a runtime that stays when the command has ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmgine.providers.errors import LlmgineError
from llmgine.runtime.commands.output import AsJson, done, note, waiting
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
            told = run(_launch_detached(settings, name))
        _tell(f"runtime {name} runs in the cluster; {ending}", told, as_json=as_json, name=name)
        return
    folder = data_folder(settings.data_dir, name)
    record = read_record(folder)
    if record is not None and record.holder_lives():
        raise LlmgineError(f"a runtime named {name} already runs (process {record.pid}); {ending}")
    with waiting(f"starting runtime {name}"):
        pid, told = start_holder(folder, name)
    _tell(
        f"runtime {name} runs, held by process {pid}; {ending}, its log is {folder / LOG}",
        told,
        as_json=as_json,
        name=name,
        pid=pid,
        log=str(folder / LOG),
    )


def _tell(text: str, told: dict[str, str], *, as_json: bool, **facts: Any) -> None:
    done(text, as_json=as_json, **facts, **told)
    if not as_json and "gateway" in told:
        note(f"its dashboard is {told['gateway']}")
    elif not as_json and "trouble" in told:
        note(told["trouble"])


async def _launch_detached(settings: Settings, name: str) -> dict[str, str]:
    from llmgine.runtime import Runtime
    from llmgine.runtime.commands.fronting import gateway_of, with_gateway

    with begun():
        async with Runtime.launch(with_gateway(settings), name=name, detached=True) as runtime:
            return await gateway_of(runtime)


def start_holder(folder: Path, name: str) -> tuple[int, dict[str, str]]:
    """The pid of a process of its own that holds the runtime, and what it tells, once the runtime is ready.

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
    return holder.pid, {key: answer[key] for key in ("gateway", "trouble") if key in answer}
