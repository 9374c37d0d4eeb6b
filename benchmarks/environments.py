"""Environments of peers that cannot live beside us: made on first use under build/peers, and kept.

Peers that ask for the same share one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from benchmarks.contract import Peer
from benchmarks.processes import ROOT

FOLDER: Final = ROOT / "build" / "peers"

_ALWAYS: Final = ("uvloop",)  # what a contender itself runs on
_PATIENCE: Final = 300.0


def python(peer: Peer, folder: Path = FOLDER) -> Path:
    """The interpreter with which the peer's contender runs."""
    return _place(peer, folder) / "bin" / "python" if peer.environment else Path(sys.executable)


def prepare(peer: Peer, folder: Path = FOLDER) -> str:
    """Makes the peer's environment unless it stands; empty, or the reason why there is none."""
    wanted = "\n".join((*_ALWAYS, *peer.environment))
    stamp = _place(peer, folder) / "installed.txt"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return ""
    print(f"making an environment for {peer.name}", file=sys.stderr, flush=True)
    try:
        venv.create(_place(peer, folder), with_pip=True, clear=True)
        _install(python(peer, folder), wanted.split("\n"))
    except (OSError, subprocess.SubprocessError) as error:
        return f"its environment cannot be made: {_last_line(error)}"
    stamp.write_text(wanted, encoding="utf-8")
    return ""


def versions(peer: Peer, folder: Path = FOLDER) -> dict[str, str]:
    """Of what the peer's environment was made for, where it stands."""
    names = set(map(_name, peer.environment))
    places = [str(place) for place in _place(peer, folder).glob("lib/python*/site-packages")]
    found: list[Distribution] = list(distributions(path=places))
    return {one.name: one.version for one in found if one.name in names}


def _place(peer: Peer, folder: Path) -> Path:
    """Named after what the environment is made for first of all."""
    return folder / _name(peer.environment[0]) if peer.environment else folder / peer.name


def _name(requirement: str) -> str:
    return requirement.partition("[")[0].partition("=")[0].rstrip("<>~!")


def _install(interpreter: Path, requirements: list[str]) -> None:
    command = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*command, *requirements],
        check=True,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )


def _last_line(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    lines = [line for line in str(said).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
