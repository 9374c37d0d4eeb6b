"""A file of lines to which threads and processes append, and which never grows without end."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path


class LineFile:
    """Lines at the end of a file, each batch of them whole or, where the disk is full, not at all.

    A batch that would take the file beyond `max_bytes` begins a new one; the old one is kept as `NAME.1`,
    in place of the one before. Readable for its owner alone: what stands in it may be private.
    """

    def __init__(self, path: str | os.PathLike[str], max_bytes: int) -> None:
        self.path = Path(path)
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file: int | None = self._open()
        self._closed = False

    def append(self, data: bytes) -> None:
        """The lines, each with its newline, at the end."""
        if not data:
            return
        with self._lock:
            if self._closed:
                raise ValueError(f"the exporter to {self.path} is closed")
            file = self._alone(len(data))
            try:
                _append(file, data)
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _alone(self, wanted: int) -> int:
        """The file that bears the name and has room, kept from every other process that appends to it."""
        while True:
            file = self._file if self._file is not None else self._open()
            self._file = file
            fcntl.flock(file, fcntl.LOCK_EX)
            if self._is_named(file):
                size = os.fstat(file).st_size
                if not size or size + wanted <= self._max_bytes:
                    return file
                os.replace(self.path, self.path.with_name(self.path.name + ".1"))
            self._file = None
            os.close(file)  # it was set aside, here or elsewhere

    def _is_named(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            os.write(file, b"\n")  # a line that a crash cut off must not spoil the next one
        fcntl.flock(file, fcntl.LOCK_UN)
        return file


def _append(file: int, data: bytes) -> None:
    before = os.fstat(file).st_size
    written = 0
    try:
        while written < len(data):
            written += os.write(file, data[written:])
    except OSError:
        os.ftruncate(file, before)
        raise
