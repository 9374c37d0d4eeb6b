"""How long, and how often, a session is asked for that does not answer."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.link import LinkBroken, StreamReset
from llmgine.actors.sessions.client import asking
from llmgine.actors.sessions.client.asking import MOVED, Link, Patience
from llmgine.actors.sessions.errors import SessionMoved


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every pause that is made, none of which takes any time."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(asking.asyncio, "sleep", sleep)  # type: ignore[attr-defined]
    return made


def patience() -> Patience:
    async def nowhere() -> Any:
        raise AssertionError("nothing is looked up here")

    return Patience("s", Link(nowhere), 60.0)


@pytest.mark.parametrize("moved", [SessionMoved("it sleeps"), StreamReset(MOVED, "it sleeps")])
async def test_a_session_that_has_moved_is_looked_up_at_once(pauses: list[float], moved: Exception) -> None:
    """Whoever asks a session that sleeps has no pause before it is woken; one that moves on and on has."""
    asked = patience()
    await asked.after(moved)
    assert pauses == []
    await asked.after(moved)
    assert len(pauses) == 1
    asked.told()
    await asked.after(moved)
    assert len(pauses) == 1


async def test_a_process_that_does_not_answer_is_given_time(pauses: list[float]) -> None:
    """Nobody knows yet that it is gone, so it is asked again after a pause."""
    await patience().after(LinkBroken("the peer is gone"))
    assert len(pauses) == 1
