"""The command line on a real Ray: what it starts, what it prints, what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

LLMGINE = str(Path(sys.executable).parent / "llmgine")


class Place:
    """A folder of its own for commands, whose processes are told by their environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LLMGINE_")},
            "LLMGINE_DATA_DIR": str(folder / "data"),
            "LLMGINE_SESSIONS__WARM": "0",
            "RAY_ADDRESS": "local",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [LLMGINE, *arguments],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=150)
        assert process.returncode == code, f"{arguments}: {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err
        return out, err

    def processes(self) -> list[str]:
        """What runs now and was started from here."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environ = (folder / "environ").read_bytes()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"LLMGINE_DATA_DIR={self.folder}/data".encode() in environ and command:
                found.append(f"{folder.name} {command[:100]}")
        return found

    def rests(self, within: float = 15.0) -> None:
        """Returns when nothing runs any more."""
        until = time.monotonic() + within
        while left := self.processes():
            assert time.monotonic() < until, left
            time.sleep(0.1)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for line in place.processes():
        os.kill(int(line.split()[0]), signal.SIGKILL)


def test_ask_launches_and_ends(place: Place) -> None:
    """Without a runtime `ask` launches one, answers, and leaves no process and no folder behind."""
    out, err = place.run("ask", "one two three", "-m", "scripted/echo")
    assert out == "one two three\n"
    assert "error" not in err
    place.rests()
    assert list((place.folder / "data").iterdir()) == []


@pytest.fixture
def shared(place: Place, ray_cluster: str) -> Iterator[Place]:
    """A place whose commands find the Ray of this run's; they leave no actor there."""

    def actors() -> set[tuple[str, str]]:
        return {(one["namespace"], one["name"]) for one in ray.util.list_named_actors(all_namespaces=True)}

    import ray

    before = actors()
    place.environ["RAY_ADDRESS"] = ray_cluster
    yield place
    assert actors() <= before


@pytest.mark.parametrize(
    ("where", "number", "code"),
    [("place", signal.SIGINT, 130), ("shared", signal.SIGTERM, 143)],
    ids=["Ctrl-C, its own Ray", "SIGTERM, another Ray"],
)
def test_interrupted_ask_leaves_nothing(
    request: pytest.FixtureRequest, where: str, number: signal.Signals, code: int
) -> None:
    """Ctrl-C, or SIGTERM, while an answer is awaited ends the command and everything that it started."""
    place: Place = request.getfixturevalue(where)
    place.environ["LLMGINE_PROVIDERS__SCRIPTS"] = json.dumps(
        {"stall": {"replies": [{"text": "so far", "fault": {"kind": "stall", "after_chunks": 1}}]}}
    )
    process = place.start("ask", "hi", "-m", "scripted/stall")
    assert process.stdout is not None
    assert process.stdout.read(1) == "s"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "received" not in err
    place.rests()


def test_holder_that_is_killed_leaves_nothing(place: Place) -> None:
    """A runtime whose holder is killed ends after its lease, and is not shown as running."""
    place.environ["LLMGINE_CONTROL__OWNER_GRACE"] = "1"
    _, err = place.run("up")
    pid = int(err.split("held by process ")[1].split(";")[0])
    os.kill(pid, signal.SIGKILL)
    place.rests(within=60)
    _, err = place.run("status", code=3)
    assert "no runtime named default" in err


def test_demo(shared: Place, weights: None) -> None:
    """The demo shows three answers, a tool call, a waterfall and bus counters, and leaves nothing behind."""
    out, _ = shared.run("demo")
    for shown in ("[weather] ", "[sky] ", "[rivers] ", "→ get_weather(", "← ", "━", "events_published_total"):
        assert shown in out
    shared.rests()


def test_up_in_a_cluster(shared: Place) -> None:
    """In a cluster `up` leaves a runtime that needs no process of its own; `down` ends it and forgets it."""
    name = f"up-{shared.folder.name}"[:40]
    shared.run("up", "--name", name)
    _, err = shared.run("up", "--name", name, code=1)
    assert "runs already" in err
    del shared.environ["RAY_ADDRESS"]
    found = json.loads(shared.run("status", "--name", name, "--json")[0])
    assert found["name"] == name
    shared.run("down", "--name", name)
    _, err = shared.run("down", "--name", name, code=3)
    assert f"no runtime named {name}" in err


JOB = """
import asyncio, logging, sys
from llmgine.runtime import Runtime, tool

@tool
def look() -> str:
    "Looks."
    logging.getLogger("job").warning("looked")
    return "seen"

async def main():
    async with Runtime.launch() as runtime:
        try:
            async with runtime.session("talk", model="scripted/look", tools=[look]) as session:
                print((await session.ask("look")).text, flush=True)
            if sys.argv[1:] == ["wait"]:
                await asyncio.Event().wait()
        finally:
            print("left", flush=True)

asyncio.run(main())
sys.exit(7)
"""


LOOK = {"replies": [{"tool_calls": [{"name": "look", "arguments": {}}]}, {"text": "I have seen"}]}


@pytest.mark.timeout(300)
def test_a_runtime_that_stays(place: Place) -> None:
    """What `up` has started has a page, is there for every other command, and goes with `down`."""
    place.environ["LLMGINE_PROVIDERS__SCRIPTS"] = json.dumps({"look": LOOK})
    gateway = json.loads(place.run("up", "--json")[0])["gateway"]
    assert b"<title>" in urllib.request.urlopen(gateway, timeout=10).read()
    with urllib.request.urlopen(f"{gateway}/health", timeout=10) as answer:
        assert answer.status == 200
    it_keeps_a_session_between_asks(place)
    it_is_joined_by_a_script(place)
    _, err = place.run("up", code=1)
    assert "already runs" in err
    place.run("down")
    place.rests()
    _, err = place.run("down", code=3)
    assert "no runtime named default" in err


def it_keeps_a_session_between_asks(place: Place) -> None:
    """`ask` joins the runtime, where `status` then shows the session."""
    out, _ = place.run("ask", "first", "-m", "scripted/echo", "-s", "kept", "--json")
    assert json.loads(out)["text"] == "first"
    place.run("ask", "second", "-m", "scripted/echo", "-s", "kept")
    found = json.loads(place.run("status", "--json")[0])
    assert found["name"] == "default"
    assert "kept" in json.dumps(found["sessions"])
    assert "kept" in place.run("status")[0]


def it_is_joined_by_a_script(place: Place) -> None:
    """`run` joins the runtime with it; its logs, traces and cost are there afterwards."""
    (place.folder / "job.py").write_text(JOB)
    out, _ = place.run("run", "job.py", code=7)
    assert out == "I have seen\nleft\n"
    lines = [json.loads(line) for line in place.run("logs", "--json", "-s", "talk")[0].splitlines()]
    (looked,) = [line for line in lines if line["text"] == "looked"]
    assert looked["actor"].startswith("host-")
    assert looked["level"] == "WARNING"
    assert "talk" in place.run("top")[0]
    assert "talk" in place.run("cost", "--by", "session")[0]
    assert '"name": "execute_tool look"' in place.run("traces", "show", "-s", "talk", "--json")[0]


def test_a_script_with_a_runtime_of_its_own(shared: Place) -> None:
    """Under SIGTERM it leaves each of its blocks in order, and with it ends what it has launched."""
    shared.environ["LLMGINE_PROVIDERS__SCRIPTS"] = json.dumps({"look": LOOK})
    (shared.folder / "job.py").write_text(JOB)
    process = shared.start("run", "job.py", "wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "I have seen\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "left\n"), err
    assert "Traceback" not in err
    assert "SIGTERM" not in err
    shared.rests()
