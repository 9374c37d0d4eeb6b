"""A session of which something was damaged in its store goes on from what is left, or says that it cannot."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.sessions.journal.records import TurnBegan
from llmgine.actors.store import OperationRefused
from llmgine.actors.store.operations import SetAside
from llmgine.actors.store.session_operations import (
    Activate,
    AppendEntries,
    PutSnapshot,
)
from llmgine.providers.contracts import Message
from tests.actors.sessions.running.test_handed_over import THEIRS, results
from tests.actors.sessions.stage import Stage, soon, texts


async def test_a_session_whose_row_was_damaged_has_its_history(stage: Stage, script: Any) -> None:
    """Opened as a new one it goes on after what is there, and loses nothing that it says from then on."""
    session = await stage.open(script.says("one"))
    await soon(session.ask("a"))
    await stage.settle()
    await stage.kill()
    stage.engine.ledger.apply([SetAside("session", "s1", "it is no table of values")])
    await stage.wake(script.says("two"))
    await soon(session.ask("b"))
    await stage.settle()
    await stage.kill()
    await stage.wake()
    assert await texts(session) == ["a", "one", "b", "two"]


@pytest.mark.parametrize("upto", [0, 1])
async def test_a_damaged_snapshot_is_out_of_the_way_once(stage: Stage, script: Any, upto: int) -> None:
    """The session begins anew, and what it says from then on is there the next time."""
    ledger = stage.engine.ledger
    ledger.apply([Activate("s1", 0, 1, "h", 1), AppendEntries("s1", 1, 1, (b"?",))])
    ledger.apply([PutSnapshot("s1", 1, upto, b"no snapshot")])
    session = await stage.open(script.says("one"))
    await soon(session.ask("a"))
    await stage.settle()
    await stage.kill()
    await stage.wake()
    assert await texts(session) == ["a", "one"]
    assert "entry s1/0" in ledger.aside


async def test_a_session_with_a_damaged_journal(stage: Stage, script: Any) -> None:
    """A session whose journal is damaged opens with what came before, says so, and goes on."""
    session = await stage.open(script.says("one"), script.says("two"))
    assert (await soon(session.ask("a"))).text == "one"
    await stage.settle()
    entries = stage.engine.sessions._ledger.entries["s1"]
    last = max(entries)
    assert (await soon(session.ask("b"))).text == "two"
    await stage.kill()
    entries[last + 3] = b"{"
    await stage.wake(script.says("three"))
    assert "no entry" in (await soon(session.describe()))["damage"]
    assert (await soon(session.ask("c"))).text == "three"
    await stage.kill()
    await stage.wake()
    assert (await texts(session))[-1] == "three"
    assert (await soon(session.describe()))["damage"] is None


async def test_a_journal_damaged_in_a_turn_of_results(stage: Stage, script: Any) -> None:
    """The session opens, and the calls wait for their results again."""
    session = await stage.open(script.says(calls=(script.call("theirs", "c1"),)), script.says("lost"))
    await soon(session.turn_of([Message.user("a")], tools=THEIRS).result())
    await stage.settle()
    entries = stage.engine.sessions._ledger.entries["s1"]
    last = max(entries)
    await soon(session.turn_of([results("c1")], tools=THEIRS).result())
    await stage.kill()
    entries[last + 4] = b"{"  # what follows the results
    await stage.wake(script.says("again"))
    assert [call.id for call in stage.host.conversation.context.open_calls] == ["c1"]
    assert (await soon(session.turn_of([results("c1")], tools=THEIRS).result())).text == "again"


async def test_a_session_whose_journal_broke_goes_on_from_what_is_kept(stage: Stage, script: Any) -> None:
    """Its process takes no more turns and lets go of it; the next one has all that was acknowledged."""
    session = await stage.open(script.says("one"))
    await soon(session.ask("a"))
    stage.host._journal.append(TurnBegan("s1:x", object()))  # type: ignore[arg-type]
    with pytest.raises(OperationRefused):
        await stage.settle()
    with pytest.raises(OperationRefused):
        await soon(session.ask("b"))
    assert not stage.host.is_kept
    assert await soon(stage.host.passivate())
    await stage.wake(script.says("two"))
    assert (await soon(session.ask("b"))).text == "two"
    assert await texts(session) == ["a", "one", "b", "two"]
