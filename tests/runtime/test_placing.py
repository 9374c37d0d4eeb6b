"""Whether a session may share its process with others."""

from __future__ import annotations

import pytest

from llmgine.actors.sessions.hosting.code import SessionCode
from llmgine.actors.sessions.hosting.handlers import as_handlers
from llmgine.actors.sessions.running.engines import Step, ToolChatEngine, TurnView
from llmgine.runtime import Event, ToolDefinitionError, on, tool
from llmgine.runtime.placing import placed


def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@on(Event)
async def heard(event: Event) -> None:
    """A handler that a session has."""


class OwnEngine(ToolChatEngine):
    """One of a user's own."""

    def next(self, view: TurnView) -> Step:
        return super().next(view)


PLAIN = SessionCode((tool(add),))
TRUSTED = SessionCode(
    (tool(trusted=True)(add), tool(process=True, name="b")(add), tool(remote=True, name="c")(add))
)


def test_the_wish_wins_over_the_settings() -> None:
    """A session goes where it says, else where the settings say."""
    assert placed(None, "dedicated", None, False) == "dedicated"
    assert placed(None, "pooled", None, False) == "pooled"
    assert placed("dedicated", "pooled", TRUSTED, False) == "dedicated"
    assert placed("pooled", "dedicated", TRUSTED, False) == "pooled"


def test_code_that_is_not_trusted_shares_no_process() -> None:
    """It is refused where sharing was asked for, and has an actor of its own where that is the default."""
    with pytest.raises(ToolDefinitionError, match=r"add cannot be a tool.*trusted=True"):
        placed("pooled", "dedicated", PLAIN, False)
    with pytest.raises(ToolDefinitionError, match="OwnEngine"):
        placed("pooled", "dedicated", SessionCode(engine=OwnEngine()), False)
    with pytest.raises(ToolDefinitionError, match="heard"):
        placed("pooled", "dedicated", SessionCode(handlers=as_handlers([heard])), False)
    assert placed(None, "pooled", PLAIN, False) == "dedicated"


def test_a_session_may_trust_all_of_its_code() -> None:
    """Then each part of it may share a process."""
    assert placed("pooled", "dedicated", PLAIN, True) == "pooled"
    assert placed(None, "pooled", SessionCode(engine=OwnEngine()), True) == "pooled"
