"""A session over its links: turns are asked for, followed, found again and cancelled from other processes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pydantic
import pytest

from llmgine.actors.link import LinkError
from llmgine.actors.sessions.client.client import TurnClient, new_turn_id, session_of
from llmgine.actors.sessions.errors import (
    SessionClosed,
    SessionLost,
    SessionOverloaded,
    TurnCancelled,
    TurnDeadline,
    UnknownTurn,
)
from llmgine.actors.sessions.turns.events import Reply, StepStarted, TurnDone, TurnFailed
from llmgine.providers.contracts import Message
from llmgine.providers.errors import ErrorKind, InvalidRequest, OutputInvalid, ProviderError
from llmgine.providers.events import Failed, TextDelta
from tests.actors.sessions.stage import Stage, soon


async def test_ask(stage: Stage, script: Any) -> None:
    """Asking runs a turn and returns its reply; the conversation goes on from turn to turn."""
    session = await stage.open(script.says("one"), script.says("two"))
    first = await soon(session.ask("a"))
    second = await soon(session.ask("b"))
    assert (first.text, second.text) == ("one", "two")
    assert session_of(first.turn_id) == "s1"
    assert [message.text for message in await soon(session.history())] == ["a", "one", "b", "two"]


async def test_stream(stage: Stage, script: Any) -> None:
    """A stream gives the turn's events as they come, the first before the model has finished."""
    gate = script.Gate()
    chunks = script.says("Hel", "lo")
    session = await stage.open([chunks[0], gate, *chunks[1:]])
    events = []
    async with aclosing(session.stream("a")) as stream:
        async for event in stream:
            events.append(event)
            if isinstance(event, TextDelta):
                gate.go_on.set()
    assert events[0] == StepStarted(1, "scripted/test")
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Hello"
    assert isinstance(events[-1], TurnDone)
    assert events[-1].reply.text == "Hello"


async def test_ask_raises_what_the_turn_failed_with(stage: Stage) -> None:
    """A failed model call is raised as its own error, with its attributes, on the driver's side."""
    error = ProviderError("busy", kind=ErrorKind.OVERLOADED, retry_after=3.0)
    session = await stage.open([Failed(error)])
    with pytest.raises(ProviderError) as caught:
        await soon(session.ask("a"))
    assert (caught.value.kind, caught.value.retry_after) == (ErrorKind.OVERLOADED, 3.0)


async def test_submit_and_leave(stage: Stage, script: Any) -> None:
    """A submitted turn runs to its end without its driver, and another driver finds it by its id."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("done")])
    turn = await soon(session.submit("a"))
    await gate.inside.wait()
    stage.transport.break_connections("host-1")
    gate.go_on.set()
    found = stage.driver().turn(turn.id)
    reply = await soon(found.result())
    assert isinstance(reply, Reply)
    assert (reply.text, reply.turn_id) == ("done", turn.id)
    events = [event async for event in found.stream()]
    assert isinstance(events[-1], TurnDone)


@pytest.mark.parametrize("breaks_at", [0, 1, 2, 3])
async def test_a_reader_goes_on_after_a_break(stage: Stage, script: Any, breaks_at: int) -> None:
    """A reader whose link breaks dials again and gets each event once, from where it was."""
    gates = [script.Gate() for _ in range(4)]
    said = script.says("a", "b", "c")
    session = await stage.open([gates[0], said[0], gates[1], said[1], gates[2], said[2], gates[3], *said[3:]])
    text: list[str] = []
    events = []

    async def read() -> None:
        async for event in session.stream("x"):
            events.append(event)
            if isinstance(event, TextDelta):
                text.append(event.text)
                gates[min(len("".join(text)), 3)].go_on.set()

    reading = asyncio.create_task(read())
    await soon(gates[0].inside.wait())
    for number, gate in enumerate(gates):
        if number:
            await soon(gate.inside.wait())
        if number == breaks_at:
            stage.transport.break_connections("host-1")
        gate.go_on.set()
    await soon(reading)
    assert "".join(text) == "abc"
    assert [type(event) for event in events].count(StepStarted) == 1
    assert isinstance(events[-1], TurnDone)
    assert len(stage.models.requests) == 1
    assert stage.dials == 2


async def test_events_from_an_offset(stage: Stage, script: Any) -> None:
    """Reading from an offset leaves out what lies before it; from beyond the end there is nothing."""
    session = await stage.open(script.says("a", "b", "c"))
    turn = await soon(session.submit("x"))
    await soon(turn.result())
    deltas = [event async for event in turn.stream(2)]
    assert deltas[0] == TextDelta(0, "bc")
    assert isinstance(deltas[-1], TurnDone)
    assert [event async for event in turn.stream(1000)] == []


async def test_the_same_turn_is_not_run_twice(stage: Stage, script: Any) -> None:
    """A submit that is sent again under the same id attaches to the turn that runs."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("once")])
    first = await soon(session.submit("a"))
    again = TurnClient(first.id, stage.driver()._link, request=first._request)
    await gate.inside.wait()
    gate.go_on.set()
    replies = await soon(asyncio.gather(first.result(), again.result()))
    assert [reply.text for reply in replies] == ["once", "once"]
    assert stage.host.queue.counts["submitted"] == 1
    assert len(stage.models.requests) == 1


