"""What a runtime promises its users, in one process and on Ray alike."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from llmgine.runtime import (
    Command,
    Event,
    ProviderError,
    Runtime,
    SessionClosed,
    SessionConflict,
    SessionEnded,
    SessionStarted,
    TextDelta,
    ToolDefinitionError,
    TurnCancelled,
    UnknownModel,
    tool,
)
from tests.cluster.one_trace import whole
from tests.scripts import SCRIPTS

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Noted(Event):
    text: str


class Shout(Command[str]):
    text: str


@tool
def get_weather(city: str) -> str:
    """Tells the weather.

    Args:
        city: Name of the city.
    """
    return f"Sunny in {city}"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def runtime(on_ray: Callable[[], Runtime] | None) -> AsyncIterator[Runtime]:
    held = {"providers": {"scripts": SCRIPTS}}
    async with on_ray() if on_ray else Runtime.in_process(held) as opened:
        yield opened


async def test_a_session_answers_and_remembers(runtime: Runtime) -> None:
    """A conversation keeps its turns in order, question before answer."""
    async with runtime.session(model="scripted/echo", system="Be brief.") as session:
        first = await session.ask("one")
        second = await session.ask("two")
        history = await session.history()
    assert (first.text, second.text) == ("one", "two")
    assert [(message.role, message.text) for message in history if message.role != "system"] == [
        ("user", "one"), ("assistant", "one"), ("user", "two"), ("assistant", "two")
    ]  # fmt: skip
    assert first.model == "scripted/echo"
    assert first.usage.output_tokens == 1
    assert first.cost == 0
    assert first.turn_id != second.turn_id


async def test_deltas_concatenate_to_the_reply(runtime: Runtime) -> None:
    """A stream's deltas are the reply, and its last event is exactly one `done`."""
    async with runtime.session(model="scripted/echo") as session:
        events = [event async for event in session.stream("a stream of several words")]
    text = "".join(event.text for event in events if event.type == "text_delta")
    assert text == "a stream of several words"
    assert [event.type for event in events].count("done") == 1
    assert events[-1].type == "done"
    assert events[-1].reply.text == text


async def test_a_broken_call_begins_anew(runtime: Runtime) -> None:
    """Restarted, a reader is told to forget what it heard; the session keeps the whole answer alone, and
    counts what both calls used."""
    async with runtime.session(model="scripted/breaks-once") as session:
        events = [event async for event in session.stream("Go", mid_stream="restart")]
        history = await session.history()
    said = [event.text if isinstance(event, TextDelta) else f"<{event.type}>" for event in events]
    assert "".join(said).endswith("one <reset>one two<done>")
    assert [message.text for message in history] == ["Go", "one two"]
    assert events[-1].type == "done"
    assert events[-1].reply.usage.output_tokens == 1 + 2


async def test_an_answer_of_a_type_is_repaired(runtime: Runtime) -> None:
    """What does not fit is asked for again; the reply has the value, the history the answer that fits."""
    async with runtime.session(model="scripted/fits-at-last") as session:
        reply = await session.ask("Count", output=dict[str, int])
        history = await session.history()
    assert reply.output == {"count": 2}
    assert reply.usage.output_tokens == 2 + 2
    assert [message.text for message in history] == ["Count", '{"count": 2}']


async def test_a_tool_runs_in_the_session(runtime: Runtime) -> None:
    """A tool call of the model runs the function, and the model sees its result."""
    async with runtime.session(model="scripted/tool", tools=[get_weather]) as session:
        reply = await session.ask("What is the weather in Paris?")
    assert [call.name for call in reply.tool_calls] == ["get_weather"]
    assert "Sunny in" in reply.text


async def test_sessions_run_side_by_side(runtime: Runtime) -> None:
    """Several sessions at once each get exactly their own answers."""

    async def talk(number: int) -> list[str]:
        async with runtime.session(model="scripted/echo") as session:
            return [(await session.ask(f"{number}-{turn}")).text for turn in range(3)]

    answers = await asyncio.gather(*(talk(number) for number in range(3)))
    assert answers == [[f"{number}-{turn}" for turn in range(3)] for number in range(3)]


async def test_a_turn_is_found_by_its_id(runtime: Runtime) -> None:
    """Submit gives a handle at once; whoever knows its id can read the turn's stream and its result."""
    async with runtime.session(model="scripted/echo") as session:
        turn = await session.submit("later")
        found = runtime.turn(turn.id)
        assert (await found.result()).text == "later"
        events = [event async for event in found.stream()]
        assert events[-1].type == "done"


async def test_a_cancelled_turn_says_so(runtime: Runtime) -> None:
    """Cancelling ends the turn, and whoever waits for it is told."""
    async with runtime.session(model="scripted/stall") as session:
        turn = await session.submit("wait for ever")
        assert await turn.cancel()
        with pytest.raises(TurnCancelled):
            await turn.result()
        assert (await session.ask("and on", model="scripted/echo")).text == "and on"


async def test_one_start_and_one_end_event_per_opening(runtime: Runtime) -> None:
    """Each opening has exactly one start and one end event, with its id, and the error if there was one."""
    seen: list[tuple[str, str, str | None]] = []
    over = asyncio.Event()

    def started(event: SessionStarted) -> None:
        seen.append(("start", event.session_id, None))

    def ended(event: SessionEnded) -> None:
        seen.append(("end", event.session_id, event.error))
        if event.error:
            over.set()

    on_start = await runtime.bus.register_event_handler(SessionStarted, started, name="starts")
    on_end = await runtime.bus.register_event_handler(SessionEnded, ended, name="ends")
    id = f"s-{uuid.uuid4().hex}"
    async with runtime.session(id, model="scripted/echo"):
        pass
    with pytest.raises(ZeroDivisionError):
        async with runtime.session(id, model="scripted/echo"):
            raise ZeroDivisionError("a mistake")
    await asyncio.wait_for(over.wait(), 10)
    await on_start.remove()
    await on_end.remove()
    mine = [entry for entry in seen if entry[1] == id]
    assert mine == [
        ("start", id, None),
        ("end", id, None),
        ("start", id, None),
        ("end", id, "ZeroDivisionError: a mistake"),
    ]


