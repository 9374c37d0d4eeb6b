"""Commands on traces and cost, against a runtime that has answered once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from llmgine.actors.telemetry import TelemetryClient
from llmgine.actors.telemetry.query import View
from llmgine.runtime import Runtime
from llmgine.runtime.commands.entry import execute
from llmgine.runtime.commands.traced import draw
from llmgine.runtime.commands.traces import pages
from llmgine.telemetry import Cut, Page, Span, TraceQuery, TraceSummary

Out = pytest.CaptureFixture[str]
SPANS = 4  # of the driver, the turn, the model call and the pool's call


@pytest.fixture(autouse=True)
def settings(clean_environ: Path, monkeypatch: pytest.MonkeyPatch, eventually: Any) -> dict[str, Any]:
    """The settings of the runtime that a command joins, in which one session has had its answer."""
    made: dict[str, Any] = {"telemetry": {}, "sessions": {"warm": 0}}

    @asynccontextmanager
    async def joined(name: str) -> AsyncIterator[Runtime]:
        async with Runtime.in_process(made, name=name) as runtime:
            async with runtime.session("talk", model="scripted/echo") as session:
                await session.ask("hello there")
            if runtime.settings.telemetry.enabled:

                async def told() -> bool:
                    page = await runtime.telemetry.traces()
                    stored = "store" not in made["telemetry"] or all(one.kept_because for one in page.items)
                    called = (await runtime.telemetry.stats()).total.calls > 0
                    whole = all(one.spans == SPANS and not one.running for one in page.items)
                    return bool(page.items) and called and stored and whole

                await eventually(told)
            yield runtime

    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:1")
    monkeypatch.setattr(Runtime, "connect", joined)
    return made


def lines(capsys: Out) -> list[Any]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_traces_are_listed(capsys: Out) -> None:
    """As a table, or one JSON object a line; only those that are asked for."""
    assert execute(["traces", "ls"]) == 0
    title, columns, row = capsys.readouterr().out.splitlines()
    assert title == "1 traces"
    assert columns.split()[0] == "id"
    assert "talk" in row
    assert row.endswith("$0")  # nothing more is to be said of a trace that is kept as any other
    assert execute(["traces", "--json", "-s", "talk", "--since", "1h", "--slow", "0", "-m", "echo"]) == 0
    (one,) = lines(capsys)
    assert (one["session"], one["models"], one["running"]) == ("talk", ["scripted/echo"], 0)
    for none in (
        ["-s", "other"],
        ["--errors"],
        ["--slow", "3600"],
        ["-m", "gpt"],
        ["--until", "1h"],
        ["--since", "9999-12-31"],
    ):
        assert execute(["traces", "ls", *none]) == 0
        assert capsys.readouterr().out == "no traces\n"


def test_traces_are_searched(capsys: Out) -> None:
    """By a text in a span's name or attributes."""
    assert execute(["traces", "search", "INVOKE_AGENT", "--json"]) == 0
    assert len(lines(capsys)) == 1
    assert execute(["traces", "search", "no such thing"]) == 0
    assert capsys.readouterr().out == "no traces\n"


def test_many_pages_are_one_list() -> None:
    """A list goes on from page to page, and ends with what was asked for."""
    asked: list[tuple[int, str | None]] = []

    class Telemetry:
        async def traces(self, query: Any, limit: int, cursor: str | None) -> Any:
            asked.append((limit, cursor))
            return Page(tuple([cast(TraceSummary, number) for number in range(limit)]), "more")

    found = asyncio.run(pages(cast(TelemetryClient, Telemetry()), TraceQuery(), 450))
    assert len(found) == 450
    assert asked == [(200, None), (200, "more"), (50, "more")]


def test_a_session_is_drawn(capsys: Out) -> None:
    """All that it did, as a tree over time; as JSON one row a line, with ids that `export` takes."""
    assert execute(["traces", "show", "-s", "talk"]) == 0
    page = capsys.readouterr().out
    assert page.index("session talk") < page.index("  ask turn") < page.index("    invoke_agent")
    assert "tokens · first" in page  # where no terminal is, nothing is folded for want of room
    assert execute(["traces", "show", "-s", "talk", "--json"]) == 0
    rows = lines(capsys)
    chat = next(row for row in rows if row["name"] == "chat echo")
    assert len(chat["span"]["trace_id"]) == 32
    assert chat["span"]["parent_id"] in {row["span"]["span_id"] for row in rows if row["span"]}


