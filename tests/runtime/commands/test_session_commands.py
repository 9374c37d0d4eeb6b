"""Commands on sessions, each a process's worth of its own over one store."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from llmgine.runtime import Runtime
from llmgine.runtime.commands.entry import execute

Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def settings(clean_environ: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What every runtime here is made with; commands hold one in place of joining one."""
    made = {
        "telemetry": {"enabled": False},
        "store": {"url": f"sqlite:///{clean_environ}/store.db"},
        "sessions": {"warm": 0},
    }
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:1")
    monkeypatch.setattr(Runtime, "connect", lambda name: Runtime.in_process(made, name=name))

    async def fill() -> None:
        async with Runtime.in_process(made) as runtime:
            for name, stay in (("talk", False), ("talk/2", True)):
                async with runtime.session(name, model="scripted/echo", stay=stay) as session:
                    await session.ask("hello")

    asyncio.run(fill())
    return made


def lines(capsys: Out) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_sessions_are_listed(capsys: Out) -> None:
    """As a table, or one JSON object a line; options choose among them."""
    assert execute(["sessions", "ls"]) == 0
    table = capsys.readouterr().out
    assert "2 sessions" in table
    assert "talk/2" in table
    assert execute(["sessions", "ls", "--json"]) == 0
    assert {one["id"]: one["turns"] for one in lines(capsys)} == {"talk": 1, "talk/2": 1}
    assert execute(["sessions", "ls", "--json", "--state", "open", "--prefix", "talk"]) == 0
    assert [(one["id"], one["state"]) for one in lines(capsys)] == [("talk/2", "passive")]
    assert execute(["sessions", "ls", "--prefix", "none"]) == 0
    assert capsys.readouterr().out == "no sessions\n"


def test_one_session_is_shown(capsys: Out) -> None:
    """With its newest turns, as a table or as JSON."""
    assert execute(["sessions", "show", "talk"]) == 0
    page = capsys.readouterr().out
    assert "closed" in page
    assert "done" in page
    assert execute(["sessions", "show", "talk", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], shown["messages"]) == ("closed", 2)
    assert [turn["state"] for turn in shown["newest_turns"]] == ["done"]


def test_a_session_is_closed_and_deleted(capsys: Out) -> None:
    """Closed, it is still kept; deleted, it is not."""
    assert execute(["sessions", "close", "talk/2"]) == 0
    assert execute(["sessions", "delete", "talk"]) == 0
    capsys.readouterr()
    assert execute(["sessions", "ls", "--json"]) == 0
    assert [(one["id"], one["state"]) for one in lines(capsys)] == [("talk/2", "closed")]


def test_a_session_goes_out_and_comes_in(capsys: Out, tmp_path: Path) -> None:
    """Through a file, or standard output, under an id of choice or a new one."""
    file = tmp_path / "talk.json"
    assert execute(["sessions", "export", "talk", str(file), "--json"]) == 0
    assert lines(capsys) == [{"id": "talk", "file": str(file)}]
    assert execute(["sessions", "export", "talk"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(file.read_text())
    assert execute(["sessions", "import", str(file), "--id", "copy"]) == 0
    assert capsys.readouterr().out == "copy\n"
    assert execute(["sessions", "show", "copy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["messages"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "never"], 4, "no session 'never'"),
        (["export", "never"], 4, "no session 'never'"),
        (["close", "never"], 4, "no session 'never'"),
        (["delete", "never"], 4, "no session 'never'"),
        (["ls", "--state", "asleep"], 2, "use open or closed"),
        (["import", "/no/such/file"], 2, "cannot be read"),
        (["export", "talk", "/no/such/folder/file"], 2, "folder does not exist"),
    ],
)
def test_what_cannot_be_done_is_told(arguments: list[str], code: int, said: str, capsys: Out) -> None:
    """One message, and the exit code says whose fault it is."""
    assert execute(["sessions", *arguments]) == code
    assert said in capsys.readouterr().err