async def test_turns_run_one_after_another(stage: Stage, script: Any) -> None:
    """Turns of one session run in the order of their submits, never two at a time."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("1")], script.says("2"), script.says("3"))
    turns = [await soon(session.submit(text)) for text in "abc"]
    await gate.inside.wait()
    described = await soon(session.describe())
    assert (described["running"], described["waiting"], described["messages"]) == (turns[0].id, 2, 1)
    gate.go_on.set()
    assert [(await soon(turn.result())).text for turn in turns] == ["1", "2", "3"]
    assert [message.text for message in await soon(session.history())] == ["a", "1", "b", "2", "c", "3"]


async def test_cancel_a_running_turn(stage: Stage, script: Any) -> None:
    """Cancelling ends the turn, its model call and its readers; the session takes the next turn."""
    gate = script.Gate()
    session = await stage.open([TextDelta(0, "So far"), gate], script.says("next"))
    turn = await soon(session.submit("a"))
    await gate.inside.wait()
    assert await soon(turn.cancel()) is True
    with pytest.raises(TurnCancelled):
        await soon(turn.result())
    assert await soon(turn.cancel()) is False
    assert stage.models.cut_short == 1
    assert (await soon(session.ask("b"))).text == "next"


async def test_cancel_a_waiting_turn(stage: Stage, script: Any) -> None:
    """A turn that waits is cancelled before it begins, and the others run."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("1")], script.says("3"))
    first, second, third = [await soon(session.submit(text)) for text in "abc"]
    assert await soon(second.cancel()) is True
    with pytest.raises(TurnCancelled, match="before it began"):
        await soon(second.result())
    gate.go_on.set()
    assert (await soon(first.result())).text == "1"
    assert (await soon(third.result())).text == "3"


async def test_cancelling_an_ask_cancels_its_turn(stage: Stage, script: Any) -> None:
    """Who gives up an `ask` does not pay for the rest of it."""
    gate = script.Gate()
    session = await stage.open([gate])
    asking = asyncio.create_task(session.ask("a"))
    await gate.inside.wait()
    turn_id = (await soon(session.describe()))["running"]
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    with pytest.raises(TurnCancelled):
        await soon(session.turn(turn_id).result())
    assert stage.models.cut_short == 1


