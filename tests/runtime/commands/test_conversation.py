"""`ask`, `chat`, `status`: what they print, over a runtime in this process."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from llmgine.actors.sessions import TurnClient
from llmgine.runtime import Runtime
from llmgine.runtime.commands import ask, joining, output
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


@pytest.mark.parametrize("command", ["ask", "chat"])
def test_a_named_session_without_a_runtime(
    command: str, stdin: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Who names a session where no runtime runs is told that it ends with the command."""
    stdin("hi\n")
    assert execute([command, "-m", "scripted/echo", "-s", "mine"]) == 0
    assert "this session ends with this command" in capsys.readouterr().err


async def test_a_named_session_that_was_not_open(capsys: pytest.CaptureFixture[str]) -> None:
    """Who names a session that is not open, or no longer, is told that it begins anew."""
    async with Runtime.in_process() as runtime:
        async with runtime.session("mine", model="scripted/echo"):
            await joining.tell_beginning(runtime, "mine", joined=True)
            assert capsys.readouterr().err == ""
        await joining.tell_beginning(runtime, "mine", joined=True)
    assert capsys.readouterr().err == "session mine begins anew\n"


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


@pytest.fixture
def interrupted_chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A person types two lines and Ctrl-D; the first answer stalls, and its first word brings Ctrl-C."""
    stall = {"text": "half an", "fault": {"kind": "stall", "after_chunks": 1, "times": 1}}
    monkeypatch.setenv("LLMGINE_PROVIDERS__SCRIPTS", json.dumps({"stall": {"replies": [stall]}}))
    person, terminal = os.openpty()
    os.write(person, b"one\ntwo\n\x04")
    typed = os.fdopen(terminal)
    monkeypatch.setattr(sys, "stdin", typed)
    written: list[str] = []

    def write(text: str) -> None:
        output.write(text)
        if not written:
            written.append(text)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ask, "write", write)
    yield
    typed.close()
    os.close(person)


def test_interrupted_answer(interrupted_chat: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C during an answer cancels that answer; the chat takes the next line."""
    assert execute(["chat", "-m", "scripted/stall"]) == 0
    out, err = capsys.readouterr()
    assert out == "half \nhalf an\n"
    assert "the answer is cancelled" in err
    assert "error" not in err


def test_interrupted_twice(
    interrupted_chat: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C again, while the answer is being cancelled, ends the chat."""

    async def cancel(turn: TurnClient) -> bool:
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(TurnClient, "cancel", cancel)
    monkeypatch.setenv("LLMGINE_CONTROL__STOP_GRACE", "0.1")
    assert execute(["chat", "-m", "scripted/stall"]) == 130
    assert capsys.readouterr().out == "half \n"


@pytest.mark.parametrize("every", [False, True])
def test_status_tables(every: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Status shows a table for each part that has rows; of the counters those that say something, or all."""
    show(
        {
            "name": "default",
            "actors": [{"name": "router-0", "pid": 7, "up": True}],
            "sessions": {},
            "pools": {"local": {"size": 1, "actors": ["a", "b"]}},
            "bus": {
                "events_published_total": 3,
                "events_failed_total": 0,
                "seconds": 0.12345,
                "failures": {},
                "journal": {"queued": 0, "running": 2},
                "client": {"held": 3},
                "per_handler": {
                    "BUS\x1fevent\x1fshop.Paid\x1fship": {
                        "handled": 3,
                        "failed": 0,
                        "circuit_breaker_state": "closed",
                    }
                },
            },
        },
        every=every,
    )
    out = capsys.readouterr().out
    assert "router-0  7    yes" in out
    assert "no sessions" in out
    assert "local  1     a, b" in out
    assert "events_published_total  3" in out
    assert "events_failed_total     0" in out
    assert "journal.running         2" in out
    assert ("journal.queued          0" in out) == every
    assert "held" not in out
    figures = "3        0       closed" if every else "3"
    assert f"  ship  event  shop.Paid  BUS      {figures}\n" in out


def test_a_passing_runtime_leaves_no_file(clean_environ: Path) -> None:
    """What a command's own runtime stores is gone with it, but where settings name a place for it."""
    assert joining.passing(Settings()).store.url == "memory://"
    chosen = Settings.model_validate({"store": {"url": f"sqlite:///{clean_environ}/store.db"}})
    assert joining.passing(chosen) == chosen


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
    assert "opening" not in out
    show(status, every=True)
    assert "opening" in capsys.readouterr().out
