"""What becomes of a turn that comes while another runs."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.sessions.errors import SessionBusy, TurnCancelled
from llmgine.providers.errors import InvalidRequest
from llmgine.providers.events import TextDelta
from tests.actors.sessions.stage import Stage, soon


async def test_refused(stage: Stage, script: Any) -> None:
    """A turn that would have to wait is refused where it or its session says so, and else taken."""
    gate = script.Gate()
    script_of = ([gate, *script.says("1")], script.says("2"), script.says("3"))
    session = await stage.open(*script_of, opening={"when_busy": "refuse"})
    first = await soon(session.submit("a"))
    with pytest.raises(SessionBusy, match="when_busy"):
        await soon(session.ask("b"))
    behind = await soon(session.submit("c", when_busy="queue"))
    gate.go_on.set()
    assert (await soon(first.result())).text == "1"
    assert (await soon(behind.result())).text == "2"
    assert (await soon(session.ask("d"))).text == "3"


async def test_interrupted(stage: Stage, script: Any) -> None:
    """A turn that interrupts cancels the one that runs, which says why, and goes before those that wait."""
    gate = script.Gate()
    session = await stage.open([TextDelta(0, "Hal"), gate], script.says("now"), script.says("later"))
    first = await soon(session.submit("a"))
    behind = await soon(session.submit("b"))
    await gate.inside.wait()
    assert (await soon(session.ask("c", when_busy="interrupt"))).text == "now"
    with pytest.raises(TurnCancelled, match="took its place"):
        await soon(first.result())
    assert (await soon(behind.result())).text == "later"
    texts = [message.text for message in await soon(session.history())]
    assert texts == ["a", "Hal", "c", "now", "b", "later"]


async def test_an_interruption_outlives_the_process(stage: Stage, script: Any) -> None:
    """Killed before the interrupted turn could end, the session goes on with the one that took its place."""
    session = await stage.open([script.Gate()], [script.Gate()])
    await soon(session.submit("a"))
    behind = await soon(session.submit("b"))
    taking = await soon(session.submit("c", when_busy="interrupt"))
    await stage.kill()
    await stage.wake(script.says("now"), script.says("later"))
    assert (await soon(taking.result())).text == "now"
    assert (await soon(behind.result())).text == "later"


async def test_what_is_no_such_word_is_refused(stage: Stage) -> None:
    """Another word than the three is an error that lists them."""
    session = await stage.open()
    with pytest.raises(InvalidRequest, match="queue, interrupt, refuse"):
        await soon(session.ask("a", when_busy="later"))  # type: ignore[arg-type]
