"""The folder that a runtime keeps its files in, its lock, and the record by which others find the runtime."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from platformdirs import user_data_path

from llmgine.providers.errors import LlmgineError

_RECORD = "runtime.json"
_LOCK = "lock"
_HOLDER = "up.json"


class DataFolderLocked(LlmgineError):
    """Another live process holds the runtime's data folder; the message says which."""


class DamagedRecord(LlmgineError):
    """The record of a runtime cannot be read; the message names the file."""


@dataclass(frozen=True, slots=True)
class RuntimeRecord:
    """Where a runtime can be reached, and which process keeps it alive.

    `address` is Ray's (`host:port`), `auth_mode` what RAY_AUTH_MODE has to be there, `started` an ISO time
    in UTC. `detached` runtimes live without their process `pid`. `pid_started` tells the process from
    a later one of the same number.
    """

    name: str
    address: str
    auth_mode: str
    pid: int = field(default_factory=os.getpid)
    detached: bool = False
    host: str = field(default_factory=socket.gethostname)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    pid_started: int | None = None

    def holder_lives(self) -> bool:
        """Whether the process that wrote this still runs on this machine."""
        return self._is_here() and process_lives(self.pid, self.pid_started)

    def has_ended(self) -> bool:
        """Whether the runtime is known to be gone: its process ran on this machine, and no longer does."""
        return not self.detached and self._is_here() and not process_lives(self.pid, self.pid_started)

    def _is_here(self) -> bool:
        return self.host == socket.gethostname()


def data_root(data_dir: Path | None) -> Path:
    """The folder under which each runtime has one of its own name."""
    return data_dir if data_dir is not None else user_data_path("llmgine")


def folder_of(data_dir: Path | None, name: str) -> Path:
    """Where the runtime's own folder is, or would be; `InvalidRequest` for what cannot name a runtime."""
    from llmgine.actors.control import names

    names.namespace(name)
    return data_root(data_dir) / name


def data_folder(data_dir: Path | None, name: str) -> Path:
    """The runtime's own folder, made when it is not there."""
    folder = folder_of(data_dir, name)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LlmgineError(
            f"the data folder {folder} cannot be made: {error.strerror}; set LLMGINE_DATA_DIR to another"
        ) from None
    return folder


class FolderLock:
    """Holds a runtime's folder until `release`, or until this process ends.

    What is released leaves no lock behind, and no folder either where nothing else is kept in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        file = _locked(folder)
        # Who has released it since has removed the file that was opened, and another may hold a new one.
        while not _is_at(file, folder / _LOCK):
            file.close()
            file = _locked(folder)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file: IO[str] | None = file

    def release(self) -> None:
        if self._file is None:
            return
        (self._folder / _LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()
        self._file.close()
        self._file = None

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _locked(folder: Path) -> IO[str]:
    """The lock's file, which is the lock while it is open."""
    while True:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = open(folder / _LOCK, "a+", encoding="ascii")  # noqa: SIM115 - the open file is the lock
            break
        except FileNotFoundError:
            continue  # its last holder has removed the folder just now
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise DataFolderLocked(
            f"{folder} is held by process {holder}; end that (`llmgine down --name {folder.name}` where "
            "`llmgine up` started it), or use another name or LLMGINE_DATA_DIR"
        ) from None
    return file


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether the open file still is the one of that path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def write_record(folder: Path, record: RuntimeRecord) -> None:
    """Replaces the record in one step, so that a reader sees the old one or the new one."""
    content = asdict(record)
    if record.pid_started is None:
        content["pid_started"] = process_started(record.pid)
    file = folder / f"{_RECORD}.{os.getpid()}"
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    file.chmod(0o600)
    file.replace(folder / _RECORD)


def read_record(folder: Path) -> RuntimeRecord | None:
    """The record, whoever wrote it may be dead by now; none where no runtime has left one."""
    file = folder / _RECORD
    try:
        return RuntimeRecord(**json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError):
        raise DamagedRecord(f"{file} is not the record of a runtime; remove it") from None


def remove_record(folder: Path, pid: int | None = None) -> None:
    """Forgets the runtime; with `pid`, only where the record is that process's."""
    if pid is not None:
        record = read_record(folder)
        if record is None or record.pid != pid:
            return
    (folder / _RECORD).unlink(missing_ok=True)


def read_records(data_dir: Path | None) -> list[RuntimeRecord]:
    """All runtimes recorded under the data folder, by name; damaged records are left out."""
    found = []
    for file in sorted(data_root(data_dir).glob(f"*/{_RECORD}")):
        try:
            record = read_record(file.parent)
        except DamagedRecord:
            continue
        if record is not None:
            found.append(record)
    return found


def process_started(pid: int) -> int | None:
    """When the process began, in the kernel's ticks; none where the system does not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def process_lives(pid: int, started: int | None = None) -> bool:
    """Whether that very process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return started is None or process_started(pid) == started
    try:
        state = (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="ascii", errors="replace")
            .rpartition(")")[2]
            .split()[0]
        )
    except OSError:
        return True
    return state != "Z" and (started is None or process_started(pid) == started)


def write_holder(folder: Path, gateway: str | None = None) -> None:
    """Says that this process was started by `llmgine up` and may be ended by `llmgine down`.

    `gateway` is the URL at which its runtime is reached.
    """
    content = {"pid": os.getpid(), "started": process_started(os.getpid()), "gateway": gateway}
    (folder / _HOLDER).write_text(json.dumps(content), encoding="ascii")


def read_holder(folder: Path) -> int | None:
    """The pid of the live process that `llmgine up` started for this runtime."""
    try:
        content = json.loads((folder / _HOLDER).read_text(encoding="ascii"))
        pid, started = int(content["pid"]), content["started"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if process_lives(pid, started) else None


def read_gateway(folder: Path) -> str | None:
    """Where the gateway of a runtime is reached that `llmgine up` holds."""
    if read_holder(folder) is None:
        return None
    told = json.loads((folder / _HOLDER).read_text(encoding="ascii")).get("gateway")
    return told if isinstance(told, str) else None


def remove_holder(folder: Path) -> None:
    (folder / _HOLDER).unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Removes the record of a runtime that is over, and its folder where nothing else is kept in it.

    A folder that a live process holds stays as it is.
    """
    if not folder.is_dir():
        return
    try:
        lock = FolderLock(folder)
    except DataFolderLocked:
        return
    remove_record(folder)
    lock.release()
