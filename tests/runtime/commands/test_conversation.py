"""`ask`, `chat`, `status`: what they print, over a runtime in this process."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from llmgine.runtime import Runtime
from llmgine.runtime.commands import joining
from llmgine.runtime.commands.entry import execute
from llmgine.runtime.commands.status import show
from llmgine.runtime.settings import Settings


@pytest.fixture(autouse=True)
def _in_this_process(clean_environ: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of launching on Ray, the commands hold a runtime in this process."""

    @asynccontextmanager
    async def held(settings: Settings, purpose: str) -> AsyncIterator[tuple[Runtime, bool]]:
        async with Runtime.in_process(settings) as runtime:
            yield runtime, False

    monkeypatch.setattr(joining, "joined_or_launched", held)
    monkeypatch.setenv("LLMGINE_DATA_DIR", str(clean_environ / "data"))
    monkeypatch.setenv(
        "LLMGINE_PROVIDERS__SCRIPTS",
        json.dumps(
            {"break": {"replies": [{"text": "half an", "fault": {"kind": "server", "after_chunks": 2}}]}}
        ),
    )


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Standard input with a descriptor behind it, as a pipe has."""
    with ExitStack() as stack:

        def give(text: str) -> None:
            reading, writing = os.pipe()
            os.write(writing, text.encode())
            os.close(writing)
            monkeypatch.setattr(sys, "stdin", stack.enter_context(os.fdopen(reading, encoding="utf-8")))

        yield give


@pytest.mark.parametrize("arguments", [["ask", "say this"], ["ask", "say this", "--no-stream"]])
def test_ask(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The answer alone stands on standard output, streamed or whole."""
    assert execute([*arguments, "-m", "scripted/echo"]) == 0
    assert capsys.readouterr().out == "say this\n"


@pytest.mark.parametrize("arguments", [["ask"], ["ask", "-"]])
def test_ask_reads_standard_input(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a prompt, or with -, standard input is the prompt."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("from a pipe\n"))
    assert execute([*arguments, "-m", "scripted/echo"]) == 0
    assert capsys.readouterr().out == "from a pipe\n"


def test_ask_json(capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints exactly one object on one line."""
    assert execute(["ask", "héllo", "-m", "scripted/echo", "-s", "mine", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    answer = json.loads(lines[0])
    assert set(answer) == {"text", "session", "model", "usage", "cost", "finish_reason", "trace_id"}
    assert answer["text"] == "héllo"
    assert answer["session"] == "mine"
    assert answer["model"] == "scripted/echo"
    assert answer["finish_reason"] == "stop"
    assert answer["usage"]["output_tokens"] == 1
    assert len(answer["trace_id"]) == 32


@pytest.mark.parametrize("options", [[], ["--json"], ["--no-stream"]])
def test_ask_that_fails(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A turn that fails in the middle is an error with code 1; --json then prints no object."""
    assert execute(["ask", "hi", "-m", "scripted/break", *options]) == 1
    out, err = capsys.readouterr()
    assert out == ("" if options else "half an\n")
    assert err.count("error: ") == 1
    assert "Traceback" not in err


def test_chat(stdin: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of input is one turn of one session; the last needs no line end, empty ones are none."""
    stdin("one\n\ntwo\nthree")
    assert execute(["chat", "-m", "scripted/echo"]) == 0
    assert capsys.readouterr().out == "one\ntwo\nthree\n"


def test_chat_goes_on_after_an_error(
    stdin: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A turn that fails is told, the next is taken, and the code says at the end that one failed."""
    stdin("one\ntwo\n")
    assert execute(["chat", "-m", "scripted/break"]) == 1
    assert capsys.readouterr().err.count("error: ") == 2


def test_status_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """Status shows a table for each part that has rows, whatever a row holds."""
    show(
        {
            "name": "default",
            "actors": [{"name": "router-0", "pid": 7, "up": True}],
            "sessions": {},
            "pools": {"local": {"size": 1, "actors": ["a", "b"]}},
            "bus": {"events_published_total": 3, "seconds": 0.12345, "client": {"queued": 0}},
        }
    )
    out = capsys.readouterr().out
    assert "router-0  7    yes" in out
    assert "no sessions" in out
    assert "local  1     a, b" in out
    assert "events_published_total  3" in out
    assert "client.queued           0" in out


async def test_status_of_a_runtime_is_shown(clean_environ: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a runtime says of itself is plain data that the tables take."""
    async with Runtime.in_process() as runtime, runtime.session("mine", model="scripted/echo") as session:
        await session.ask("hi")
        status = await runtime.status()
    json.dumps(status)
    show(status)
    out = capsys.readouterr().out
    assert "mine" in out
    assert "scripted" in out
