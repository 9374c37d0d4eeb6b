"""What can be refused before Ray starts: names that are none, models that nothing serves, what they lack."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from llmgine.providers.errors import InvalidRequest, UnknownModel
from llmgine.runtime.commands.completing import models, runtimes
from llmgine.runtime.commands.output import UsageRefused
from llmgine.runtime.data import folder_of, read_record

if TYPE_CHECKING:
    from llmgine.runtime.settings import Settings

DEFAULT_MODEL = "local/smollm2"
DEFAULT_RUNTIME = "default"


def _checked_name(name: str) -> str:
    from llmgine.actors.control import names

    try:
        names.namespace(name)
    except InvalidRequest as error:
        raise UsageRefused(str(error)) from None
    return name


RuntimeName = Annotated[
    str,
    typer.Option("--name", help="The runtime's name.", callback=_checked_name, autocompletion=runtimes),
]
ModelName = Annotated[
    str | None,
    typer.Option("-m", "--model", help=f"By default {DEFAULT_MODEL}.", autocompletion=models),
]


def command_line(command: str, name: str) -> str:
    """How that command is called for the runtime of that name."""
    return f"llmgine {command}" if name == DEFAULT_RUNTIME else f"llmgine {command} --name {name}"


def cluster_address() -> str | None:
    """The cluster that RAY_ADDRESS names; `local` asks for one of our own."""
    told = os.environ.get("RAY_ADDRESS", "").strip()
    return None if told in ("", "local") else told


def may_run_elsewhere(settings: Settings, name: str = DEFAULT_RUNTIME) -> bool:
    """Whether a runtime of that name may run already, here or in a cluster that this process is told of."""
    if cluster_address():
        return True
    record = read_record(folder_of(settings.data_dir, name))
    return record is not None and (record.detached or record.holder_lives())


def check_runs(name: str) -> None:
    """Returns when a runtime of that name may run; else `RuntimeNotFound`."""
    from llmgine.actors.control import RuntimeNotFound
    from llmgine.runtime.settings import load_settings

    if not may_run_elsewhere(load_settings(), name):
        raise RuntimeNotFound(f"no runtime named {name} runs here; `{command_line('up', name)}` starts one")


def check_session(session_id: str | None) -> None:
    """Returns when a session can have that id; else `UsageRefused`."""
    from llmgine.runtime.checks import checked_id

    if session_id is None:
        return
    try:
        checked_id(session_id)
    except InvalidRequest as error:
        raise UsageRefused(f"-s {session_id!r}: {error}") from None


def check_asked(model: str, settings: Settings) -> None:
    """Returns when a command may ask for that model; else the error that says what to do."""
    from llmgine.providers.catalogue.scripts import INLINE
    from llmgine.providers.names import resolve

    if not may_run_elsewhere(settings):
        check_model(model, settings)
    try:
        name = resolve(model, settings.providers)
    except UnknownModel:
        return  # the runtime that is joined may know it
    if settings.providers.endpoints[name.provider].kind == "scripted" and name.model == INLINE:
        raise UsageRefused(
            f"-m {model}: it plays a script that comes with the request, and a command sends none; "
            "give the script a name under providers.scripts and use scripted/NAME, or scripted/echo"
        )


def check_model(model: str, settings: Settings) -> None:
    """Returns when a runtime on this machine could serve the model; else the error that says what to do."""
    from llmgine.providers.keys import find_key
    from llmgine.providers.local.weights import check_engine, find_weights
    from llmgine.providers.names import resolve

    name = resolve(model, settings.providers)
    endpoint = settings.providers.endpoints[name.provider]
    if endpoint.kind == "local":
        find_weights(name.model, settings.providers.local)
        check_engine()
    elif not any(key.function for key in endpoint.keys):  # which the provider actor alone asks
        find_key(name.provider, endpoint)
