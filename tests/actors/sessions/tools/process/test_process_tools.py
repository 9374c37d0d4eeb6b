"""Tools in processes of their own: whatever they do to their process, the call comes to a result."""

from __future__ import annotations

import asyncio
import ctypes
import enum
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pydantic
import pytest
import pytest_asyncio

from llmgine.actors.sessions.errors import ToolError
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.tools.context import ToolContext
from llmgine.actors.sessions.tools.tool import Tool, tool
from llmgine.actors.sessions.tools.toolset import Toolset
from llmgine.providers.contracts import ImagePart, ToolCallPart, ToolResultPart

# One server serves all these tests, since each takes a second to start.
pytestmark = pytest.mark.asyncio(loop_scope="module")

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


class Unit(enum.Enum):
    METRES = "m"


class Box(pydantic.BaseModel):
    sides: list[int]
    unit: Unit = Unit.METRES


def volume(box: Box) -> dict[str, Any]:
    product = 1
    for side in box.sides:
        product *= side
    return {"volume": product, "unit": box.unit, "pid": os.getpid()}


async def later(context: ToolContext) -> str:
    await asyncio.sleep(0)
    return f"{context.session_id} {context.idempotency_key} {context.attempt}"


def picture() -> bytes:
    return PNG


def counts(to: int) -> Iterator[int]:
    yield from range(to)


async def counts_async(to: int, context: ToolContext) -> AsyncIterator[int]:
    context.progress("begun")
    for number in range(to):
        yield number


def chatters() -> str:
    print("to the log" * 1000)
    os.write(1, b"\0\0\0\1r")
    sys.stdout.close()
    return "done"


def floods() -> str:
    return "x" * 10_000_000


def raises() -> NoReturn:
    raise KeyError("gone")


def refuses() -> NoReturn:
    raise ToolError("The shop is closed.")


def exits() -> NoReturn:
    sys.exit(3)


def leaves() -> NoReturn:
    os._exit(7)


def crashes() -> None:
    ctypes.string_at(0)


def kills_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kills_its_group() -> None:
    os.killpg(0, signal.SIGKILL)


def kills_its_keeper() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    threading.Event().wait()


def leaks() -> None:
    kept = []
    while True:
        kept.append(bytearray(1 << 20))


def loops() -> None:
    while True:
        pass


def holds_the_lock() -> None:
    ctypes.PyDLL(None).sleep(1000)


def ignores_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    loops()


def publishes(context: ToolContext) -> None:
    context.wait(context.execute(None))  # type: ignore[arg-type]


def asks(context: ToolContext) -> str:
    return context.secret("process_tools")


def detaches(places: str) -> str:
    """Starts processes in every way that is meant to outlive it, each of which notes its number."""
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                Path(places, str(os.getpid())).touch()
                time.sleep(1000)
            os._exit(0)
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    Path(places, str(child.pid)).touch()
    while len(list(Path(places).iterdir())) < 3:
        time.sleep(0.001)
    return "started"


def breeds(places: str) -> None:
    """Forks without end: each copy forks again."""
    while len(list(Path(places).iterdir())) < 40:
        if os.fork() == 0:
            Path(places, str(os.getpid())).touch()
    time.sleep(1000)


def forks() -> int:
    """The copy returns as well, and says so in the same place."""
    os.fork()
    return 1


WELL: list[Callable[..., Any]] = [volume, later, picture, counts, counts_async, chatters, floods, asks, forks]
BAD: list[Callable[..., Any]] = [
    *(raises, refuses, exits, leaves, crashes, kills_itself, kills_its_group, kills_its_keeper, publishes),
]
SLOW: list[Callable[..., Any]] = [loops, holds_the_lock, ignores_signals, breeds]


def made() -> Iterator[Tool[..., Any]]:
    yield from (tool(process=True)(function) for function in [*WELL, *BAD, detaches])
    yield from (tool(process=True, timeout=0.3)(function) for function in SLOW)
    yield tool(process=True, memory=64 << 20)(leaks)
    yield tool(process=True, retries=2, name="shaky")(leaves)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def toolset() -> AsyncIterator[Toolset]:
    opened = Toolset(made(), SessionOptions(tool_result_bytes=1024))
    yield opened
    await opened.close()


async def run(toolset: Toolset, name: str, **arguments: Any) -> ToolResultPart:
    return await toolset.run(ToolCallPart(id="c1", name=name, arguments=arguments), "t1")


async def test_arguments_and_results(toolset: Toolset) -> None:
    """Arguments arrive as the function's types, results as JSON, from another process each time."""
    first = await run(toolset, "volume", box={"sides": [2, 3]})
    second = await run(toolset, "volume", box={"sides": [2, 3]})
    assert first.text.startswith('{"volume":6,"unit":"m","pid":')
    assert first.text != second.text
    assert str(os.getpid()) not in first.text
    assert (await run(toolset, "later")).text == " t1:c1 1"
    assert (await run(toolset, "picture")).content == (ImagePart(data=PNG),)


async def test_bad_arguments_need_no_process(toolset: Toolset) -> None:
    """Arguments are checked before a process is asked for."""
    result = await run(toolset, "volume", box={"sides": "x"})
    assert result.is_error
    assert result.text.startswith("The arguments of volume are wrong: box.sides: ")


