"""Where socket files live: a private folder, short enough for the kernel."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Final

from llmgine.actors.link.errors import LinkError

LONGEST_PATH: Final = 107  # bytes, on Linux; one of the 108 is the closing zero


def socket_file(folder: Path, name: str) -> Path:
    """A free path for the socket of `name`: in `folder`, or in a short private folder where that is too long.

    A missing folder is made with mode 0700, one that is open to others is refused; a socket file left by an
    earlier process of that name is removed.
    """
    file = _file_name(name)
    chosen = folder if _fits(folder / file) else _short_folder(folder)
    path = chosen / file
    if not _fits(path):
        raise LinkError(f"{path} is too long for a socket ({LONGEST_PATH} bytes); set a shorter TMPDIR")
    _make_private(chosen)
    path.unlink(missing_ok=True)
    return path


def _file_name(name: str) -> str:
    digest = hashlib.blake2s(name.encode(), digest_size=5).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', name)[:20]}-{digest}.sock"


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST_PATH


def _short_folder(folder: Path) -> Path:
    digest = hashlib.blake2s(os.fsencode(folder), digest_size=5).hexdigest()
    return Path(tempfile.gettempdir()) / f"llmgine-{os.getuid()}-{digest}"


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # the mode is only for a folder that was not there
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise LinkError(f"{folder} is not a folder of this user; remove it")
    if status.st_mode & 0o077:
        raise LinkError(f"{folder} is open to other users; give sockets a folder with mode 0700")
