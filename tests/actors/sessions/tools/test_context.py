"""What a tool is told and may do besides its arguments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.bus import Command, CommandResult, Event, Receipt
from llmgine.actors.sessions.errors import ToolError
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.tools.context import Result, ToolContext
from llmgine.actors.sessions.tools.tool import tool
from llmgine.actors.sessions.tools.toolset import ToolPorts, Toolset
from llmgine.providers.contracts import ToolCallPart, ToolResultPart


class Noted(Event):
    text: str


class Double(Command[int]):
    number: int


class Heard:
    """A bus that keeps what it is given and doubles."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def publish(self, event: Event, wait: bool = False) -> Receipt:
        self.events.append(event)
        return Receipt(id="e1", admitted=True)

    async def execute(self, command: Any, *, durable: bool = False, deadline: float | None = None) -> Any:
        return CommandResult(success=True, value=command.number * 2, attempts=1, duration=0.0)


class Waits:
    """Instead of waiting, how long it would have been."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def run(
    function: Any, *, ports: ToolPorts | None = None, options: dict[str, Any] | None = None, **arguments: Any
) -> tuple[ToolResultPart, list[Any]]:
    """The result of one call, and what it reported."""
    toolset = Toolset([function], SessionOptions(**(options or {})), ports, sleep=Waits())
    reported: list[Any] = []
    call = ToolCallPart(id="c1", name=next(iter(toolset.tools)), arguments=arguments)
    return await toolset.run(call, "s1:t1", reported.append), reported


async def test_a_parameter_for_the_context_is_no_argument() -> None:
    """The model does not see the context; the tool learns whose call it is and how it names it for others."""

    def who(city: str, context: ToolContext | None = None) -> list[Any]:
        """Who asks.

        Args:
            city: Where.
        """
        assert context is not None
        return [
            context.session_id,
            context.turn_id,
            context.call_id,
            context.attempt,
            context.idempotency_key,
        ]

    assert list(tool(who).spec.parameters["properties"]) == ["city"]
    result, _ = await run(who, ports=ToolPorts("s1"), city="Paris")
    assert result.text == '["s1","s1:t1","c1",1,"s1:t1:c1"]'


async def test_tools_publish_and_execute() -> None:
    """A tool publishes and executes on the bus it is given; a sync one waits for it in its thread."""

    async def note(text: str, context: ToolContext) -> int:
        await context.publish(Noted(text=text))
        return (await context.execute(Double(number=2))).unwrap()

    def note_in_thread(text: str, context: ToolContext) -> int:
        context.wait(context.publish(Noted(text=text)))
        return context.wait(context.execute(Double(number=3))).unwrap()

    bus = Heard()
    assert (await run(note, ports=ToolPorts(bus=bus), text="a"))[0].text == "4"
    assert (await run(note_in_thread, ports=ToolPorts(bus=bus), text="b"))[0].text == "6"
    assert bus.events == [Noted(text="a"), Noted(text="b")]
    result, _ = await run(note, text="a")
    assert result.is_error
    assert "there is no bus where this tool runs" in result.text


def counts(to: int) -> Iterator[dict[str, int]]:
    for number in range(to):
        yield {"done": number}


def counts_and_returns(to: int) -> Any:
    yield from counts(to)
    return "all"


def counts_and_ends(to: int) -> Any:
    yield from counts(to)
    yield Result(["all"])
    raise AssertionError("it is not asked for more")


async def counts_async(to: int) -> AsyncIterator[dict[str, int]]:
    for number in range(to):
        yield {"done": number}


async def counts_async_and_ends(to: int) -> AsyncIterator[Any]:
    for number in range(to):
        yield {"done": number}
    yield Result(None)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (counts, '{"done":1}'),
        (counts_and_returns, "all"),
        (counts_and_ends, '["all"]'),
        (counts_async, '{"done":1}'),
        (counts_async_and_ends, "null"),
    ],
)
async def test_generators(function: Callable[..., Any], text: str) -> None:
    """Yields are reported; the result is what was returned, or a `Result`, or else the last yield."""
    result, reported = await run(function, to=2)
    assert (result.text, result.is_error) == (text, False)
    assert reported == [{"done": 0}, {"done": 1}]


async def test_a_generator_that_fails_has_reported() -> None:
    """What was yielded before the failure was told, and the failure is the result."""

    def breaks() -> Iterator[int]:
        yield 1
        raise ValueError("torn")

    result, reported = await run(breaks)
    assert (result.text, reported) == ("breaks failed: ValueError: torn", [1])


async def test_endless_generator() -> None:
    """An endless generator ends at its timeout, thread and all, and does not fill the turn's log."""

    @tool(timeout=0.05)
    def endless() -> Iterator[str]:
        while True:
            yield "x" * 100

    toolset = Toolset([endless], SessionOptions(tool_progress_bytes=1000))
    reported: list[str] = []
    result = await toolset.run(ToolCallPart(id="c1", name="endless", arguments={}), "t", reported.append)
    assert result.text == "endless did not answer within 0.05 seconds."
    assert 1 <= len(reported) <= 9


