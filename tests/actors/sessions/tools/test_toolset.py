"""Every call of a tool comes to a result that the model can read."""

import asyncio
import contextvars
import dataclasses
import datetime
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pydantic
import pytest

from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.tools.results import as_content, bounded_text
from llmgine.actors.sessions.tools.tool import tool
from llmgine.actors.sessions.tools.toolset import Toolset
from llmgine.providers.contracts import (
    AudioPart,
    DocumentPart,
    ImagePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")


async def run(*tools: Any, arguments: dict[str, Any] | None = None, **options: Any) -> ToolResultPart:
    toolset = Toolset(tools, SessionOptions(**options))
    name = next(iter(toolset.tools))
    return await toolset.run(ToolCallPart(id="c1", name=name, arguments=arguments or {}))


async def test_async_tool_runs_on_the_loop() -> None:
    """An async tool runs on the loop, with its arguments coerced."""

    async def add(a: int, b: int) -> int:
        assert asyncio.get_running_loop()
        return a + b

    result = await run(add, arguments={"a": "2", "b": 3})
    assert (result.text, result.is_error, result.call_id, result.name) == ("5", False, "c1", "add")


async def test_sync_tool_runs_in_a_thread() -> None:
    """A sync tool runs in a thread of its own, with the caller's context."""

    def here() -> list[str]:
        return [str(threading.current_thread() is threading.main_thread()), where.get()]

    where.set("test")
    assert (await run(here)).text == '["False","test"]'


async def test_sync_function_that_gives_an_awaitable() -> None:
    """What a sync function starts on the loop is awaited, not shown to the model."""

    async def answer() -> str:
        return "later"

    def starts() -> Awaitable[str]:
        return answer()

    assert (await run(starts)).text == "later"


@dataclasses.dataclass
class Window:
    begin: datetime.date
    days: set[int]


class Point(pydantic.BaseModel):
    x: int


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as is\n", "as is\n"),
        (None, "null"),
        ({"a": [1, 2.5, True]}, '{"a":[1,2.5,true]}'),
        (Point(x=1), '{"x":1}'),
        ([Point(x=1)], '[{"x":1}]'),
        ([], "[]"),
        (Window(datetime.date(2026, 1, 2), {3}), '{"begin":"2026-01-02","days":[3]}'),
        (b"plain bytes", '"plain bytes"'),
    ],
)
def test_results_as_text(value: Any, text: str) -> None:
    """Text is told as it is, everything else as JSON."""
    (part,) = as_content("t", value, 1000)
    assert part == TextPart(text=text)


def test_results_as_parts() -> None:
    """A tool may return text and media, which go to the model in order."""
    parts = [TextPart(text="see"), ImagePart(data=b"png"), DocumentPart(data=b"pdf"), AudioPart(data=b"wav")]
    assert as_content("t", parts, 1000) == tuple(parts)
    assert as_content("t", ImagePart(data=b"png"), 1000) == (ImagePart(data=b"png"),)
    (small, note) = as_content("t", [TextPart(text="see"), ImagePart(data=b"p" * 2000)], 1000)
    assert small == TextPart(text="see")
    assert isinstance(note, TextPart)
    assert "2000 bytes was left out" in note.text


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"\x89PNG\r\n\x1a\n", ImagePart),
        (b"\xff\xd8\xff\xe0", ImagePart),
        (b"GIF89a", ImagePart),
        (b"RIFF\0\0\0\0WEBP", ImagePart),
        (b"RIFF\0\0\0\0WAVE", AudioPart),
        (b"%PDF-1.7", DocumentPart),
    ],
)
def test_bytes_that_say_what_they_are(begin: bytes, part: type[Any]) -> None:
    """Bytes of a picture, a sound or a PDF are told as such; a picture that is too large is left out."""
    (made,) = as_content("t", begin + b"rest", 1000)
    assert isinstance(made, part)
    assert made.data == begin + b"rest"
    assert "left out" in str(as_content("t", begin + bytes(1000), 1000))


