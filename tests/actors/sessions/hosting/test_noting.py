"""Notes and searches of a live session."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.sessions.errors import ContextError
from llmgine.providers.errors import InvalidRequest
from tests.actors.sessions.stage import Stage, soon


async def test_notes_outlive_the_process(stage: Stage, script: Any) -> None:
    """A note is kept when it is confirmed, is seen by every driver, and never by a model."""
    session = await stage.open(script.says("one"))
    await soon(session.ask("a"))
    await soon(session.note(1, "rating", {"stars": 5}))
    await stage.kill()
    await stage.wake(script.says("two"))
    assert await soon(stage.driver().notes()) == {1: {"rating": {"stars": 5}}}
    await soon(session.ask("b"))
    assert "stars" not in stage.models.requests[0].model_dump_json()
    await soon(session.note(1, "rating", None))
    assert await soon(session.notes()) == {}
    with pytest.raises(ContextError, match="there is no message 9"):
        await soon(session.note(9, "rating", 1))
    with pytest.raises(InvalidRequest, match="JSON"):
        await soon(session.note(0, "rating", object()))


async def test_a_search(stage: Stage, script: Any) -> None:
    """The newest messages with all words come first, no more than asked for."""
    session = await stage.open(script.says("Blue sky"), script.says("Blue sea"))
    await soon(session.ask("sky?"))
    await soon(session.ask("sea?"))
    assert [(found.message, found.excerpt) for found in await soon(session.search("blue", 1))] == [
        (3, "Blue sea")
    ]
    assert [found.message for found in await soon(session.search("SKY", 9))] == [1, 0]
