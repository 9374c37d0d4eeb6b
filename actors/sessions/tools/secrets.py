"""Secrets by name, looked up in the process that runs the tool: first a file, then its environment."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from llmgine.actors.sessions.errors import MissingSecret

VARIABLE = "LLMGINE_SECRET_"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
# A shorter value would be found in text that has nothing to do with it.
_SHORTEST_MASKED = 6


class Secrets:
    """The secrets of one process. What it has given out is taken out of texts by `masked`."""

    def __init__(self, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environment = os.environ if environment is None else environment
        self._given: dict[str, str] = {}

    def find(self, name: str) -> str:
        """The secret; `MissingSecret` says which places were looked at."""
        if not _NAME.fullmatch(name):
            raise MissingSecret(
                f"{name!r} is no secret's name: letters, digits, '_', '-' and '.', the first no sign"
            )
        looked: list[str] = []
        if self._folder is not None:
            path = self._folder.expanduser() / name
            try:
                return self._kept(name, path.read_text(encoding="utf-8").strip("\r\n"))
            except (OSError, UnicodeDecodeError) as error:
                looked.append(f"file {path} ({getattr(error, 'strerror', None) or 'not text'})")
        variable = VARIABLE + re.sub(r"[^A-Z0-9]", "_", name.upper())
        value = self._environment.get(variable, "")
        if value:
            return self._kept(name, value)
        looked.append(f"environment variable {variable} (not set)")
        raise MissingSecret(
            f"no secret {name!r} on node {socket.gethostname()}; looked at: {', '.join(looked)}. Set the "
            f"variable where Ray was started on that node, or sessions.secrets_folder to a folder there"
        )

    def masked(self, text: str) -> str:
        """The text with `[secret NAME]` for each value that was given out."""
        for value, name in tuple(self._given.items()):  # a thread of the tool may ask for one meanwhile
            text = text.replace(value, f"[secret {name}]")
        return text

    def _kept(self, name: str, value: str) -> str:
        if len(value) >= _SHORTEST_MASKED:
            self._given[value] = name
        return value
