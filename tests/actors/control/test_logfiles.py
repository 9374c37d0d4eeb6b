"""What actors log stands in files that are bounded, and can be read on while they are written."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmgine.actors.control import logfiles
from llmgine.actors.control.logfiles import keep_logs, parsed, read_logs


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """A logger whose records come to nobody but whom the test adds."""
    root, ours = logging.Logger("root"), logging.Logger("llmgine.thing")
    ours.parent = root
    monkeypatch.setattr(logging, "getLogger", lambda name=None: ours if name else root)
    yield ours
    for handler in root.handlers:
        handler.close()


def told(folder: Path, positions: dict[str, int], tail: int = 100) -> tuple[list[str], dict[str, int]]:
    lines, after = read_logs(folder, positions, tail)
    return [line["text"] for line in parsed(lines)], after


def test_a_line_says_who_and_when(
    tmp_path: Path, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each record is a line of JSON with actor, level, time and traceback; warnings go to Ray, too."""
    keep_logs("router-0", tmp_path / "logs", "INFO")
    log.debug("too fine")
    log.info("ready on %s", "a node")
    try:
        raise ValueError("no\nluck")
    except ValueError:
        log.exception("it failed")
    info, failed = parsed(read_logs(tmp_path / "logs", {}, 100)[0])
    assert (info["actor"], info["level"], info["text"], info["pid"]) == (
        "router-0",
        "INFO",
        "ready on a node",
        os.getpid(),
    )
    assert failed["error"].endswith("ValueError: no\nluck")
    err = capsys.readouterr().err
    assert "it failed" in err
    assert "ready" not in err


def test_it_is_read_on(tmp_path: Path, log: logging.Logger) -> None:
    """The last lines at first, then what has come; a line that is half written waits until it is whole."""
    keep_logs("store", tmp_path, "INFO")
    for number in range(5):
        log.info("%s", number)
    lines, positions = told(tmp_path, {}, tail=2)
    assert lines == ["3", "4"]
    log.info("5")
    with open(tmp_path / "store.jsonl", "a") as file:
        file.write('{"text": "ha')
        file.flush()
        lines, positions = told(tmp_path, positions)
        assert lines == ["5"]
        file.write('lf"}\n')
    assert told(tmp_path, positions)[0] == ["half"]


def test_nothing_is_missed_when_a_file_is_set_aside(
    tmp_path: Path, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader who was in the middle of a file finds the rest of it where it was put."""
    monkeypatch.setattr(logfiles, "_BYTES", 1500)
    keep_logs("store", tmp_path, "INFO")
    seen: list[str] = []
    positions: dict[str, int] = {}
    for number in range(40):
        log.info("%s", number)
        if number % 3 == 0:
            lines, positions = told(tmp_path, positions)
            seen += lines
    seen += told(tmp_path, positions)[0]
    assert seen == [str(number) for number in range(40)]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 3200


def test_files_of_the_dead_do_not_pile_up(
    tmp_path: Path, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were silent for the longest go when a new actor begins."""
    monkeypatch.setattr(logfiles, "_FILES", 2)
    for age, name in enumerate(("new", "old", "older")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": name}) + "\n")
        os.utime(tmp_path / f"{name}.jsonl", (1000 - age, 1000 - age))
    keep_logs("session-1", tmp_path, "INFO")
    assert {file.stem for file in tmp_path.iterdir()} == {"new", "old", "session-1"}


def test_what_is_no_line_is_left_out() -> None:
    """A process that died in the middle of a line spoils no other."""
    assert parsed(['{"text": "a"}', '{"te', "[1]"]) == [{"text": "a"}]
