"""What a shell is offered."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from llmgine.runtime.commands.entry import execute
from llmgine.runtime.data import RuntimeRecord, data_folder, write_holder, write_record

Out = pytest.CaptureFixture[str]
Offered = Callable[[str], list[str]]


@pytest.fixture(autouse=True)
def data(clean_environ: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the runtime `default`."""
    monkeypatch.setenv("LLMGINE_DATA_DIR", str(clean_environ / "data"))
    return data_folder(clean_environ / "data", "default")


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> Offered:
    """What bash is offered for the last word of a line."""

    def ask(line: str) -> list[str]:
        monkeypatch.setenv("_LLMGINE_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", f"llmgine {line}")
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" "))))
        assert execute([]) == 0
        return capsys.readouterr().out.split()

    return ask


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("appr", ["approvals"]),
        ("traces s", ["search", "show", "stats"]),
        ("sessions ", ["ls", "show", "close", "delete", "export", "import"]),
        ("cost --b", ["--by"]),
        ("pools show opena", ["openai"]),
        ("ask -m loc", ["local/smollm2"]),
        ("completion f", ["fish"]),
        ("status --name o", ["other"]),
        ("sessions show ta", []),
    ],
)
def test_what_begins_so(line: str, words: list[str], offered: Offered, clean_environ: Path) -> None:
    """Commands, options, and names that are known without a runtime; nothing where they are not."""
    write_record(data_folder(clean_environ / "data", "other"), RuntimeRecord("other", "x", "disabled"))
    assert offered(line) == words


def test_sessions_are_asked_of_the_gateway(offered: Offered, data: Path) -> None:
    """Where `llmgine up` holds a runtime, its sessions are offered."""

    class Gateway(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"items": [{"id": "talk-1"}, {"id": "small-talk"}], "next": None}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Gateway) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        write_holder(data, f"http://127.0.0.1:{server.server_port}")
        assert offered("sessions show ta") == ["talk-1"]
        answering.join()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_says_how_to_install_it(shell: str, capsys: Out) -> None:
    """Its first line is a comment that tells; what follows asks the command."""
    assert execute(["completion", shell]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("# To install: ")
    assert f"complete_{shell}" in "\n".join(rest)


def test_bash_takes_the_script(capsys: Out) -> None:
    """A real bash evaluates it without a word."""
    assert execute(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    command = ["bash", "-c", f"{script}\ncomplete -p llmgine"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert "_llmgine_completion llmgine" in done.stdout
    assert done.stderr == ""


def test_a_shell_that_is_not_known(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    """It is refused by its name; without one, the person's own is taken."""
    assert execute(["completion", "csh"]) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert execute(["completion"]) == 0
    assert "complete_zsh" in capsys.readouterr().out
