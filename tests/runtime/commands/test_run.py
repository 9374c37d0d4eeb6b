"""`llmgine run`: a script that gets its runtime from the command."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from llmgine.actors.control import RuntimeNotFound
from llmgine.runtime import Runtime, choice
from llmgine.runtime.commands.entry import execute
from llmgine.runtime.data import RuntimeRecord, data_folder, write_record

Out = pytest.CaptureFixture[str]
Script = Callable[[str], str]


@pytest.fixture
def script(clean_environ: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Writes a script beside a module, and says where it is."""
    monkeypatch.setenv("LLMGINE_DATA_DIR", str(clean_environ / "data"))
    (clean_environ / "jobs").mkdir()
    (clean_environ / "jobs" / "beside_it.py").write_text("NAME = 'beside'\n")

    def write(text: str) -> str:
        file = clean_environ / "jobs" / "job.py"
        file.write_text(dedent(text))
        return str(file)

    return write


def test_it_runs_as_python_runs_it(script: Script, capsys: Out) -> None:
    """As `__main__`, with all its arguments and its folder in front; its code is passed on."""
    before = sys.path[:], sys.argv
    job = script("""
        import sys
        from beside_it import NAME
        print(__name__, NAME, sys.argv[1:])
        sys.exit(7)
    """)
    assert execute(["run", job, "--day", "monday", "--launch"]) == 7
    assert capsys.readouterr().out == "__main__ beside ['--day', 'monday', '--launch']\n"
    assert (sys.path, sys.argv) == before


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("pass", 0, ""),
        ("import sys; sys.exit('not today')", 1, "not today\n"),
        ("raise KeyboardInterrupt", 130, ""),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
    ],
)
def test_how_it_ends_is_how_the_command_ends(
    text: str, code: int, told: str, script: Script, capsys: Out
) -> None:
    """Its exit code, or that of what ended it; an error's traceback begins in the script."""
    assert execute(["run", script(text)]) == code
    err = capsys.readouterr().err
    assert err.endswith(told)
    assert "runpy" not in err
    assert (told == "") is (err == "")


def test_sigterm_leaves_its_blocks_in_order(script: Script, capsys: Out) -> None:
    """SIGTERM cancels what the script runs, as Ctrl-C does; the code tells which it was."""
    before = signal.getsignal(signal.SIGTERM)
    job = script("""
        import asyncio, signal
        async def main():
            try:
                signal.raise_signal(signal.SIGTERM)
                await asyncio.Event().wait()
            finally:
                print("left")
        asyncio.run(main())
    """)
    assert execute(["run", job]) == 143
    assert capsys.readouterr().out == "left\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_runtime_that_does_not_run_cannot_be_joined(script: Script, capsys: Out) -> None:
    """With --connect the script does not even begin."""
    assert execute(["run", "--connect", script("print('begun')")]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "llmgine up" in err
    assert execute(["run", "nowhere.py"]) == 2


@pytest.fixture
def ways(script: Script, clean_environ: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How runtimes are opened from here on; `default` runs, and no other."""
    ways: list[str] = []

    @asynccontextmanager
    async def launched(settings: Any, name: str, *, detached: bool) -> AsyncIterator[object]:
        ways.append(f"launched {name}")
        yield object()

    @asynccontextmanager
    async def joined(settings: Any, name: str, address: str | None) -> AsyncIterator[object]:
        if name != "default":
            raise RuntimeNotFound(name)
        ways.append(f"joined {name}")
        yield object()

    for room in ("choice", "opening"):
        monkeypatch.setattr(f"llmgine.runtime.{room}.launched", launched)
        monkeypatch.setattr(f"llmgine.runtime.{room}.joined", joined)
    return ways


@pytest.mark.parametrize(
    ("way", "name", "call", "opened"),
    [
        ("either", "default", "launch()", "joined default"),
        ("either", "default", "connect()", "joined default"),
        ("either", "other", "launch()", "launched other"),
        ("either", "other", "connect()", "launched other"),
        ("connect", "default", "launch()", "joined default"),
        ("launch", "default", "connect()", "launched default"),
        ("launch", "default", "launch(name='mine')", "launched mine"),
        ("connect", "default", "launch({})", "launched default"),
        ("connect", "default", "launch(detached=True)", "launched default"),
        ("launch", "default", "connect('10.0.0.1:1')", "joined default"),
    ],
)
async def test_who_decides(way: Any, name: str, call: str, opened: str, ways: list[str]) -> None:
    """The command, wherever the script leaves open what it gets."""
    choice.choose(choice.Choice(way, name))
    try:
        async with eval(f"Runtime.{call}", {"Runtime": Runtime}):
            pass
    finally:
        choice.choose(None)
    assert ways == [opened]


async def test_what_the_script_has_launched_can_be_joined(ways: list[str], clean_environ: Path) -> None:
    """With --launch, `connect()` finds the runtime of the script itself, and launches no second one."""
    write_record(data_folder(clean_environ / "data", "default"), RuntimeRecord("default", "x", "disabled"))
    choice.choose(choice.Choice("launch"))
    try:
        async with Runtime.connect():
            pass
    finally:
        choice.choose(None)
    assert ways == ["joined default"]