async def test_progress_from_a_thread() -> None:
    """A sync tool reports through its context; models and dates arrive as JSON values."""

    def work(context: ToolContext) -> str:
        context.progress({"at": Path("x")})
        return "done"

    result, reported = await run(work)
    assert (result.text, reported) == ("done", [{"at": "x"}])


async def test_retries() -> None:
    """A failed call is made again as often as its tool says; it knows which attempt it is."""
    attempts: list[int] = []

    @tool(retries=2)
    async def shaky(context: ToolContext) -> str:
        attempts.append(context.attempt)
        if context.attempt < 3:
            raise ConnectionError("reset")
        return context.idempotency_key

    assert (await run(shaky))[0].text == "s1:t1:c1"
    assert attempts == [1, 2, 3]


async def test_retries_come_to_an_end() -> None:
    """After the last attempt the model is told how many there were; a ToolError is no reason for another."""

    @tool(retries=1)
    def broken() -> str:
        raise ConnectionError("reset")

    @tool(retries=5)
    def closed() -> str:
        raise ToolError("The shop is closed.")

    assert (await run(broken))[0].text == "broken failed: ConnectionError: reset (2 attempts)"
    result, _ = await run(closed)
    assert (result.text, result.is_error) == ("The shop is closed.", True)


async def test_retries_wait_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between attempts grow and are bounded."""
    monkeypatch.setattr("random.random", lambda: 1.0)

    @tool(retries=7)
    def broken() -> str:
        raise ConnectionError("reset")

    waits = Waits()
    toolset = Toolset([broken], SessionOptions(), sleep=waits)
    await toolset.run(ToolCallPart(id="c1", name="broken", arguments={}))
    assert waits.seconds == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


async def test_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A secret is a file's text, else a variable; what the tool gives out shows its name instead."""
    monkeypatch.setenv("LLMGINE_SECRET_SHOP_KEY", "sesame-open")
    (tmp_path / "other").write_text("from-a-file\n")

    async def buy(context: ToolContext) -> AsyncIterator[Any]:
        key = context.secret("shop-key")
        yield {"with": key}
        yield Result([key, context.secret("other"), len(key)])

    result, reported = await run(buy, options={"secrets_folder": tmp_path})
    assert result.text == '["[secret shop-key]","[secret other]",11]'
    assert reported == [{"with": "[secret shop-key]"}]

    def leaks(context: ToolContext) -> str:
        raise ValueError(f"refused with {context.secret('shop-key')}")

    assert (await run(leaks))[0].text == "leaks failed: ValueError: refused with [secret shop-key]"


@pytest.mark.parametrize("name", ["missing", "../passwd", ""])
async def test_missing_secrets(name: str, tmp_path: Path) -> None:
    """A secret that is nowhere is an error result that names the places; a path is no name."""

    def buy(context: ToolContext) -> str:
        return context.secret(name)

    result, _ = await run(buy, options={"secrets_folder": tmp_path})
    assert result.is_error
    places = (str(tmp_path), "LLMGINE_SECRET_MISSING", "sessions.secrets_folder")
    assert all(place in result.text for place in places) == (name == "missing")
