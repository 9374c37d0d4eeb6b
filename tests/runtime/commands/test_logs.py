"""`llmgine logs`, against a runtime whose actors have logged."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmgine.actors.control import ActorGone
from llmgine.runtime import Runtime
from llmgine.runtime.commands.entry import execute
from llmgine.runtime.logs import LogLine, Logs

Out = pytest.CaptureFixture[str]

LINES = [
    LogLine("2026-03-01T12:00:00+00:00", "INFO", "router-0", "llmgine.bus", "ready"),
    LogLine("2026-03-01T12:00:01+00:00", "WARNING", "session-1", "mine", "slow", session="talk"),
    LogLine("2026-03-01T12:00:02+00:00", "ERROR", "supervisor", "llmgine", "talk is ill", error="T\n E: x"),
]


@pytest.fixture(autouse=True)
def _joined(clean_environ: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands join a runtime with these lines; whoever follows them presses Ctrl-C after the last."""

    class Told:
        async def read(self, *, tail: int) -> list[LogLine]:
            return LINES[-tail:]

        async def follow(self, *, tail: int) -> AsyncIterator[LogLine]:
            for line in LINES[-tail:]:
                yield line
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()

    @asynccontextmanager
    async def connect(name: str) -> AsyncIterator[Any]:
        yield SimpleNamespace(logs=Told())

    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:1")
    monkeypatch.setattr(Runtime, "connect", connect)


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ([], ["ready", "slow", "talk is ill"]),
        (["session"], ["slow"]),
        (["-s", "talk"], ["slow", "talk is ill"]),
        (["--level", "warning"], ["slow", "talk is ill"]),
        (["-n", "1"], ["talk is ill"]),
    ],
)
def test_what_is_asked_for(options: list[str], texts: list[str], capsys: Out) -> None:
    """Lines by actor, session and level; as JSON one a line."""
    assert execute(["logs", "--json", *options]) == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == texts


def test_how_a_line_looks(capsys: Out) -> None:
    """Time, level, actor, session and text; a traceback stands below it."""
    assert execute(["logs", "--level", "warning"]) == 0
    first, second, *below = capsys.readouterr().out.splitlines()
    assert first.endswith("WARNING session-1 [talk] slow")
    assert second.endswith("ERROR   supervisor talk is ill")
    assert below == ["    T", "     E: x"]


def test_it_is_followed_until_ctrl_c(capsys: Out) -> None:
    """Ctrl-C is how one stops, so it is no failure."""
    assert execute(["logs", "-f", "-n", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_level_that_is_none(capsys: Out) -> None:
    """It is refused with those that there are."""
    assert execute(["logs", "--level", "loud"]) == 2
    assert "critical" in capsys.readouterr().err


async def test_one_actor_of_each_node_is_asked() -> None:
    """Lines of all nodes stand by their time; an actor that is gone is replaced by another of its node."""
    asked: list[tuple[str, dict[str, int]]] = []
    alive = {"a-1": "a", "a-2": "a", "b-1": "b"}

    class Cluster:
        async def names(self) -> list[str]:
            return sorted(alive)

        async def call(self, name: str, method: str, *arguments: Any, timeout: float) -> Any:
            if name not in alive:
                raise ActorGone(name)
            if method == "logs_on":
                return alive[name]
            asked.append((name, arguments[0]))
            time = {"a": "2026-03-01T12:00:01+00:00", "b": "2026-03-01T12:00:00+00:00"}[alive[name]]
            line = {
                "time": time,
                "level": "INFO",
                "actor": name,
                "logger": "x",
                "text": alive[name],
                "more": 1,
            }
            return [json.dumps(line)], {f"{name}.jsonl": 7}

    logs = Logs(SimpleNamespace(ground=SimpleNamespace(cluster=Cluster())))  # type: ignore[arg-type]
    assert [line.text for line in await logs.read()] == ["b", "a"]
    assert sorted(asked) == [("a-1", {}), ("b-1", {})]
    del alive["a-1"]
    await logs.read()
    assert ("a-2", {"a-1.jsonl": 7}) in asked


async def test_inside_of_one_process_there_are_none(clean_environ: Path) -> None:
    """The actors of a test log to the test's own process."""
    monkeypatched = Runtime.in_process({"telemetry": {"enabled": False}, "sessions": {"warm": 0}})
    async with monkeypatched as runtime:
        assert await runtime.logs.read() == []
