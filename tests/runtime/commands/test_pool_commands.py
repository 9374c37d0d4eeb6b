"""Commands on pools, against a runtime that stays while they come and go."""

from __future__ import annotations

import io
import json
import os
import sys
import termios
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.pools import figures
from llmgine.runtime import PoolActor, PoolStatistics, Runtime
from llmgine.runtime.commands.entry import execute
from llmgine.runtime.commands.keyboard import pressed
from llmgine.runtime.commands.poolstop import Rates

Out = pytest.CaptureFixture[str]

SETTINGS = {"telemetry": {"enabled": False}, "sessions": {"warm": 0}}


@pytest.fixture
def before(clean_environ: Path, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[Runtime], Any]]:
    """What is done in the runtime that a command joins, before the command."""
    steps: list[Callable[[Runtime], Any]] = []

    class Joined:
        def __init__(self, name: str) -> None:
            self._runtime = Runtime.in_process(SETTINGS, name=name)

        async def __aenter__(self) -> Runtime:
            runtime = await self._runtime.__aenter__()
            for step in steps:
                await step(runtime)
            return runtime

        async def __aexit__(self, *error: Any) -> None:
            await self._runtime.__aexit__(*error)

    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:1")
    monkeypatch.setattr(Runtime, "connect", Joined)
    monkeypatch.setattr(figures, "_EVERY", 0.01)
    return steps


def scaled(size: int) -> Callable[[Runtime], Any]:
    return lambda runtime: runtime.pools["scripted"].scale(size)


