"""The data folder, its lock and the record of a runtime."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmgine.providers.errors import InvalidRequest, LlmgineError
from llmgine.runtime.data import (
    DamagedRecord,
    DataFolderLocked,
    FolderLock,
    RuntimeRecord,
    data_folder,
    process_lives,
    process_started,
    read_holder,
    read_record,
    read_records,
    remove_folder,
    remove_record,
    write_holder,
    write_record,
)


def test_folder_is_made_under_the_name(tmp_path: Path) -> None:
    """Each runtime has a folder of its own name, readable by its user only."""
    folder = data_folder(tmp_path / "a", "main")
    assert folder == tmp_path / "a" / "main"
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["", "a/b", "..", ".", ".hidden", "/abs", "-x", "a b", "x" * 65])
def test_name_that_is_no_folder(tmp_path: Path, name: str) -> None:
    """What is no runtime's name is no folder's either, and nothing is made for it."""
    with pytest.raises(InvalidRequest, match="runtime's name"):
        data_folder(tmp_path / "data", name)
    assert not (tmp_path / "data").exists()


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A data folder that cannot be made names the setting that mends it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LlmgineError, match="LLMGINE_DATA_DIR"):
        data_folder(tmp_path / "file", "main")


def test_lock_is_held_by_one(tmp_path: Path) -> None:
    """A second holder is refused and told which process holds the folder; after release it may."""
    with FolderLock(tmp_path), pytest.raises(DataFolderLocked, match=str(os.getpid())):
        FolderLock(tmp_path)
    FolderLock(tmp_path).release()


def test_lock_ends_with_its_process(tmp_path: Path) -> None:
    """A process that dies without releasing leaves the folder free."""
    code = f"""
import os, pathlib
from llmgine.runtime.data import FolderLock
lock = FolderLock(pathlib.Path({str(tmp_path)!r}))
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    FolderLock(tmp_path).release()


def test_a_released_folder_leaves_nothing(tmp_path: Path) -> None:
    """A folder in which nothing is kept goes with its lock; what is kept stays, without the lock."""
    folder = data_folder(tmp_path, "main")
    FolderLock(folder).release()
    assert not folder.exists()
    with FolderLock(folder):
        write_record(folder, RuntimeRecord("main", "x", "disabled", detached=True))
    assert [file.name for file in folder.iterdir()] == ["runtime.json"]


def test_a_lock_whose_file_is_gone_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opens the lock just before it is released takes a new one: two never hold one folder."""
    folder = data_folder(tmp_path, "main")
    first = FolderLock(folder)
    flock, waiting = fcntl.flock, [first]

    def release_first(*arguments: Any) -> None:
        if waiting:
            waiting.pop().release()
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", release_first)
    with FolderLock(folder), pytest.raises(DataFolderLocked):
        FolderLock(folder)


def test_record_round_trip(tmp_path: Path) -> None:
    """What was recorded is read back, with the process that wrote it alive."""
    folder = data_folder(tmp_path, "main")
    assert read_record(folder) is None
    write_record(folder, RuntimeRecord("main", "127.0.0.1:6379", "disabled"))
    record = read_record(folder)
    assert record is not None
    assert (record.name, record.address, record.auth_mode, record.pid) == (
        "main",
        "127.0.0.1:6379",
        "disabled",
        os.getpid(),
    )
    assert record.holder_lives()
    assert read_records(tmp_path) == [record]


def test_record_of_a_dead_process(tmp_path: Path) -> None:
    """A record whose process is gone, or is another one of the same number, has no living holder."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    for record in (
        RuntimeRecord("main", "x", "disabled", pid=process.pid),
        RuntimeRecord("main", "x", "disabled", pid_started=1),
    ):
        assert not record.holder_lives()
        assert record.has_ended()
        assert not replace(record, detached=True).has_ended()


def test_record_of_another_machine(tmp_path: Path) -> None:
    """A process number of another machine says nothing here."""
    record = RuntimeRecord("main", "x", "disabled", host="elsewhere.invalid")
    assert not record.holder_lives()
    assert not record.has_ended()


def test_remove_only_ones_own(tmp_path: Path) -> None:
    """A record is removed for its own process only, where one is given."""
    write_record(tmp_path, RuntimeRecord("main", "x", "disabled"))
    remove_record(tmp_path, pid=os.getpid() + 1)
    assert read_record(tmp_path) is not None
    remove_record(tmp_path, pid=os.getpid())
    assert read_record(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "x"}', '{"name": "x", "color": 1}'])
def test_damaged_record(tmp_path: Path, content: str) -> None:
    """A damaged record is reported by name, and left out of the list of runtimes."""
    folder = data_folder(tmp_path, "main")
    (folder / "runtime.json").write_text(content)
    with pytest.raises(DamagedRecord, match=r"runtime\.json"):
        read_record(folder)
    assert read_records(tmp_path) == []


def test_holder(tmp_path: Path) -> None:
    """The process that `up` started is known while it lives, and nothing else is taken for it."""
    assert read_holder(tmp_path) is None
    write_holder(tmp_path)
    assert read_holder(tmp_path) == os.getpid()
    (tmp_path / "up.json").write_text(f'{{"pid": {os.getpid()}, "started": 1}}')
    assert read_holder(tmp_path) is None


def test_passing_folder_leaves_nothing(tmp_path: Path) -> None:
    """A passing runtime's folder goes, unless something is kept in it."""
    folder = data_folder(tmp_path, "ask-1")
    FolderLock(folder).release()
    remove_folder(folder)
    assert not folder.exists()
    kept = data_folder(tmp_path, "ask-2")
    (kept / "spans.jsonl").write_text("{}")
    remove_folder(kept)
    assert kept.exists()


def test_a_held_folder_is_not_removed(tmp_path: Path) -> None:
    """The folder of a runtime that came in the meantime under the same name stays as it is."""
    folder = data_folder(tmp_path, "main")
    with FolderLock(folder):
        write_record(folder, RuntimeRecord("main", "x", "disabled"))
        remove_folder(folder)
        assert read_record(folder) is not None
    remove_folder(folder)
    remove_folder(folder)
    assert not folder.exists()


def test_processes(tmp_path: Path) -> None:
    """A process lives until it has ended, also while its parent has not asked for its end."""
    assert process_lives(os.getpid(), process_started(os.getpid()))
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_lives(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not process_lives(process.pid)
    process.communicate()