async def test_leaving_a_stream_cancels_nothing(stage: Stage, script: Any) -> None:
    """A reader that leaves its stream early leaves the turn running."""
    gate = script.Gate()
    chunks = script.says("Hel", "lo")
    session = await stage.open([chunks[0], gate, *chunks[1:]])
    async with aclosing(session.stream("a")) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    turn_id = (await soon(session.describe()))["running"]
    gate.go_on.set()
    assert (await soon(session.turn(turn_id).result())).text == "Hello"


async def test_the_queue_is_bounded(stage: Stage, script: Any) -> None:
    """A turn beyond the queue is refused at once, with an error that names the option."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("1")], script.says("2"), queue=1)
    first = await soon(session.submit("a"))
    await gate.inside.wait()
    second = await soon(session.submit("b"))
    with pytest.raises(SessionOverloaded, match=r"sessions\.queue"):
        await soon(session.submit("c"))
    gate.go_on.set()
    assert [(await soon(turn.result())).text for turn in (first, second)] == ["1", "2"]
    assert stage.host.queue.counts == {"submitted": 2, "done": 2, "failed": 0, "cancelled": 0, "refused": 1}


async def test_a_deadline_includes_the_waiting(stage: Stage, script: Any) -> None:
    """A turn whose deadline passes while it waits fails then, not when its turn would have come."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("1")])
    first = await soon(session.submit("a"))
    await gate.inside.wait()
    with pytest.raises(TurnDeadline, match="while it waited"):
        await soon(session.ask("b", deadline=0.01))
    gate.go_on.set()
    assert (await soon(first.result())).text == "1"


@pytest.mark.parametrize("bound", [{"finished_turns": 2}, {"finished_bytes": 1024}], ids=["number", "bytes"])
async def test_events_of_old_turns_are_let_go_of(stage: Stage, script: Any, bound: dict[str, int]) -> None:
    """The events of the last finished turns can be read again; of an older one, how it ended."""
    text = "x" * 2000
    session = await stage.open(*(script.says(text) for _ in range(4)), **bound)
    replies = [await soon(session.ask("x")) for _ in range(4)]
    last = [event async for event in session.turn(replies[-1].turn_id).stream()]
    assert [type(event) for event in last] == [StepStarted, TextDelta, TurnDone]
    assert [event async for event in session.turn(replies[0].turn_id).stream()] == [TurnDone(replies[0])]
    assert await soon(session.turn(replies[0].turn_id).result()) == replies[0]


async def test_unknown_ids(stage: Stage) -> None:
    """A turn that never was, and what is no turn's id, are errors that say so."""
    session = await stage.open()
    for ask in (session.turn("s1:none").result(), session.turn("s1:none").cancel()):
        with pytest.raises(UnknownTurn):
            await soon(ask)
    with pytest.raises(UnknownTurn, match="no turn's id"):
        session.turn("none")
    assert session_of(new_turn_id("a:b")) == "a:b"


async def test_another_session_is_not_served(stage: Stage) -> None:
    """An actor that serves another session refuses, and nothing of its own is told."""
    await stage.open()
    stranger = stage.driver("s2", give_up=0.05)
    for ask in (stranger.ask("a"), stranger.history()):
        with pytest.raises(SessionLost, match="'s2' is not in this process"):
            await soon(ask)


async def test_a_prompt_that_is_no_prompt(stage: Stage) -> None:
    """A prompt of another role than user is refused before anything runs."""
    session = await stage.open()
    with pytest.raises(InvalidRequest, match="role user"):
        await soon(session.ask(Message.assistant("hi")))


class Person(pydantic.BaseModel):
    name: str


async def test_typed_output(stage: Stage, script: Any) -> None:
    """An answer comes back as the type that was asked for; one that does not fit is an error."""
    session = await stage.open(script.says('{"name": "Ada"}'), script.says("Ada"), script.says("{}"))
    reply = await soon(session.ask("who?", output=Person))
    assert reply.output == Person(name="Ada")
    with pytest.raises(OutputInvalid, match="Person"):
        await soon(session.ask("who?", output=Person))
    last = [event async for event in session.stream("who?", output=Person)][-1]
    assert isinstance(last, TurnFailed)
    assert last.partial == Message.assistant("{}")


