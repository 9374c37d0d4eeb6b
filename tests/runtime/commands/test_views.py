"""How commands draw: answers side by side, tables, the doctor's page."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from llmgine.runtime.commands import doctor, output
from llmgine.runtime.commands.demo_view import SideBySide
from llmgine.runtime.commands.demonstration import PARTS, Seen
from llmgine.runtime.commands.entry import execute


def drawn(*, terminal: bool) -> tuple[Console, io.StringIO]:
    page = io.StringIO()
    return Console(file=page, force_terminal=terminal, width=100, soft_wrap=True, color_system=None), page


def test_plain_lines() -> None:
    """Where nobody watches, each line bears its name, comes once, and none is lost."""
    console, page = drawn(terminal=False)
    long = " ".join(f"word{number}" for number in range(40))
    with SideBySide(console, ["a", "b"]) as view:
        view.event("a", "? question")
        for piece in ("one ", "line\nand ", "[more]"):
            view.add("a", piece)
            view.add("b", long[:60] if piece == "one " else "")
        view.add("b", long[60:])
    lines = page.getvalue().splitlines()
    assert [line for line in lines if line.startswith("[a]")] == [
        "[a] ? question",
        "[a] one line",
        "[a] and [more]",
    ]
    said = " ".join(line.removeprefix("[b] ") for line in lines if line.startswith("[b]"))
    assert said == long
    assert all(len(line) <= 80 for line in lines)


def test_columns() -> None:
    """On a terminal all answers stand side by side, whole at the end."""
    console, page = drawn(terminal=True)
    with SideBySide(console, ["left", "right"]) as view:
        view.add("left", "first [bold]answer")
        view.add("right", "second answer")
    text = page.getvalue()
    assert any("left" in line and "right" in line for line in text.splitlines())
    assert any("first [bold]answer" in line and "second answer" in line for line in text.splitlines())


def test_a_table_shows_what_others_wrote_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal brackets are no style, and an open end of one ends nothing."""
    page = io.StringIO()
    monkeypatch.setattr(output.out, "_file", page)
    monkeypatch.setattr(output.out, "_force_terminal", True)
    output.table("letters [a]", ("type [b]",), [("list[int] [/path] :smile:",)])
    for said in ("letters [a]", "type [b]", "list[int] [/path] :smile:"):
        assert said in page.getvalue()


def test_the_demo_knows_what_is_missing() -> None:
    """The demo is complete only when each session answered, a tool ran, and each event was handled."""
    seen = Seen()
    assert len(seen.missing(PARTS)) == len(PARTS) + 2
    for part in PARTS:
        seen.answers[part.name] = "text"
        seen.published += 1
        seen.handled.append(part.name)
    assert seen.missing(PARTS) == ["no tool was called"]
    seen.tool_results.append("sunny")
    assert seen.missing(PARTS) == []
    seen.handled.append(seen.handled[0])
    assert "of 3 events published, 4 were handled" in seen.missing(PARTS)


def told_by_doctor(capsys: pytest.CaptureFixture[str]) -> str:
    execute(["doctor"])
    return capsys.readouterr().out


def test_doctor(
    clean_environ: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The doctor names what is set and what is missing, prints no key, and loads no Ray to do so."""
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-secret-secret")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setenv("LLMGINE_PROVIDERS__LOCAL__FOLDER", str(clean_environ / "none"))
    code = execute(["doctor"])
    out, err = capsys.readouterr()
    assert "found by OPENAI_API_KEY" in out
    assert "models need ANTHROPIC_API_KEY" in out
    assert "sk-secret" not in out + err
    assert (code == 1) == ("to mend" in out)
    assert "llmgine models install smollm2" in out


def test_doctor_looks_for_each_of_several_keys(
    clean_environ: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each key has a line with its name and what was found; functions are their provider actor's to ask."""
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("KEY_A", "sk-secret-secret-secret")
    keys = [
        {"name": "a", "env": "KEY_A"},
        {"name": "b", "file": "/nowhere"},
        {"name": "c", "function": "m:f"},
    ]
    monkeypatch.setenv("LLMGINE_PROVIDERS__ENDPOINTS", json.dumps({"openai": {"keys": keys}}))
    execute(["doctor"])
    out, err = capsys.readouterr()
    for said in (
        "key a found by KEY_A",
        "key b not set; its models need file /nowhere",
        "key c is asked for",
        "m:f()",
    ):
        assert said in out
    assert "sk-secret" not in out + err


def test_doctor_tells_of_a_settings_file_that_holds_nothing(
    clean_environ: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that was named, and whose settings stand outside of our section, is to be mended."""
    named = clean_environ / "own.yaml"
    named.write_text("providers: {}\n", encoding="utf-8")
    monkeypatch.setenv("LLMGINE_CONFIG", str(named))
    assert "own.yaml has no section metadata.llmgine" in told_by_doctor(capsys)
    named.write_text("metadata: {llmgine: {sessions: {queue: 7}}}\n", encoding="utf-8")
    assert "has no section" not in told_by_doctor(capsys)


def test_doctor_tells_of_a_transport_that_is_not_here(
    clean_environ: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An endpoint that is reached through a package which is not installed is to be mended."""
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if "generativeai" in name else version(name))
    assert "is reached through" not in told_by_doctor(capsys)
    monkeypatch.setenv("LLMGINE_PROVIDERS__ENDPOINTS__GEMINI__TRANSPORT", "google-generativeai")
    assert 'pip install "llmgine-ray[google-generativeai]"' in told_by_doctor(capsys).partition("to mend")[2]


def test_doctor_with_broken_settings(
    clean_environ: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The doctor works with broken settings, and says how to mend them."""
    monkeypatch.setenv("LLMGINE_BOGUS", "1")
    assert execute(["doctor"]) == 1
    assert "unknown variable LLMGINE_BOGUS" in capsys.readouterr().out