@pytest.mark.parametrize("verb", ["show", "export"])
def test_a_trace_that_is_not_kept(verb: str, capsys: Out) -> None:
    """Its absence has an exit code of its own; what cannot be an id is wrong usage."""
    assert execute(["traces", verb, "ab12"]) == 4
    assert "llmgine traces ls" in capsys.readouterr().err
    assert execute(["traces", verb, "turn-7"]) == 2
    assert "hexadecimal" in capsys.readouterr().err


def test_a_trace_is_exported(kept: str, tmp_path: Path, capsys: Out) -> None:
    """To a file or standard output, in the format that is named."""
    file = tmp_path / "trace.jsonl"
    assert execute(["traces", "export", kept, str(file), "--format", "jsonl", "--json"]) == 0
    assert lines(capsys) == [{"id": kept, "file": str(file), "format": "jsonl"}]
    assert len(file.read_text().splitlines()) == SPANS
    assert execute(["traces", "export", kept, "--format", "jsonl"]) == 0
    assert len(lines(capsys)) == SPANS
    assert execute(["traces", "export", kept]) == 0
    (otlp,) = lines(capsys)
    assert otlp["resourceSpans"]
    assert execute(["traces", "export", kept, "--format", "xml"]) == 2
    assert execute(["traces", "show", kept]) == 0
    assert f"trace {kept}" in capsys.readouterr().out


@pytest.fixture
def kept(settings: dict[str, Any], clean_environ: Path, capsys: Out) -> str:
    """The id of a trace that a file keeps for the runtimes that come after its own."""
    settings["telemetry"] = {"store": str(clean_environ / "telemetry.db"), "sample_settle": 0.01}
    assert execute(["traces", "--json"]) == 0
    (one,) = lines(capsys)
    return str(one["id"])


def test_statistics_are_shown(capsys: Out) -> None:
    """Calls, tokens and times by model."""
    assert execute(["traces", "stats"]) == 0
    page = capsys.readouterr().out
    assert "to the first chunk" in page
    assert "waits for pools" not in page or "p99" in page
    assert execute(["traces", "stats", "--json"]) == 0
    (found,) = lines(capsys)
    assert found["total"]["calls"] == 1
    assert found["models"][0]["model"] == "echo"


@pytest.mark.parametrize(
    ("by", "key"), [("session", "talk"), ("model", "scripted/echo"), ("provider", "scripted")]
)
def test_cost_is_told(by: str, key: str, capsys: Out) -> None:
    """By what is asked for, with a sum at the end."""
    assert execute(["cost", "--by", by]) == 0
    title, _, row, total = capsys.readouterr().out.splitlines()
    assert title == f"cost by {by}"
    assert row.split() == [key, "1", "2", "0", "2", "$0"]
    assert total.split() == ["all", "1", "2", "0", "2", "$0"]
    assert execute(["cost", "--by", by, "--json"]) == 0
    assert [(one["key"], one["cost"]) for one in lines(capsys)] == [(key, "0")]


def test_what_is_asked_for_wrongly(settings: dict[str, Any], capsys: Out) -> None:
    """A key, a time or nothing to show that makes no sense is refused; so is a runtime without telemetry."""
    assert execute(["cost", "--by", "moon"]) == 2
    assert execute(["traces", "ls", "--until", "soon"]) == 2
    assert "--until 'soon'" in capsys.readouterr().err
    assert execute(["traces", "show"]) == 2
    settings["telemetry"] = {"enabled": False}
    assert execute(["cost"]) == 1
    assert "telemetry.enabled" in capsys.readouterr().err


def test_what_is_missing_of_a_drawing_is_told(capsys: Out) -> None:
    """Spans that were left out, and processes that died over the work."""
    span = Span(1, 2, 0, "ask turn", "internal", "talk", "session-1", 0, 10)
    draw(View("talk", (span,), (), 7, 20, True, (Cut("session-1", 3, 41),)))
    assert capsys.readouterr().err == (
        "7 more spans were left out; `llmgine traces export` has them\n"
        "session-1 died: what it did is known up to its record 41\n"
    )