async def test_end_lets_turns_finish(stage: Stage, script: Any) -> None:
    """A session that ends takes no more turns, and those that were taken on come to their end."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("1")], script.says("2"))
    turns = [await soon(session.submit(text)) for text in "ab"]
    results = [asyncio.create_task(turn.result()) for turn in turns]
    await gate.inside.wait()
    ending = asyncio.create_task(stage.host.end("closed", 10.0))
    await asyncio.sleep(0)
    with pytest.raises(SessionClosed, match="closed"):
        await soon(session.ask("c"))
    gate.go_on.set()
    assert await soon(ending)
    assert [(await soon(result)).text for result in results] == ["1", "2"]


async def test_end_cancels_what_is_left(stage: Stage, script: Any) -> None:
    """Turns that have not ended within the grace are cancelled, and their readers told."""
    gate = script.Gate()
    session = await stage.open([gate])
    turns = [await soon(session.submit(text)) for text in "ab"]
    results = [asyncio.create_task(turn.result()) for turn in turns]
    await gate.inside.wait()
    assert await soon(stage.host.end("closed", 0.0))
    for result in results:
        with pytest.raises(TurnCancelled):
            await soon(result)


async def test_a_session_that_cannot_be_found_is_lost(stage: Stage, script: Any) -> None:
    """Who looks for a session in vain for as long as its patience lasts gets an error that says so."""
    gate = script.Gate()
    await stage.open([gate])
    session = stage.driver(give_up=0.1)
    turn = await soon(session.submit("a"))
    await gate.inside.wait()
    reading = asyncio.create_task(turn.result())
    await asyncio.sleep(0)
    await stage.endpoint.close()
    with pytest.raises(SessionLost, match=r"for 0\.1 s"):
        await soon(reading)
    with pytest.raises(SessionLost, match="in the store"):
        await soon(session.ask("b"))


async def test_a_slow_reader_holds_nothing_back(stage: Stage, script: Any) -> None:
    """A reader that does not read neither slows its turn nor makes the process keep a message per delta."""
    count = 20_000
    session = await stage.open(script.says(*("x" for _ in range(count))))
    turn = await soon(session.submit("a"))
    events = turn.stream()
    first = await soon(anext(events))
    await soon(stage.driver().turn(turn.id).result())
    rest = [first, *[event async for event in events]]
    assert sum(len(event.text) for event in rest if isinstance(event, TextDelta)) == count
    assert len(rest) < count / 2


def test_link_errors_are_not_shown_to_users() -> None:
    """What a lost session raises is an error of sessions, not of links."""
    assert not issubclass(SessionLost, LinkError)


@pytest.mark.parametrize("deadline", [0, -1.0, float("nan"), float("inf")])
async def test_a_deadline_that_is_none_is_refused(stage: Stage, deadline: float) -> None:
    """A deadline of no time, or of no end, is refused before the turn is taken on."""
    session = await stage.open()
    with pytest.raises(InvalidRequest, match="deadline="):
        await soon(session.ask("a", deadline=deadline))


async def test_cancelling_twice_leaves_all_in_order(stage: Stage, script: Any) -> None:
    """An impatient second cancel does not cut short what the first one leaves in order."""
    gate = script.Gate()

    async def wait() -> str:
        await gate.wait()
        return "done"

    session = await stage.open(script.says(calls=(script.call("wait"),)), tools=(wait,))
    turn = await soon(session.submit("a"))
    await gate.inside.wait()
    assert await soon(asyncio.gather(turn.cancel(), turn.cancel())) == [True, True]
    with pytest.raises(TurnCancelled):
        await soon(turn.result())
    assert [message.role for message in await soon(session.history())] == ["user", "assistant", "tool"]
    assert [turn.error for turn in stage.observer.turns] == ["cancelled"]