@pytest.mark.parametrize(("name", "reported"), [("counts", [0, 1, 2]), ("counts_async", ["begun", 0, 1, 2])])
async def test_progress(toolset: Toolset, name: str, reported: list[Any]) -> None:
    """What a generator yields over there is reported here, and its last yield is the result."""
    heard: list[Any] = []
    call = ToolCallPart(id="c1", name=name, arguments={"to": 3})
    assert (await toolset.run(call, "t1", heard.append)).text == "2"
    assert heard == reported


async def test_prints_go_to_the_log(toolset: Toolset) -> None:
    """What a tool prints, or writes to its standard output, is no part of its result."""
    assert (await run(toolset, "chatters")).text == "done"


async def test_results_are_cut_over_there(toolset: Toolset) -> None:
    """A result that is too large comes cut, with a note."""
    assert "[cut: 9998976 of 10000000 bytes left out]" in (await run(toolset, "floods")).text


async def test_secrets_are_looked_up_over_there(
    toolset: Toolset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret is found in the tool's own process, and its value does not leave it."""
    (tmp_path / "process_tools").write_text("sesame-open")
    opened = Toolset([tool(process=True)(asks)], SessionOptions(secrets_folder=tmp_path))
    assert (await run(opened, "asks")).text == "[secret process_tools]"
    await opened.close()
    assert "looked at: environment variable LLMGINE_SECRET_PROCESS_TOOLS" in (await run(toolset, "asks")).text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("raises", "raises failed: KeyError: 'gone'"),
        ("refuses", "The shop is closed."),
        ("exits", "exits failed: SystemExit: 3"),
        ("leaves", "leaves failed: it ended its process with exit code 7 instead of returning."),
        ("crashes", "crashes failed: its process was ended by SIGSEGV."),
        ("kills_itself", "kills_itself failed: its process was ended by SIGKILL."),
        ("kills_its_group", "kills_its_group failed: its process was ended by SIGKILL."),
        ("kills_its_keeper", "kills_its_keeper failed: its process was ended together with its keeper."),
        ("leaks", "leaks failed: its process may take 67108864 bytes of memory and asked for more"),
        ("loops", "loops did not answer within 0.3 seconds."),
        ("holds_the_lock", "holds_the_lock did not answer within 0.3 seconds."),
        ("ignores_signals", "ignores_signals did not answer within 0.3 seconds."),
        ("publishes", "publishes failed: NotSupported: there is no bus where this tool runs"),
        ("shaky", "shaky failed: it ended its process with exit code 7 instead of returning. (3 attempts)"),
    ],
)
async def test_bad_tools(toolset: Toolset, name: str, text: str) -> None:
    """Whatever a tool does to its process is an error result that says so, and the next call is served."""
    result = await run(toolset, name)
    assert result.is_error
    assert result.text.startswith(text)
    assert (await run(toolset, "counts", to=1)).text == "0"


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def noted(places: Path) -> list[int]:
    """The processes that noted their numbers there."""
    return [int(note.name) for note in places.iterdir()]


async def test_nothing_outlives_its_call(toolset: Toolset, tmp_path: Path) -> None:
    """Processes that a tool left behind, detached in every way, are gone when its result is there."""
    result = await run(toolset, "detaches", places=str(tmp_path))
    assert result.text == "started"
    left = noted(tmp_path)
    assert len(left) == 3
    assert not [process for process in left if alive(process)]


async def test_forks_without_end(toolset: Toolset, tmp_path: Path) -> None:
    """A tool that forks and forks is ended with all its copies at its timeout."""
    result = await run(toolset, "breeds", places=str(tmp_path))
    assert result.text == "breeds did not answer within 0.3 seconds."
    left = noted(tmp_path)
    assert len(left) > 1
    assert not [process for process in left if alive(process)]


async def test_a_copy_that_answers_too(toolset: Toolset) -> None:
    """A tool that forks and returns twice has one result."""
    assert (await run(toolset, "forks")).text == "1"


async def test_cancel_ends_the_process(toolset: Toolset, tmp_path: Path) -> None:
    """A cancelled call takes its process with it before anybody goes on."""
    pids: asyncio.Queue[int] = asyncio.Queue()

    @tool(process=True)
    def sleeps() -> Iterator[int]:
        yield os.getpid()
        time.sleep(1000)

    opened = Toolset([sleeps], SessionOptions())
    call = ToolCallPart(id="c1", name="sleeps", arguments={})
    task = asyncio.create_task(opened.run(call, "t1", pids.put_nowait))
    process = await pids.get()
    assert alive(process)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(process)
    await opened.close()


async def test_a_server_that_died_is_replaced(eventually: Any) -> None:
    """When the process from which others are forked is killed, the next call starts another one."""

    @tool(process=True)
    def grandparent() -> int:
        keeper = os.getppid()
        return int(Path(f"/proc/{keeper}/stat").read_text().rpartition(")")[2].split()[1])

    opened = Toolset([grandparent], SessionOptions())
    first = int((await run(opened, "grandparent")).text)
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: not alive(first))
    second = int((await run(opened, "grandparent")).text)
    assert first != second
    await opened.close()


async def test_tools_that_cannot_travel() -> None:
    """A tool that holds what cannot be packed is an error result that names it."""
    lock = threading.Lock()

    @tool(process=True)
    def locked() -> bool:
        return lock.locked()

    opened = Toolset([locked], SessionOptions())
    result = await run(opened, "locked")
    assert result.is_error
    assert "Tool('locked') cannot travel to another process" in result.text
    await opened.close()
