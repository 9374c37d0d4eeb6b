"""What importing costs: pure modules load neither Ray nor a vendor's SDK."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = (
    "ray",
    "openai",
    "anthropic",
    "google.genai",
    "google.generativeai",
    "xllamacpp",
    "litellm",
    "mcp",
    "opentelemetry.sdk",
)
SDKS = HEAVY[1:]
# The gateway's own, which is one actor of those runtimes that have it.
HTTP = ("starlette", "uvicorn")
# Modules whose job is Ray itself; everything else imports it inside functions, if at all.
RAY_ITSELF = {"llmgine.actors.control.ray_cluster"}
# The one that is the MCP SDK's; it is imported where a session has such a server.
MCP_ITSELF = {"llmgine.actors.sessions.tools.mcp.linking"}


def _modules(folder: str) -> list[str]:
    return sorted(
        "llmgine." + ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in (ROOT / folder).rglob("*.py")
    )


def _loaded_after(names: list[str], heavy: tuple[str, ...] = HEAVY) -> dict[str, list[str]]:
    """The heavy modules that are loaded after each import, in one fresh process."""
    code = f"""
import importlib, json, sys
found = {{}}
for name in {names!r}:
    importlib.import_module(name)
    found[name] = [heavy for heavy in {heavy!r} if heavy in sys.modules]
print(json.dumps(found))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded: dict[str, list[str]] = json.loads(done.stdout)
    return loaded


@pytest.mark.parametrize("folder", ["providers", "telemetry", "actors", "runtime"])
def test_importing_loads_nothing_heavy(folder: str) -> None:
    """No module loads Ray, a vendor's SDK, the local engine or OpenTelemetry by being imported."""
    names = [name for name in _modules(folder) if name not in RAY_ITSELF | MCP_ITSELF]
    loaded = _loaded_after(names)
    first = next(((name, heavy) for name, heavy in loaded.items() if heavy), None)
    assert first is None, f"importing {first[0]} loads {', '.join(first[1])}"


def test_the_contract_names_every_module() -> None:
    """The contract that keeps Ray out names each module of the room in which Ray is."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    kept_pure = next(
        set(one["source_modules"]) for one in contracts if "ray" in one.get("forbidden_modules", ())
    )
    rooms = {
        f"llmgine.actors.{path.name}"
        for path in (ROOT / "actors").iterdir()
        if (path / "__init__.py").exists()
    }
    control = {name for name in _modules("actors") if name.startswith("llmgine.actors.control.")}
    assert (
        kept_pure
        == (rooms - {"llmgine.actors.control"} | control | {"llmgine.providers", "llmgine.telemetry"})
        - RAY_ITSELF
    )


def test_session_actor_never_loads_an_sdk() -> None:
    """A session's process imports no provider SDK with its actor: only pools do, one each."""
    loaded = _loaded_after(["llmgine.actors.sessions.hosting.actor"])
    assert not set(loaded["llmgine.actors.sessions.hosting.actor"]) & set(SDKS)


def test_the_face_is_light() -> None:
    """`import llmgine.runtime`, its names and the command line load no Ray, no SDK and no HTTP server."""
    names = ["llmgine.runtime", "llmgine.runtime.commands", "llmgine.runtime.face"]
    assert _loaded_after(names, (*HEAVY, *HTTP)) == {name: [] for name in names}
