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
    from llmgine.runtime import Runtime
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

    settings = with_gateway(load_settings())
    ending = f"`{command_line('down', name)}` ends it"
    if cluster_address():
        with waiting(f"starting runtime {name} in the cluster"):
            page = run(_launch_detached(settings, name))
        shown = f"; its page is {page}" if page else ""
        done(f"runtime {name} runs in the cluster{shown}; {ending}", as_json=as_json, name=name, page=page)
        return
    folder = data_folder(settings.data_dir, name)
    record = read_record(folder)
    if record is not None and record.holder_lives():
        raise LlmgineError(f"a runtime named {name} already runs (process {record.pid}); {ending}")
    with waiting(f"starting runtime {name}"):
        pid, page = start_holder(folder, name)
    shown = f"; its page is {page}" if page else ""
    done(
        f"runtime {name} runs, held by process {pid}{shown}; {ending}, its log is {folder / LOG}",
        as_json=as_json,
        name=name,
        pid=pid,
        page=page,
        log=str(folder / LOG),
    )


def with_gateway(settings: Settings) -> Settings:
    """The settings with a gateway, unless they speak of one: who starts a runtime by hand wants to see it."""
    if "enabled" in settings.gateway.model_fields_set:
        return settings
    gateway = settings.gateway.model_copy(update={"enabled": True})
    return settings.model_copy(update={"gateway": gateway})


async def page_of(runtime: Runtime) -> str | None:
    """Where the runtime's page is; None where it has none. A gateway that has not come up is told of."""
    from llmgine.actors.gateway import GatewayError

    try:
        return await runtime.gateway.url()
    except GatewayError as error:
        print(f"error: {error}", file=sys.stderr)
        return None


async def _launch_detached(settings: Settings, name: str) -> str | None:
    from llmgine.runtime import Runtime

    with begun():
        async with Runtime.launch(settings, name=name, detached=True) as runtime:
            return await page_of(runtime)


def start_holder(folder: Path, name: str) -> tuple[int, str | None]:
    """A process of its own that holds the runtime: its pid, and where the page is, once all is ready.

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
    return holder.pid, answer["page"]