async def test_a_tool_that_forks_is_not_two_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy of the process that a tool's fork leaves ends where the tool returns, and answers nobody."""
    read, write = os.pipe()
    loop = asyncio.get_running_loop()
    tell = loop.call_soon_threadsafe

    def telling(*arguments: Any) -> Any:
        os.write(write, b"%d " % os.getpid())
        return tell(*arguments)

    def forks() -> str:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return "one of two"

    monkeypatch.setattr(loop, "call_soon_threadsafe", telling)
    result = await run(forks)
    assert (result.text, result.is_error) == ("one of two", False)
    os.close(write)
    assert {int(process) for process in os.read(read, 1000).split()} == {os.getpid()}
    os.close(read)


def test_results_are_bounded() -> None:
    """A long result is cut between characters, with a note of how much is missing."""
    cut = bounded_text("é" * 1000, 1001)
    assert cut.startswith("é" * 500 + "\n[cut: 999 of 2000 bytes")
    assert bounded_text("é" * 1000, 2000) == "é" * 1000


async def test_result_that_is_no_json() -> None:
    """A value that is no JSON is an error result that names its type."""

    def thread() -> Any:
        return threading.current_thread()

    result = await run(thread)
    assert result.is_error
    assert "thread returned a Thread that is no JSON" in result.text


async def test_unknown_tool() -> None:
    """An unknown tool is an error result that lists what there is."""

    def add(a: int) -> int:
        return a

    toolset = Toolset([add], SessionOptions())
    result = await toolset.run(ToolCallPart(id="c1", name="sub", arguments={}))
    assert result.is_error
    assert result.text == "There is no tool named 'sub'. Tools: add."


async def test_bad_arguments() -> None:
    """Arguments that do not fit, or are no JSON object, are error results that say what is wrong."""

    def add(a: int) -> int:
        return a

    result = await run(add, arguments={"a": "x", "b": 1})
    assert result.is_error
    assert "The arguments of add are wrong: a: " in result.text
    assert "b: there is no such parameter" in result.text
    toolset = Toolset([add], SessionOptions())
    broken = ToolCallPart(id="c1", name="add", arguments=None, raw_arguments='{"a": ')
    assert (await toolset.run(broken)).text == 'The arguments of add must be one JSON object, not: {"a": '


async def raises_async() -> str:
    raise KeyError("gone")


def raises_sync() -> str:
    raise KeyError("gone")


def stops() -> str:
    raise StopIteration


async def exits_async() -> str:
    sys.exit(3)


def exits_sync() -> str:
    sys.exit(3)


async def cancels_itself() -> str:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (raises_async, "raises_async failed: KeyError: 'gone'"),
        (raises_sync, "raises_sync failed: KeyError: 'gone'"),
        (stops, "stops failed: StopIteration: "),
        (exits_async, "exits_async failed: SystemExit: 3"),
        (exits_sync, "exits_sync failed: SystemExit: 3"),
        (cancels_itself, "cancels_itself was cancelled from within."),
    ],
)
async def test_exceptions_become_results(function: Callable[[], Any], text: str) -> None:
    """Whatever a tool raises is an error result with its kind and text; the process lives on."""
    result = await run(function)
    assert (result.is_error, result.text) == (True, text)


async def test_a_tools_own_timeout_error_is_its_own() -> None:
    """A TimeoutError that a tool raises is told as such, not as our timeout."""

    async def slow() -> str:
        raise TimeoutError("the database")

    assert (await run(slow)).text == "slow failed: TimeoutError: the database"


async def test_async_timeout() -> None:
    """An async tool is cancelled at its timeout, also one that swallows its cancellation."""
    cancelled = asyncio.Event()
    go_on = asyncio.Event()

    @tool(timeout=0.01)
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            await go_on.wait()
        return "late"

    result = await run(stubborn)
    assert (result.is_error, result.text) == (True, "stubborn did not answer within 0.01 seconds.")
    await cancelled.wait()
    go_on.set()


