"""Finds the settings file and reads our section of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmgine.runtime.settings_errors import SettingsError

LOCAL_FILE = Path("cluster.yaml")
HEAD_FILE = Path("~/ray_bootstrap_config.yaml")  # where `ray up` leaves its file on the head node


def find_file(named: str | None, file: Path | None = None) -> Path | None:
    """The file given, else the one that LLMGINE_CONFIG names, else ./cluster.yaml, else the head node's."""
    if file is not None:
        return _existing(file, "the settings file")
    if named is not None:
        return _existing(Path(named), "LLMGINE_CONFIG")
    for candidate in (LOCAL_FILE, HEAD_FILE.expanduser()):
        if candidate.is_file():
            return candidate
    return None


def _existing(file: Path, origin: str) -> Path:
    file = file.expanduser()
    if not file.is_file():
        raise SettingsError(f"{origin} names {file}, which is no file; mend the path or unset it")
    return file


def read_section(file: Path) -> dict[str, Any]:
    """What stands under `metadata.llmgine`; nothing where the section is absent."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SettingsError(f"{file}{where}: not valid YAML: {error.problem}; mend that line") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not valid YAML: {error}; mend the file") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}; mend its permissions") from None
    section: Any = content
    for level, name in enumerate(("metadata", "llmgine")):
        if section is None:
            return {}
        if not isinstance(section, dict):
            at = ("the file", "metadata")[level]
            raise SettingsError(
                f"{file}: {at} is {type(section).__name__}, expected a table of names and values"
            )
        section = section.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise SettingsError(
            f"{file}: metadata.llmgine is {type(section).__name__}, expected a table of names and values"
        )
    return {str(name): value for name, value in section.items()}
