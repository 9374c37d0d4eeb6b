"""What is kept of sessions: listed, shown, closed, deleted, copied."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmgine.runtime import (
    ImagePart,
    InvalidRequest,
    Message,
    Runtime,
    SessionConflict,
    SessionNotFound,
    Window,
)


@pytest_asyncio.fixture
async def runtime(clean_environ: object) -> AsyncIterator[Runtime]:
    async with Runtime.in_process() as opened:
        yield opened


async def used(runtime: Runtime, id: str, *prompts: str, stay: bool = False) -> None:
    """A session that was asked these and left."""
    async with runtime.session(id, model="scripted/echo", stay=stay) as session:
        for prompt in prompts:
            await session.ask(prompt)


async def states(runtime: Runtime, **which: Any) -> dict[str, str]:
    return {one.id: one.state async for one in runtime.sessions.list(**which)}


async def test_sessions_are_listed_by_what_they_have_in_common(runtime: Runtime) -> None:
    """All that are kept, in the order of their making, or those of a state or a beginning."""
    await used(runtime, "a/1", "one")
    await used(runtime, "b/1", "one", stay=True)
    await used(runtime, "a/2")
    assert await states(runtime) == {"a/1": "closed", "b/1": "open", "a/2": "closed"}
    assert await states(runtime, prefix="a/") == {"a/1": "closed", "a/2": "closed"}
    assert await states(runtime, state="open") == {"b/1": "open"}
    assert await states(runtime, pending=True) == {}
    with pytest.raises(InvalidRequest, match="state="):
        await states(runtime, state="asleep")


async def test_a_list_goes_beyond_a_page(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, each is told once."""
    monkeypatch.setattr("llmgine.runtime.sessions._PAGE", 2)
    for number in range(5):
        await used(runtime, f"s{number}")
    assert list(await states(runtime)) == [f"s{number}" for number in range(5)]


async def test_one_session_is_shown_with_its_turns(runtime: Runtime) -> None:
    """Its state, its counts, and its newest turns first; one that never was is no session."""
    await used(runtime, "s", "one", "two")
    shown = await runtime.sessions.show("s")
    assert (shown.state, shown.model, shown.turns, shown.messages) == ("closed", "scripted/echo", 2, 4)
    assert shown.active >= shown.created
    json.dumps(shown.to_json())
    last, first = await runtime.sessions.turns("s")
    assert [last.state, first.state] == ["done", "done"]
    assert last.created > first.created
    assert last.trace
    with pytest.raises(SessionNotFound, match="'other'"):
        await runtime.sessions.show("other")


async def test_a_closed_session_opens_with_its_history(runtime: Runtime) -> None:
    """Closing ends it for everybody; opening the id again goes on where it was."""
    async with runtime.session("s", model="scripted/echo", stay=True) as session:
        await session.ask("one")
    await runtime.sessions.close("s")
    assert await states(runtime) == {"s": "closed"}
    async with runtime.session("s", model="scripted/echo") as session:
        assert [message.role for message in await session.history()] == ["user", "assistant"]


async def test_a_turn_of_a_session_that_has_ended_can_be_neither_cancelled_nor_steered(
    runtime: Runtime,
) -> None:
    """Its handle says so, as where the session is still open; of one that never was, that it is unknown."""
    async with runtime.session("s", model="scripted/echo") as session:
        turn = await session.submit("one")
        await turn.result()
    assert await runtime.turn(turn.id).cancel() is False
    assert await runtime.turn(turn.id).steer("two") is False
    with pytest.raises(SessionNotFound):
        await runtime.turn("s:never").cancel()


async def test_nothing_is_left_of_a_deleted_session(runtime: Runtime) -> None:
    """It is in no list, its turns are unknown, and its id begins anew."""
    await used(runtime, "s", "one", stay=True)
    await runtime.sessions.delete("s")
    assert await states(runtime) == {}
    assert await runtime.sessions.turns("s") == ()
    async with runtime.session("s", model="scripted/echo") as session:
        assert await session.history() == ()


async def test_a_fork_goes_its_own_way(runtime: Runtime) -> None:
    """It has the history up to a message; what is said there is not said here."""
    await used(runtime, "s", "one", "two")
    whole, half = await runtime.sessions.fork("s"), await runtime.sessions.fork("s", "half", at=2)
    assert half == "half"
    async with runtime.session(half, model="scripted/echo") as session:
        await session.ask("other")
        assert [message.text for message in await session.history()] == ["one", "one", "other", "other"]
    assert (await runtime.sessions.show(whole)).messages == 4
    assert (await runtime.sessions.show("s")).messages == 4
    with pytest.raises(SessionConflict, match="'half'"):
        await runtime.sessions.fork("s", "half")


async def test_a_large_session_is_forked(runtime: Runtime) -> None:
    """Its texts together may be more than one message to the store holds."""
    size = 6 << 20
    async with runtime.session("s", model="scripted/echo", window=Window.messages(2)) as session:
        for letter in "abc":
            await session.ask(letter * size)
    forked = await runtime.sessions.fork("s")
    assert (await runtime.sessions.show(forked)).messages == 6
    async with runtime.session(forked, model="scripted/echo") as session:
        assert [message.text[0] for message in await session.history()] == list("aabbcc")


async def test_a_session_goes_to_another_runtime_as_json(clean_environ: Path, tmp_path: Path) -> None:
    """What was exported is a session there: messages with their media, in the same order."""
    picture = Message.user("Look.", ImagePart(data=bytes(range(256)) * 100))
    async with Runtime.in_process({"data_dir": tmp_path / "a"}) as runtime:
        async with runtime.session("s", model="scripted/echo", system="Be brief.") as session:
            await session.ask(picture)
            before = await session.history()
        exported = await runtime.sessions.export("s")
    value = json.loads(exported)
    assert (value["format"], value["version"]) == ("llmgine.session", 1)
    assert value["record"]["system"] == "Be brief."
    async with Runtime.in_process({"data_dir": tmp_path / "b"}) as runtime:
        made = await runtime.sessions.import_(exported)
        assert (await runtime.sessions.show(made)).messages == 2
        async with runtime.session(made, model="scripted/echo") as session:
            assert await session.history() == before
            await session.ask("and now?")
        with pytest.raises(SessionConflict):
            await runtime.sessions.import_(exported, made)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("[]", "no exported session"),
        ("{", "no exported session"),
        ('{"format": "other", "version": 1}', "its format is 'other'"),
        ('{"format": "llmgine.session", "version": 9}', "version 9"),
        ('{"format": "llmgine.session", "version": 1, "record": "x", "context": {}}', "no exported session"),
        ('{"format": "llmgine.session", "version": 1, "record": {}, "context": 3}', "no exported session"),
    ],
)
async def test_what_is_no_export_is_refused(runtime: Runtime, data: str, reason: str) -> None:
    """The reason is told and no session is made."""
    with pytest.raises(InvalidRequest, match=reason):
        await runtime.sessions.import_(data)
    assert await states(runtime) == {}


async def test_what_is_not_kept_cannot_be_copied(runtime: Runtime) -> None:
    """Neither exported nor forked."""
    for verb in (runtime.sessions.export, runtime.sessions.fork):
        with pytest.raises(SessionNotFound):
            await verb("never")