async def test_thread_is_left_behind_and_counted() -> None:
    """A sync tool past its timeout is left behind and counted until it ends; 8 make the process unhealthy."""
    go_on = threading.Event()

    def stuck() -> str:
        go_on.wait()
        return "late"

    toolset = Toolset([stuck], SessionOptions(tool_timeout=0.01))
    calls = [ToolCallPart(id=f"c{number}", name="stuck", arguments={}) for number in range(8)]
    results = await asyncio.gather(*(toolset.run(call) for call in calls[:7]))
    assert all(result.is_error for result in results)
    assert (toolset.abandoned, toolset.healthy) == (7, True)
    await toolset.run(calls[7])
    assert (toolset.abandoned, toolset.healthy) == (8, False)
    left = [thread for thread in threading.enumerate() if thread.name == "tool stuck"]
    go_on.set()
    for thread in left:
        await asyncio.to_thread(thread.join)
    assert (toolset.abandoned, toolset.healthy) == (0, True)


async def test_cancel_leaves_at_once() -> None:
    """A cancelled call of a sync tool does not wait for its thread."""
    inside, go_on = threading.Event(), threading.Event()

    def stuck() -> str:
        inside.set()
        go_on.wait()
        return "late"

    toolset = Toolset([stuck], SessionOptions())
    task = asyncio.create_task(toolset.run(ToolCallPart(id="c1", name="stuck", arguments={})))
    await asyncio.to_thread(inside.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert toolset.abandoned == 1
    go_on.set()


async def test_concurrency_of_one_tool() -> None:
    """A tool with a concurrency has no more calls at once than that; other tools do not wait for it."""
    running, most = 0, 0
    go_on = asyncio.Event()

    @tool(concurrency=2)
    async def narrow() -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1
        return "ok"

    async def other() -> str:
        go_on.set()
        return "ok"

    toolset = Toolset([narrow, other], SessionOptions())
    calls = [ToolCallPart(id=f"c{number}", name="narrow", arguments={}) for number in range(5)]
    calls.append(ToolCallPart(id="o", name="other", arguments={}))
    results = await asyncio.gather(*(toolset.run(call) for call in calls))
    assert [result.text for result in results] == ["ok"] * 6
    assert most == 2


def test_idempotence() -> None:
    """Only a tool that says so may run twice; an unknown one has no effect at all."""

    @tool(idempotent=True)
    def look() -> str:
        return ""

    @tool
    def pay() -> str:
        return ""

    toolset = Toolset([look, pay], SessionOptions())
    assert [toolset.is_idempotent(name) for name in ("look", "pay", "none")] == [True, False, True]


class Unshown(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Picky(pydantic.BaseModel):
    key: str

    @pydantic.field_validator("key")
    @classmethod
    def _known(cls, value: str) -> str:
        return {"a": "b"}[value]


async def test_a_validator_that_raises_anything_is_a_result() -> None:
    """Validators of the user's own raise what they like; the model is told, and the turn goes on."""

    def look(picky: Picky) -> str:
        return picky.key

    result = await run(look, arguments={"picky": {"key": "x"}})
    assert (result.text, result.is_error) == ("The arguments of look are wrong: KeyError: 'x'", True)


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_error_that_cannot_be_shown_is_a_result(is_async: bool) -> None:
    """An exception whose text raises is told by its class, at once."""

    def fail() -> str:
        raise Unshown

    async def fail_async() -> str:
        raise Unshown

    result = await run(fail_async if is_async else fail)
    assert result.text.endswith(" failed: Unshown: it has no text")


async def test_results_are_text_that_can_be_sent() -> None:
    """Lone surrogates, as file names bring them, become question marks in results and in errors."""

    def name() -> str:
        return "a\udcff"

    def fail() -> str:
        raise ValueError("b\udcff")

    assert (await run(name)).text == "a?"
    assert (await run(fail)).text == "fail failed: ValueError: b?"


async def test_mistakes_are_told_up_to_a_bound() -> None:
    """A thousand wrong arguments do not fill the conversation."""

    def add(numbers: list[int]) -> int:
        return sum(numbers)

    result = await run(add, arguments={"numbers": ["x"] * 1000})
    assert result.is_error
    assert len(result.text) < 2100


async def test_a_value_whose_own_code_fails_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else goes wrong around a call, as when no thread can start, is a result too."""

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def answer() -> int:
        return 1

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    result = await run(answer)
    assert (result.text, result.is_error) == ("answer failed: RuntimeError: can't start new thread", True)