async def test_handlers_of_a_session_hear_only_their_own(runtime: Runtime) -> None:
    """A session's handler gets its own session's events until the block is left; the bus's gets all."""
    heard: list[str] = []
    everything: list[str] = []
    bus_wide = await runtime.bus.register_event_handler(
        Noted, lambda e: everything.append(e.text), name="all"
    )
    async with (
        runtime.session(model="scripted/echo") as one,
        runtime.session(model="scripted/echo") as other,
    ):
        await one.register_event_handler(Noted, lambda e: heard.append(e.text), name="mine")
        await one.publish(Noted(text="one"), wait=True)
        await other.publish(Noted(text="other"), wait=True)
        await runtime.bus.publish(Noted(text="bus"), wait=True)
        id = one.id
    await runtime.bus.publish(Noted(text="late", session_id=id), wait=True)
    await bus_wide.remove()
    assert heard == ["one"]
    assert sorted(everything) == ["bus", "late", "one", "other"]


async def test_a_command_runs_once_in_the_nearest_scope(runtime: Runtime) -> None:
    """The session's handler wins over the bus's; without one the bus's runs; without any it fails at once."""
    async with runtime.session(model="scripted/echo") as session:
        nobody = await session.execute(Shout(text="a"))
        assert not nobody.success
        assert nobody.error is not None
        assert "Shout" in nobody.error.text
        on_bus = await runtime.bus.register_command_handler(Shout, lambda c: c.text.upper())
        assert (await session.execute(Shout(text="a"))).value == "A"
        await session.register_command_handler(Shout, lambda c: f"{c.text}! {c.session_id}", name="own")
        assert (await session.execute(Shout(text="a"))).value == f"a! {session.id}"
        assert (await runtime.bus.execute(Shout(text="a"))).value == "A"
        await on_bus.remove()


async def test_a_staying_session_is_found_again(runtime: Runtime) -> None:
    """With stay=True a session outlives its block; attaching again finds the whole conversation."""
    id = f"s-{uuid.uuid4().hex}"
    async with runtime.session(id, model="scripted/echo", stay=True) as session:
        await session.ask("remember me")
    async with runtime.session(id, model="scripted/echo") as session:
        assert [message.text for message in await session.history()] == ["remember me"] * 2
        with pytest.raises(SessionConflict):
            await runtime.session(id, model="scripted/echo", tools=[get_weather]).open()
        await session.close()
    with pytest.raises(SessionClosed):
        await session.ask("too late")
    assert id not in {entry["session_id"] for entry in (await runtime.status())["sessions"]}


async def test_pools_scale_by_hand(runtime: Runtime) -> None:
    """scale(n) returns when exactly n actors take calls; calls go on meanwhile."""
    async with runtime.session(model="scripted/echo") as session:
        await session.ask("warm")
        assert len(await runtime.pools["scripted"].scale(2)) == 2
        assert (await session.ask("two actors")).text == "two actors"
        assert len(await runtime.pools["scripted"].scale(1)) == 1
        assert (await session.ask("one actor")).text == "one actor"


async def test_models_are_called_without_a_session(runtime: Runtime) -> None:
    """One call has its answer, its pieces, a value of a type, or vectors, from the pool that sessions use."""
    assert (await runtime.models.complete("scripted/echo", "Hello")).text == "Hello"
    assert (await runtime.models.complete("scripted/echo", "Hello", output=dict[str, int])).output == {}
    *deltas, _, _ = [event async for event in runtime.models.stream("scripted/echo", "one two")]
    assert deltas == [TextDelta(0, "one "), TextDelta(0, "two")]
    vectors = (await runtime.models.embed("scripted/echo", ["a", "b", "a"])).vectors
    assert vectors[0] == vectors[2] != vectors[1]
    with pytest.raises(ProviderError) as failed:
        await runtime.models.complete("scripted/fail", "x")
    assert failed.value.retryable


async def test_spans_of_a_turn_form_one_tree(runtime: Runtime) -> None:
    """A trace holds the turn, its model calls and its tools, across processes, each under its parent."""
    async with runtime.session(model="scripted/tool", tools=[get_weather]) as session:
        reply = await session.ask("What is the weather in Rome?")
    view = await whole(runtime, reply.trace_id)
    assert len({span.source for span in view.spans}) >= 2
    by_id = {span.span_id: span for span in view.spans}
    roots = [span for span in view.spans if span.parent_id not in by_id]
    assert len(roots) == 1
    assert any("get_weather" in span.name for span in view.spans)


async def test_what_can_be_refused_is_refused_at_once(runtime: Runtime) -> None:
    """An unknown model and a function that is no tool are refused where they are given."""
    with pytest.raises(UnknownModel, match="scripted"):
        runtime.session(model="nobody/knows")

    def untyped(x):  # type: ignore[no-untyped-def]
        return x

    with pytest.raises(ToolDefinitionError, match="untyped"):
        async with runtime.session(model="scripted/echo", tools=[untyped]):
            pass


async def test_a_failed_call_reaches_the_caller_as_itself(runtime: Runtime) -> None:
    """A provider's error is raised with its kind, and the session goes on."""
    async with runtime.session(model="scripted/echo") as session:
        with pytest.raises(ProviderError) as failed:
            await session.ask("x", model="scripted/fail")
        assert failed.value.retryable
        assert (await session.ask("well")).text == "well"
