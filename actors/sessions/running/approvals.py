"""How a turn has a tool call approved: the question, who answers it, and what the model is told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from llmgine.actors.sessions.turns.events import TurnEvent
from llmgine.providers.contracts import TextPart, ToolCallPart, ToolResultPart


@dataclass(frozen=True, slots=True)
class Question:
    """May this call be run? `expiry` is in seconds, None for the session's own.

    `run` counts the runs of the call: after a crash the leave for the first one is none for a second.
    """

    turn_id: str
    call: ToolCallPart
    reason: str
    expiry: float | None = None
    run: int = 1

    @property
    def id(self) -> str:
        """The same wherever and however often the same is asked."""
        asked = "\x1f".join((self.turn_id, self.call.id, str(self.run)))
        return f"a-{hashlib.blake2b(asked.encode(errors='replace'), digest_size=8).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Decision:
    """How a question was answered, by whom, and what they said; an expired one counts as denied."""

    state: Literal["approved", "denied", "expired"]
    by: str = ""
    note: str = ""

    @property
    def approved(self) -> bool:
        return self.state == "approved"


Waiting = Callable[[], AbstractContextManager[None]]


class Approvals(Protocol):
    """Asks whoever may approve, and waits however long that takes."""

    async def ask(self, question: Question, emit: Callable[[TurnEvent], None], waiting: Waiting) -> Decision:
        """The decision; asked before, it is the one that was made then.

        Both go into the turn's stream; while nothing is to be done but to wait for it, `waiting()` holds.
        """
        ...

    def withdraw(self, turn_id: str) -> None:
        """The turn has ended: nobody need answer what it still asks."""
        ...


class NobodyApproves:
    """Denies everything at once."""

    async def ask(self, question: Question, emit: Callable[[TurnEvent], None], waiting: Waiting) -> Decision:
        return Decision("denied", "", "There is nobody here who could approve it.")

    def withdraw(self, turn_id: str) -> None:
        return


def not_run(call: ToolCallPart, decision: Decision, *, again: bool = False) -> ToolResultPart:
    """What the model is told of a call that was not approved; `again`: it may have taken effect before."""
    run = "run again" if again else "run"
    if decision.state == "expired":
        text = f"{call.name} was not {run}: nobody approved it in time."
    else:
        text = f"{call.name} was not {run}: {decision.by or 'somebody'} denied it."
    if decision.note:
        text = f"{text} They said: {decision.note}" if decision.by else f"{text} {decision.note}"
    if again:
        text += " The process that ran it first died, so whether it has taken effect is unknown."
    return ToolResultPart(call_id=call.id, name=call.name, content=(TextPart(text=text),), is_error=True)
