"""`llmgine doctor`: what is here, what is not, and how to mend it. Starts nothing."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

import typer

from llmgine.providers.errors import LlmgineError
from llmgine.runtime.commands.models import NOT_INSTALLED, key_states, local_models
from llmgine.runtime.commands.output import AsJson, note, table, waiting, write, write_json
from llmgine.runtime.commands.preflight import cluster_address, command_line

if TYPE_CHECKING:
    from llmgine.runtime.settings import Settings

Row = tuple[str, str]

_DISTRIBUTIONS = ("llmgine-ray", "ray", "openai", "anthropic", "google-genai", "uvloop")
_EXTRAS = {
    "xllamacpp": "local",
    "google-generativeai": "google-generativeai",
    "asyncpg": "postgres",
    "mcp": "mcp",
}
_OLD_GEMINI = "google-generativeai"
# Ray keeps sessions, sockets and its object store on these; fuller than this it refuses to work.
_FREE_DISK = 0.05
_PATIENCE = 30.0
_ASK = """
import json, sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
alive = [node for node in ray.nodes() if node["Alive"]]
print(json.dumps([len(alive), sum(node["Resources"].get("CPU", 0) for node in alive)]))
"""


def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, which settings and keys are found, what Ray sees, and how to mend the rest.

    Code 1 where something is to be mended. Example: `llmgine doctor --json`
    """
    mend: list[str] = []
    page = list(_page(mend))
    if as_json:
        found = {
            title: [dict(zip(columns, row, strict=True)) for row in rows] for title, columns, rows in page
        }
        write_json({**found, "to mend": mend})
    else:
        for title, columns, rows in page:
            table(title, columns, rows)
        if mend:
            write("to mend\n" + "".join(f"  - {line}\n" for line in mend))
        else:
            note("nothing to mend")
    if mend:
        raise typer.Exit(1)


def _page(mend: list[str]) -> Iterator[tuple[str, tuple[str, str], list[Row]]]:
    """Each table: its title, its columns and its rows."""
    from llmgine.runtime.settings import load_settings

    yield "installed", ("what", "version"), _installed(mend)
    try:
        settings = load_settings()
    except LlmgineError as error:
        mend.append(str(error))
        settings = None
    if settings is not None:
        yield "settings", ("what", "found"), _settings_file(settings, mend)
        yield "keys, as this process would find them", ("provider", "key"), _keys(settings, mend)
        yield "models of this machine", ("model", "weights"), _weights(settings, mend)
        yield "runtimes", ("name", "state"), _runtimes(settings, mend)
    yield "ray", ("what", "found"), _ray(settings, mend)


def _installed(mend: list[str]) -> list[Row]:
    rows: list[Row] = [("Python", platform.python_version())]
    for name in _DISTRIBUTIONS:
        version = _version(name)
        rows.append((name, version or "not installed"))
        if version is None:
            mend.append(f"{name} is not installed: pip install llmgine-ray")
    for name, extra in _EXTRAS.items():
        rows.append((name, _version(name) or f'not installed (optional: pip install "llmgine-ray[{extra}]")'))
    return rows


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _settings_file(settings: Settings, mend: list[str]) -> list[Row]:
    """The file whose settings hold; one without a section of ours may be Ray's alone, unless it was named."""
    from llmgine.runtime.settings import CONFIG_VARIABLE
    from llmgine.runtime.settings_file import find_file, read_section

    named = os.environ.get(CONFIG_VARIABLE) or None
    file = find_file(named)
    if file is None:
        return [("file", f"none: there is no ./cluster.yaml, and {CONFIG_VARIABLE} is not set")]
    if read_section(file):
        return [("file", str(file))]
    if named is not None:
        mend.append(f"{file} has no section metadata.llmgine: put the settings below it")
    return [("file", f"{file}, without a section metadata.llmgine")]


def _keys(settings: Settings, mend: list[str]) -> list[Row]:
    """A missing key matters only to who uses its models; so does a transport's package."""
    for name, endpoint in sorted(settings.providers.endpoints.items()):
        if endpoint.transport == _OLD_GEMINI and _version(_OLD_GEMINI) is None:
            mend.append(
                f"{name} is reached through {_OLD_GEMINI}, which is not here: "
                f'pip install "llmgine-ray[{_EXTRAS[_OLD_GEMINI]}]"'
            )
    return key_states(settings.providers)


def _weights(settings: Settings, mend: list[str]) -> list[Row]:
    rows = local_models(settings.providers.local)
    for name, where in rows:
        if where == NOT_INSTALLED:
            mend.append(
                f"the weights of {name} are not here: llmgine models install {name.partition('/')[2]}"
            )
    if _version("xllamacpp") is None:
        mend.append('the engine of the local models is not here: pip install "llmgine-ray[local]"')
    return rows


def _runtimes(settings: Settings, mend: list[str]) -> list[Row]:
    from llmgine.runtime.data import read_records

    rows: list[Row] = []
    for record in read_records(settings.data_dir):
        if record.detached:
            state = f"detached, in the cluster at {record.address}, since {record.started}"
        elif record.holder_lives():
            state = f"held by process {record.pid} at {record.address}, since {record.started}"
        elif record.has_ended():
            state = f"gone: process {record.pid} ended without leaving"
            mend.append(
                f"runtime {record.name} is gone, and its record is still here: "
                f"`{command_line('down', record.name)}` removes it"
            )
        else:
            state = f"held by process {record.pid} of {record.host}, since {record.started}"
        rows.append((record.name, state))
    return rows or [("none", "`llmgine up` starts one")]


def _ray(settings: Settings | None, mend: list[str]) -> list[Row]:
    """What this process is told about Ray, and what the clusters hold whose address is known."""
    from llmgine.runtime.data import read_records

    told = cluster_address()
    modes: dict[str, str | None] = {told: None} if told else {}
    for record in [] if settings is None else read_records(settings.data_dir):
        if record.detached or record.holder_lives():
            modes.setdefault(record.address, record.auth_mode)
    rows: list[Row] = [
        ("RAY_ADDRESS", os.environ.get("RAY_ADDRESS") or "not set: a runtime starts Ray on this machine"),
        ("RAY_AUTH_MODE", os.environ.get("RAY_AUTH_MODE") or "not set"),
    ]
    disk = shutil.disk_usage("/tmp")
    if disk.free < disk.total * _FREE_DISK:
        mend.append("/tmp is over 95 % full, and Ray's object store refuses to work then: make room")
    if told and told.startswith("ray://"):
        mend.append(
            "RAY_ADDRESS is a ray:// address, which has no links to the actors: run drivers in the cluster"
        )
        del modes[told]
    rows.extend((address, _cluster(address, mode, mend)) for address, mode in modes.items())
    return rows


def _cluster(address: str, auth_mode: str | None, mend: list[str]) -> str:
    """The nodes of the cluster at that address, asked for in a process that can be given up on."""
    environment = dict(os.environ, RAY_USAGE_STATS_ENABLED="0")
    if auth_mode:
        environment.setdefault("RAY_AUTH_MODE", auth_mode)
    with waiting(f"asking Ray at {address}"):
        try:
            asked = subprocess.run(
                [sys.executable, "-c", _ASK, address],
                env=environment,
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
                check=True,
            )
            nodes, cpus = json.loads(asked.stdout.splitlines()[-1])
        except (subprocess.SubprocessError, ValueError, IndexError):
            mend.append(
                f"Ray at {address} does not answer: start it there, or correct RAY_ADDRESS and RAY_AUTH_MODE"
            )
            return "does not answer"
    return f"{nodes} nodes alive, {cpus:g} CPUs"