def test_pools_are_listed(before: Any, capsys: Out) -> None:
    """As a table, or one JSON object a line; a runtime without any says so."""
    assert execute(["pools", "ls"]) == 0
    assert capsys.readouterr().out == "no pools\n"
    before.append(scaled(2))
    assert execute(["pools", "ls"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0] == "1 pools"
    assert table[2].split()[:5] == ["scripted", "2", "0", "0", "2"]
    assert execute(["pools", "ls", "--json"]) == 0
    (one,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (one["provider"], one["ready"], len(one["actors"])) == ("scripted", 2, 2)


def test_a_pool_is_shown(before: Any, capsys: Out) -> None:
    """With its actors, and what their parts say; as JSON the same."""
    scaling = {"enabled": True, "max_size": 4}
    before += [scaled(1), lambda runtime: runtime.pools["scripted"].reconfigure(scaling=scaling)]
    assert execute(["pools", "show", "scripted"]) == 0
    shown = capsys.readouterr().out
    assert "1 of 1 to 4" in shown
    assert "provider-scripted-0  ready" in shown
    assert "scaling={" in shown
    assert execute(["pools", "show", "scripted", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scaling"] == [1, 4]
    assert execute(["pools", "show", "openai"]) == 0
    assert "no actors" in capsys.readouterr().out


def test_a_pool_is_scaled_and_drained(before: Any, capsys: Out) -> None:
    """What was done is said to the person, and is no result."""
    assert execute(["pools", "scale", "scripted", "2"]) == 0
    assert "scripted has 2 actors: provider-scripted-0, provider-scripted-1" in capsys.readouterr().err
    before.append(scaled(2))
    assert execute(["pools", "drain", "scripted", "provider-scripted-0"]) == 0
    assert "provider-scripted-0 is drained" in capsys.readouterr().err
    assert execute(["pools", "drain", "scripted"]) == 0
    told = capsys.readouterr()
    assert "scripted is drained" in told.err
    assert told.out == ""


def test_a_pools_answers_are_forgotten(before: Any, capsys: Out) -> None:
    """Those that were kept when the command came."""
    answers: list[bool] = []

    async def asked(runtime: Runtime) -> None:
        told = await runtime.models.complete("scripted/echo", "hi", response_cache=True)
        answers.append(told.cached)

    async def cleared(runtime: Runtime) -> None:
        await runtime.pools["scripted"].clear_cache()

    before += [asked, asked, cleared, asked]
    assert execute(["pools", "clear-cache", "scripted"]) == 0
    assert "scripted has forgotten its answers" in capsys.readouterr().err
    assert answers == [False, True, False]


def test_pools_are_watched(before: Any, capsys: Out) -> None:
    """A table or one JSON object each time, for as often as is said."""
    before.append(scaled(1))
    assert execute(["pools", "top", "--json", "--ticks", "2", "--every", "0.1"]) == 0
    seen = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [list(look["pools"]) for look in seen] == [["scripted"]] * 2
    times = [datetime.fromisoformat(look["time"]) for look in seen]
    assert times[0] < times[1]
    assert execute(["pools", "top", "--ticks", "1"]) == 0
    assert "  provider-scripted-0  ready" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["show", "nobody"], 4, "no provider is called 'nobody'"),
        (["scale", "nobody", "2"], 4, "known are anthropic"),
        (["scale", "scripted", "-1"], 2, "-1"),
        (["scale", "scripted", "many"], 2, "integer"),
        (["scale", "scripted", "1", "--wait", "0"], 2, "--wait 0: seconds above 0"),
        (["drain", "scripted", "provider-scripted-7"], 1, "has had no actor"),
        (["top", "--every", "0"], 2, "0.1"),
    ],
)
def test_what_is_refused(before: Any, capsys: Out, arguments: list[str], code: int, told: str) -> None:
    """One message, and the exit code that tells wrong usage from what could not be done."""
    assert execute(["pools", *arguments]) == code
    assert told in capsys.readouterr().err


def look(*actors: tuple[str, int, int]) -> dict[str, PoolStatistics]:
    told = [
        {
            "name": name,
            "state": "ready",
            "node": "n",
            "age": 0.1,
            "admission": {"in_flight": 2, "waiting": {"batch": 1}, "limit": 9},
            "calls": {"done": done, "failed": {"server": failed}},
            "loop": {"lag": 0.002},
            "process": {"cpu": 0.25},
        }
        for name, done, failed in actors
    ]
    whole: dict[str, Any] = {
        **dict.fromkeys(("size", "ready", "in_flight", "waiting"), len(told)),
        **dict.fromkeys(("starting", "draining", "max_in_flight"), 0),
        **dict.fromkeys(("usable", "scaling", "failure")),
        "loop_lag": 0.002,
        "changes": {},
        "quota": {},
        "actors": told,
    }
    return {"p": PoolStatistics.of("p", whole)}


def test_rates_are_of_the_time_between_two_looks() -> None:
    """What actors had ended before they were first seen counts for no rate; a pool has the sum of its own."""
    times = iter([0.0, 1.0, 3.0])
    rates = Rates(lambda: next(times))
    first = rates.rows(look(("a", 100, 3)))
    assert first[1] == ("  a", "ready", "2", "9", "1", "0.0", "0.0", "2 ms", "25%")
    pool, a, b = rates.rows(look(("a", 110, 4), ("b", 50, 0)))
    assert (a[5:7], b[5:7], pool[5:7]) == (("5.0", "0.5"), ("0.0", "0.0"), ("5.0", "0.5"))
    assert pool[8] == "50%"


def test_an_actor_that_has_told_nothing() -> None:
    """One that is being started has a name and a state, and zeros."""
    actor = PoolActor.of({"name": "a", "state": "starting", "node": "", "age": None})
    assert (actor.in_flight, actor.limit, actor.failed, actor.parts) == (0, 0, 0, {})


async def test_a_key_ends_what_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is heard without a line's end, and the terminal is left as it was; elsewhere it never comes."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "rb", buffering=0, closefd=False) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        former = termios.tcgetattr(theirs)
        with pressed("q") as event:
            os.write(ours, b"x")
            assert not event.is_set()
            os.write(ours, b"Q")
            await event.wait()
        assert termios.tcgetattr(theirs) == former
    os.close(ours)
    os.close(theirs)
    monkeypatch.setattr(sys, "stdin", io.StringIO("q"))
    with pressed("q") as event:
        assert not event.is_set()
