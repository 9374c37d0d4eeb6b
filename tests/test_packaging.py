"""The four folders are one package, whole in the wheel, and importable under one name only."""

from __future__ import annotations

import ast
import importlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("actors", "providers", "runtime", "telemetry")


def packages() -> list[str]:
    """Every package that the source tree holds."""
    return sorted(
        "llmgine." + ".".join(file.parent.relative_to(ROOT).parts)
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("__init__.py")
    )


def modules() -> list[str]:
    """Every module file of the source tree, by its path."""
    return sorted(
        str(file.relative_to(ROOT))
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in file.parts
    )


def import_name(path: str) -> str:
    return "llmgine." + path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def run(code: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**clean, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_package_is_listed() -> None:
    """A new sub-package that pyproject.toml does not list would be missing from the wheel."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        listed = tomllib.load(file)["tool"]["setuptools"]["packages"]
    assert sorted(listed) == packages()


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_generic_name_from_elsewhere(folder: str, tmp_path: Path) -> None:
    """Away from the repository the folders' own names are no modules of ours."""
    found = run(f"import importlib.util as u; print(u.find_spec({folder!r}))", tmp_path)
    assert found.stdout.strip() == "None", found.stdout + found.stderr


@pytest.mark.parametrize("folder", FOLDERS)
def test_generic_name_refused_in_the_repository(folder: str) -> None:
    """Inside the repository the folder's own name is refused with the name that is right."""
    found = run(f"import {folder}", ROOT)
    assert found.returncode != 0
    assert f"ImportError: import llmgine.{folder}, not {folder}" in found.stderr


@pytest.mark.parametrize("name", packages())
def test_public_names(name: str) -> None:
    """A package's public names are sorted, resolve, and are all that it imports; it does nothing else."""
    module = importlib.import_module(name)
    # The face loads its names late, from the module that imports them.
    lists = importlib.import_module("llmgine.runtime.face") if name == "llmgine.runtime" else module
    tree = ast.parse(Path(str(lists.__file__)).read_text(encoding="utf-8"))
    exported: list[str] = list(getattr(module, "__all__", []))
    assert exported == sorted(exported)
    assert all(hasattr(module, public) for public in exported)
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    assert imported == set(exported)
    for node in tree.body:
        assert isinstance(node, ast.ImportFrom | ast.Assign | ast.Expr | ast.If), ast.dump(node)


@pytest.mark.parametrize("name", [name for name in packages() if not name.startswith("llmgine.telemetry")])
def test_public_errors_have_one_root(name: str) -> None:
    """Every public error derives from LlmgineError, so that one class catches all of them.

    Telemetry stands below the providers' errors and beside them; what it raises is the standard's.
    """
    from llmgine.providers.errors import LlmgineError

    module = importlib.import_module(name)
    public = [getattr(module, one) for one in getattr(module, "__all__", [])]
    errors = [one for one in public if isinstance(one, type) and issubclass(one, BaseException)]
    assert [error for error in errors if not issubclass(error, LlmgineError)] == []


def test_what_users_must_catch_is_public() -> None:
    """Errors of the bus and the store are names of the face, but for those that never leave the actors."""
    import llmgine.runtime
    from llmgine.actors.bus import errors as bus
    from llmgine.actors.store import errors as store

    inside = {
        "AskRefused", "EntryDamaged", "Fenced", "OperationRefused", "ProtocolViolation", "ScopeRefused",
        "StaleRegistration", "UndecodableMessage",
    }  # fmt: skip
    for room, root in ((bus, bus.BusError), (store, store.StoreError)):
        named = {name for name, one in vars(room).items() if isinstance(one, type) and issubclass(one, root)}
        assert named - inside <= set(llmgine.runtime.__all__)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution as a release is."""
    folder = tmp_path_factory.mktemp("build")
    # setuptools writes its notes beside pyproject.toml: built from a copy, the tree stays as it is.
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    hook = "import sys; from setuptools import build_meta as b; print(b.build_{}(sys.argv[1]))"
    name = _built(hook.format("sdist"), folder, folder / "dist")
    with tarfile.open(folder / "dist" / name) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    unpacked = folder / "unpacked" / name.removesuffix(".tar.gz")
    return folder / "dist" / _built(hook.format("wheel"), unpacked, folder / "dist")


def _built(code: str, folder: Path, into: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, str(into)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


def test_wheel_is_whole(wheel: Path) -> None:
    """The wheel, built through the sdist, holds every module and data file, and no generic name."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"llmgine/{path}" for path in modules()} <= names
    kinds = ("py.typed", "*.json", "*.html", "*.js", "*.css", "*.svg")
    data = [file for folder in FOLDERS for kind in kinds for file in (ROOT / folder).rglob(kind)]
    assert {f"llmgine/{file.relative_to(ROOT)}" for file in data} <= names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"llmgine"}


def test_wheel_works_without_the_source(wheel: Path, tmp_path: Path) -> None:
    """Installed from the wheel, every module imports with the source out of reach."""
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    names = [
        "llmgine." + path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for path in modules()
    ]
    code = f"""
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in repr(finder)]
sys.path.insert(0, {str(target)!r})
import importlib
for name in {names!r}:
    module = importlib.import_module(name)
    assert module.__file__.startswith({str(target)!r}), (name, module.__file__)
"""
    found = run(code, tmp_path)
    assert found.returncode == 0, found.stderr
