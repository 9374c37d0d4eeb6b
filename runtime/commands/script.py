"""`llmgine run`: a driver script, which joins the runtime that runs or launches one."""

from __future__ import annotations

import runpy
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from llmgine.runtime.commands.output import UsageRefused, err
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName, check_runs
from llmgine.runtime.commands.running import INTERRUPTED, TERMINATED


def run(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="A Python file.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGUMENTS]...", help="What the script finds in sys.argv.")
    ] = None,
    launch: Annotated[
        bool | None,
        typer.Option(
            "--launch/--connect",
            help="Launch a runtime that ends with the script, or join the one that runs; "
            "by default join, and launch where none runs.",
        ),
    ] = None,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> int:
    """Run a script whose `Runtime.launch()` or `Runtime.connect()` gets the runtime that is chosen here.

    Its exit code is this command's. Example: `llmgine run --connect nightly.py monday`
    """
    if not script.is_file():
        raise UsageRefused(f"{script} is not a file; give the path of a Python script")
    if launch is False:
        check_runs(name)
    from llmgine.runtime.choice import Choice, choose
    from llmgine.runtime.settings import load_settings

    load_settings()  # what is wrong with them is said before the script begins
    choose(Choice("either" if launch is None else "launch" if launch else "connect", name))
    try:
        return ran(script, arguments or [])
    finally:
        choose(None)


def ran(script: Path, arguments: list[str]) -> int:
    """The exit code of the script, run as Python runs one: as `__main__`, with its folder in front."""
    argv, path = sys.argv, sys.path[:]
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.resolve().parent))
    with _terminable() as terminated:
        try:
            runpy.run_path(str(script), run_name="__main__")
            return 0
        except SystemExit as end:
            return _code(end)
        except KeyboardInterrupt:
            return TERMINATED if terminated else INTERRUPTED
        except Exception as error:
            _tell(error, str(script))
            return 1
        finally:
            sys.argv, sys.path[:] = argv, path


@contextmanager
def _terminable() -> Iterator[list[int]]:
    """SIGTERM ends the script as Ctrl-C does, so that each block in it is left in order; it is noted."""
    noted: list[int] = []

    def terminate(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        if not callable(signal.getsignal(signal.SIGINT)):  # a shell's background process ignores it
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    former = signal.signal(signal.SIGTERM, terminate)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGTERM, former)


def _code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    err.print(str(end.code))
    return 1


def _tell(error: Exception, script: str) -> None:
    """The traceback as Python would print it, from the script's first line on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != script:
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)
