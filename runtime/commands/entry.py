"""The command line's entry: one message for an error, and an exit code that tells what kind."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer
from typer.completion import completion_init  # type: ignore[attr-defined]
from typer.exceptions import TyperException

from llmgine.providers.errors import LlmgineError
from llmgine.runtime.commands.approvals import approvals
from llmgine.runtime.commands.ask import ask
from llmgine.runtime.commands.buses import buses
from llmgine.runtime.commands.chat import chat
from llmgine.runtime.commands.completion import completion
from llmgine.runtime.commands.cost import cost
from llmgine.runtime.commands.demo import demo
from llmgine.runtime.commands.doctor import doctor
from llmgine.runtime.commands.down import down
from llmgine.runtime.commands.letters import letters
from llmgine.runtime.commands.logged import logs
from llmgine.runtime.commands.models import models
from llmgine.runtime.commands.output import NotThere, UsageRefused, fail
from llmgine.runtime.commands.pools import pools
from llmgine.runtime.commands.running import INTERRUPTED
from llmgine.runtime.commands.scheduling import schedules
from llmgine.runtime.commands.script import run
from llmgine.runtime.commands.sessions import sessions
from llmgine.runtime.commands.status import status
from llmgine.runtime.commands.story import story
from llmgine.runtime.commands.top import top
from llmgine.runtime.commands.traces import traces
from llmgine.runtime.commands.up import up

WRONG_USAGE = 2
NO_RUNTIME = 3
NOT_THERE = 4

app = typer.Typer(name="llmgine", add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and end."),
    show_traceback: bool = typer.Option(False, "--traceback", help="Show where an error came from."),
) -> None:
    """Run LLM sessions, an event bus, provider pools and telemetry as actors on Ray."""
    if version:
        from importlib.metadata import version as installed

        print(installed("llmgine-ray"))
    elif context.invoked_subcommand is None:
        print(context.get_help())


app.command()(ask)
app.command()(chat)
app.command()(completion)
app.command()(cost)
app.command()(demo)
app.command()(doctor)
app.command()(down)
app.command()(logs)
app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(run)
app.command()(status)
app.command()(story)
app.command()(top)
app.command()(up)
app.add_typer(approvals, name="approvals")
app.add_typer(buses, name="bus")
app.add_typer(letters, name="dead-letters")
app.add_typer(models, name="models")
app.add_typer(pools, name="pools")
app.add_typer(schedules, name="schedules")
app.add_typer(sessions, name="sessions")
app.add_typer(traces, name="traces")


def execute(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code, as docs/command.md tells them. Never raises."""
    if "_LLMGINE_COMPLETE" in os.environ:
        completion_init()
    try:
        code = app(args=list(arguments), prog_name="llmgine", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BrokenPipeError:  # whoever read our results has gone; what is left unwritten goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if "--traceback" in arguments:
            traceback.print_exc()
        code, text = _told(error)
        fail(text)
        return code


def _told(error: Exception) -> tuple[int, str]:
    if isinstance(error, UsageRefused):
        return WRONG_USAGE, str(error)
    if isinstance(error, LlmgineError):
        return _code(error), str(error)
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "llmgine"
        said = error.format_message()
        return error.exit_code, f"{said}{'' if said.endswith(('.', '?')) else '.'} See `{command} --help`"
    return 1, f"{type(error).__name__}: {error}; `llmgine --traceback …` shows where it came from"


def _code(error: LlmgineError) -> int:
    from llmgine.actors.bus.errors import UnknownLetter
    from llmgine.actors.control import RuntimeNotFound, SessionNotFound
    from llmgine.actors.sessions import UnknownTurn
    from llmgine.actors.store import UnknownApproval

    if isinstance(error, RuntimeNotFound):
        return NO_RUNTIME
    unknown = (NotThere, SessionNotFound, UnknownApproval, UnknownLetter, UnknownTurn)
    return NOT_THERE if isinstance(error, unknown) else 1
