"""What actors log: lines of JSON in a file for each actor, in a folder on its node, beside Ray's own logs.

The files outlive their actors and are bounded: one that is full is set aside, and replaces the one before it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from llmgine.telemetry.current import scope

_BYTES = 2_000_000
# Files that a node keeps of one runtime.
_FILES = 400
_ASIDE = ".1"
# Characters of one line's text, and bytes of a file that are read at a time.
_TEXT = 16_384
_READ = 1_000_000


class _Lines(logging.Formatter):
    """Records as JSON, with the actor, and the session that the logging code worked for."""

    def __init__(self, actor: str) -> None:
        super().__init__()
        self._actor = actor

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "actor": self._actor,
            "pid": record.process,
            "logger": record.name,
            "text": record.getMessage()[:_TEXT],
        }
        within = scope.get()
        if within is not None and within.session:
            line["session"] = within.session
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)[-_TEXT:]
        return json.dumps(line, ensure_ascii=False, default=str)


def keep_logs(actor: str, folder: Path, level: str) -> None:
    """What this process logs goes to the actor's file from here on; warnings go to standard error, too."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_room(folder)
    file = RotatingFileHandler(folder / f"{actor}.jsonl", maxBytes=_BYTES, backupCount=1, encoding="utf-8")
    file.setFormatter(_Lines(actor))
    file.setLevel(level)
    told = logging.StreamHandler()
    told.setLevel(logging.WARNING)
    root = logging.getLogger()
    root.addHandler(file)
    root.addHandler(told)
    logging.getLogger("llmgine").setLevel(level)


def _make_room(folder: Path) -> None:
    """Removes the files of the actors that have said nothing for the longest time."""
    ages: list[tuple[float, Path]] = []
    for file in folder.iterdir():
        with suppress(FileNotFoundError):
            ages.append((file.stat().st_mtime, file))
    for _, file in sorted(ages)[: -_FILES or None]:
        file.unlink(missing_ok=True)


def read_logs(folder: Path, positions: Mapping[str, int], tail: int) -> tuple[list[str], dict[str, int]]:
    """Whole lines that came since those positions, and the positions after them.

    Of a file that has no position yet the last `tail` lines are told, those set aside included.
    """
    lines: list[str] = []
    after: dict[str, int] = {}
    for file in sorted(folder.glob("*.jsonl")):
        try:
            told, after[file.name] = _read(file, positions.get(file.name), tail)
        except FileNotFoundError:  # set aside just now
            continue
        lines += told
    return lines, after


def _read(file: Path, position: int | None, tail: int) -> tuple[list[str], int]:
    size = file.stat().st_size
    aside: list[str] = []
    if position is None:
        before = file.with_name(file.name + _ASIDE)
        aside = _lines(before, 0)[0] if size < _READ and before.exists() else []
        lines, end = _lines(file, max(0, size - _READ), torn=size > _READ)
        return ([*aside, *lines][-tail:] if tail else []), end
    if position > size:  # it was set aside meanwhile, with what had come since
        before = file.with_name(file.name + _ASIDE)
        aside, position = (_lines(before, position)[0] if before.exists() else []), 0
    lines, end = _lines(file, position)
    return [*aside, *lines], end


def _lines(file: Path, position: int, *, torn: bool = False) -> tuple[list[str], int]:
    """The whole lines from there on, and where they end; the first is left out where it is `torn`."""
    with open(file, "rb") as opened:
        opened.seek(position)
        data = opened.read(_READ if not torn else -1)
    whole = data[: data.rfind(b"\n") + 1]
    lines = whole.decode("utf-8", "replace").splitlines()
    return lines[1:] if torn else lines, position + len(whole)


def parsed(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The lines as values; what a dying process left half written is left out."""
    found: list[dict[str, Any]] = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def log_folder(logs: str, runtime: str) -> Path:
    """Where the logs of a runtime stand below those of Ray."""
    return Path(os.path.join(logs, "llmgine", runtime))
