"""What the command line refuses: one message that says how to mend it, no traceback, before Ray is loaded."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from llmgine.runtime.commands.entry import execute
from llmgine.runtime.data import RuntimeRecord, data_folder, read_record, write_record


@pytest.fixture(autouse=True)
def _refused_without_ray(clean_environ: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may get as far as importing Ray; no key is set."""
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LLMGINE_DATA_DIR", str(clean_environ / "data"))


CASES = [
    (["ask", ""], {}, 2, "the prompt is empty"),
    (["ask", "  \n"], {}, 2, "the prompt is empty"),
    (["ask", "-"], {}, 2, "the prompt is empty"),
    (["ask"], {}, 2, "the prompt is empty"),
    (["ask", "hi", "-s", ""], {}, 2, "-s"),
    (["ask", "hi", "-s", "BUS"], {}, 2, "-s 'BUS'"),
    (["ask", "hi", "-s", "x" * 300], {}, 2, "1 to 200 printable"),
    (["chat", "-s", "a\nb"], {}, 2, "printable"),
    (["ask", "caf\udce9"], {}, 2, "the prompt is not text in UTF-8"),
    (["chat", "--system", "caf\udce9"], {}, 2, "--system is not text in UTF-8"),
    (["ask", "hi", "-m", "scripted/inline"], {}, 2, "providers.scripts"),
    (["chat", "-m", "scripted/inline"], {"RAY_ADDRESS": "10.0.0.1:1"}, 2, "providers.scripts"),
    (["ask", "hi", "-m", "nosuch/model"], {}, 1, "nosuch/model"),
    (["ask", "hi", "-m", "scripted/nosuch"], {}, 1, "echo"),
    (["ask", "hi", "-m", "gpt-4o"], {}, 1, "OPENAI_API_KEY"),
    (["ask", "hi", "-m", "claude-sonnet-4-5"], {}, 1, "ANTHROPIC_API_KEY"),
    (["ask", "hi"], {"LLMGINE_PROVIDERS__LOCAL__FOLDER": "/nowhere"}, 1, "llmgine models install smollm2"),
    (["chat"], {"LLMGINE_PROVIDERS__LOCAL__FOLDER": "/nowhere"}, 1, "llmgine models install smollm2"),
    (["demo"], {"LLMGINE_PROVIDERS__LOCAL__FOLDER": "/nowhere"}, 1, "llmgine models install smollm2"),
    (["ask", "hi"], {"LLMGINE_BOGUS": "1"}, 1, "unknown variable LLMGINE_BOGUS"),
    (["up"], {"LLMGINE_SESSIONS__QUEUE": "many"}, 1, "LLMGINE_SESSIONS__QUEUE"),
    (["status"], {"LLMGINE_CONFIG": "/nowhere.yaml"}, 1, "/nowhere.yaml"),
    (["ask", "hi"], {"RAY_ADDRESS": "ray://127.0.0.1:10001"}, 1, "ray://"),
    (["status"], {}, 3, "llmgine up"),
    (["down"], {}, 3, "no runtime named default"),
    (["status", "--name", "x"], {}, 3, "llmgine up --name x"),
    (["down", "--name", "../x"], {}, 2, "runtime's name"),
    (["up", "--name", "a b"], {}, 2, "runtime's name"),
    (["up", "--name", ""], {"RAY_ADDRESS": "10.0.0.1:1"}, 2, "runtime's name"),
    (["status", "--name", "-x"], {}, 2, "runtime's name"),
    (["down", "--name", "x" * 65], {}, 2, "runtime's name"),
    (["models", "install", "nosuch"], {}, 1, "smollm2"),
    (["dead-letters", "ls"], {}, 3, "llmgine up"),
    (["dead-letters", "ls", "--reason", "luck"], {}, 2, "overflow"),
    (["dead-letters", "ls", "--since", "lately"], {}, 2, "how long ago"),
    (["dead-letters", "ls", "--since", "99999999999d"], {}, 2, "how long ago"),
    (["traces", "ls", "--since", "999999d"], {}, 2, "how long ago"),
    (["cost", "--since", "0001-01-01"], {}, 2, "how long ago"),
    (["dead-letters", "show"], {}, 2, "Missing argument"),
    (["dead-letters", "replay"], {}, 2, "--all"),
    (["dead-letters", "discard", "id", "--all"], {}, 2, "--all"),
    (["dead-letters", "export", "/nowhere/at/all.jsonl"], {}, 2, "does not exist"),
    (["dead-letters", "discard", "id", "--name", "x"], {}, 3, "llmgine up --name x"),
    (["story"], {}, 2, "--session or --event"),
    (["story", "ship", "-s", "BUS"], {}, 2, "one thing"),
    (["story", "ship"], {}, 3, "llmgine up"),
    (["schedules", "ls"], {}, 3, "llmgine up"),
    (["schedules", "cancel"], {}, 2, "Missing argument"),
    (["nosuch"], {}, 2, "No such command"),
    (["statsu"], {}, 2, "Did you mean 'status'? See `llmgine --help`"),
    (["sessions", "shwo"], {}, 2, "Did you mean 'show'? See `llmgine sessions --help`"),
    (["sessions"], {}, 3, "llmgine up"),
    (["pools", "--json"], {}, 3, "llmgine up"),
    (["ask", "hi", "--nosuch"], {}, 2, "No such option"),
    (["ask", "hi", "--jsno"], {}, 2, "--json). See `llmgine ask --help`"),
    (["ask", "hi", "-m"], {}, 2, "requires an argument"),
]


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "told"),
    CASES,
    ids=[" ".join(case[0]) + str(n) for n, case in enumerate(CASES)],
)
def test_refused(
    arguments: list[str],
    environ: dict[str, str],
    code: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Bad input gives one message on standard error, nothing on standard output, and a code that is not 0."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert execute(arguments) == code
    # Wrong usage is refused before anything is made.
    assert code != 2 or not Path(os.environ["LLMGINE_DATA_DIR"]).exists()
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert sum(line.startswith("error: ") for line in err.splitlines()) == 1
    assert told in err


def test_broken_file(clean_environ: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken cluster.yaml is named with its line."""
    (clean_environ / "cluster.yaml").write_text("metadata:\n  llmgine: [1\n")
    assert execute(["ask", "hi"]) == 1
    assert "cluster.yaml, line 3" in capsys.readouterr().err


def test_traceback_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """--traceback shows where an error came from, besides its message."""
    assert execute(["--traceback", "ask", "hi", "-m", "nosuch/model"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "error: " in err


@pytest.mark.parametrize("locale", ["utf-8", "ascii"])
def test_input_that_is_no_text(
    locale: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes on standard input that are no text are refused, however Python was told to read them."""
    errors = "strict" if locale == "ascii" else "surrogateescape"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), locale, errors))
    assert execute(["ask"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "standard input is not text" in err


@pytest.mark.parametrize("name", ["default", "other"])
def test_up_while_one_runs(name: str, clean_environ: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second runtime of one name is refused with the command that ends the first."""
    write_record(data_folder(clean_environ / "data", name), RuntimeRecord(name, "x", "disabled"))
    assert execute(["up", "--name", name]) == 1
    err = capsys.readouterr().err
    assert "already runs" in err
    assert ("`llmgine down`" if name == "default" else "`llmgine down --name other`") in err


@pytest.mark.parametrize("name", ["default", "other"])
def test_up_tells_its_end(
    name: str, clean_environ: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who starts a runtime is told the command that ends this one."""
    monkeypatch.setattr(
        "llmgine.runtime.commands.up.start_holder",
        lambda folder, name: (7, {"gateway": "http://127.0.0.1:8700"}),
    )
    assert execute(["up", "--name", name]) == 0
    told = "`llmgine down` ends" if name == "default" else "`llmgine down --name other` ends"
    err = capsys.readouterr().err
    assert told in err
    assert "its dashboard is http://127.0.0.1:8700" in err


def test_down_leaves_a_drivers_runtime(clean_environ: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A runtime that a driver launched is left to that driver."""
    write_record(data_folder(clean_environ / "data", "default"), RuntimeRecord("default", "x", "disabled"))
    assert execute(["down"]) == 1
    assert f"process {os.getpid()}" in capsys.readouterr().err


def test_down_leaves_the_runtime_of_another_machine(
    clean_environ: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where machines share a data folder, a runtime of another one is not taken for dead."""
    folder = data_folder(clean_environ / "data", "default")
    write_record(folder, RuntimeRecord("default", "x", "disabled", host="elsewhere.invalid"))
    assert execute(["down"]) == 1
    assert "elsewhere.invalid" in capsys.readouterr().err
    assert read_record(folder) is not None


def test_down_clears_what_a_killed_process_left(
    clean_environ: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The doctor names the record that a killed process left, and the command that removes it."""
    folder = data_folder(clean_environ / "data", "other")
    write_record(folder, RuntimeRecord("other", "x", "disabled", pid_started=1))
    assert execute(["doctor"]) == 1
    assert "`llmgine down --name other` removes it" in capsys.readouterr().out
    assert execute(["down", "--name", "other"]) == 0
    assert "record is removed" in capsys.readouterr().err
    assert not folder.exists()
    execute(["doctor"])
    assert "down --name" not in capsys.readouterr().out


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Help and version are results: they go to standard output with code 0."""
    assert execute([]) == 0
    for command in ("ask", "chat", "demo", "doctor", "down", "models", "status", "up"):
        assert execute([command, "--help"]) == 0
    assert execute(["--version"]) == 0
    out, err = capsys.readouterr()
    assert "doctor" in out
    assert "0.1.0" in out
    assert err == ""


def test_a_bug_is_one_line_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An error that nobody foresaw is one message as well, and says how to see more."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("llmgine.runtime.settings.load_settings", broken)
    assert execute(["ask", "hi"]) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError: by zero" in err
    assert "--traceback" in err


def test_no_link_of_pydantic(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An error's text ends where pydantic begins to speak of its website."""

    def broken(*_: object, **__: object) -> None:
        TypeAdapter(int).validate_python("many")

    monkeypatch.setattr("llmgine.runtime.settings.load_settings", broken)
    assert execute(["ask", "hi"]) == 1
    err = capsys.readouterr().err
    assert "unable to parse string" in err
    assert "https" not in err


def test_interrupted_while_loading() -> None:
    """Ctrl-C while the command is being loaded ends with code 130, too, and without words."""
    code = """
import builtins, llmgine.runtime.commands as commands
load = builtins.__import__
def interrupted(name, *rest):
    if name == "llmgine.runtime.commands.entry":
        raise KeyboardInterrupt
    return load(name, *rest)
builtins.__import__ = interrupted
commands.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends with code 130 and without words."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("llmgine.runtime.settings.load_settings", interrupted)
    assert execute(["ask", "hi"]) == 130
    assert capsys.readouterr().err == ""
