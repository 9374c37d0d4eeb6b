"""How a turn goes on whose process died under it: a pure decision by the policy that it began with.

Finished steps are kept, an unfinished model call is made again. A tool that had returned is not run
again, nor one that may not run twice and might have had its effect, nor one under which the process has
died each time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from llmgine.actors.sessions.errors import OutcomeUnknown, TurnCancelled
from llmgine.actors.sessions.journal.records import ApprovalAnswered, ApprovalAsked, ToolBegan
from llmgine.actors.sessions.journal.state import Progress
from llmgine.providers.contracts import TextPart, ToolCallPart, ToolResultPart
from llmgine.providers.errors import LlmgineError

# Under a call that was begun so often and never returned the process dies again.
_MOST_RUNS: Final = 3


@dataclass(frozen=True, slots=True)
class Continuation:
    """What is left of an unfinished turn.

    `results` are those of calls that had returned, `unknown` those to be told of calls that may have had
    their effect or have killed their process too often. The calls of `asked` run again only where somebody
    allows it; each has the number of that run. Those of `leave` had asked for leave before their first run,
    for that reason; those of `approved` have it. With `error` the turn ends instead.
    """

    results: dict[str, ToolResultPart] = field(default_factory=dict)
    unknown: dict[str, ToolResultPart] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    leave: dict[str, str] = field(default_factory=dict)
    approved: frozenset[str] = frozenset()
    error: LlmgineError | None = None


def continuation(progress: Progress) -> Continuation:
    """How this turn goes on."""
    if progress.cancelled:
        return Continuation(error=TurnCancelled("the turn was cancelled"))
    if progress.results is not None:
        return Continuation()
    unfinished = [began for began in progress.begun.values() if began.call.id not in progress.ended]
    uncertain = [began.call for began in unfinished if not began.idempotent]
    deadly = {
        began.call.id: never_returned(began.call)
        for began in unfinished
        if began.idempotent and _runs(progress, began.call.id) >= _MOST_RUNS
    }
    kept, leave = dict(progress.ended), _asked_for_leave(progress)
    approved = frozenset(
        call_id
        for call_id, record in progress.approvals.items()
        if isinstance(record, ApprovalAnswered) and record.decision == "approved"
    )
    if not uncertain:
        return Continuation(kept, deadly, leave=leave, approved=approved)
    match progress.began.recovery:
        case "fail":
            called = ", ".join(sorted({call.name for call in uncertain}))
            return Continuation(
                kept,
                error=OutcomeUnknown(
                    f"the session's process died while {called} ran, which may not run twice; mark the tool "
                    "idempotent=True, or have such turns go on with recovery='retry' or 'ask'"
                ),
            )
        case "ask":
            again = {call.id: _runs(progress, call.id) + 1 for call in uncertain}
            return Continuation(kept, deadly, asked=again, leave=leave, approved=approved)
        case _:
            unknown = {call.id: outcome_unknown(call) for call in uncertain}
            return Continuation(kept, deadly | unknown, leave=leave, approved=approved)


def _runs(progress: Progress, call_id: str) -> int:
    """How often the call was begun."""
    return sum(isinstance(one, ToolBegan) and one.call.id == call_id for one in progress.records)


def _asked_for_leave(progress: Progress) -> dict[str, str]:
    """The calls that wait for leave to be run for the first time, each with the reason."""
    return {
        call_id: record.reason
        for call_id, record in progress.approvals.items()
        if isinstance(record, ApprovalAsked) and call_id not in progress.begun
    }


def outcome_unknown(call: ToolCallPart) -> ToolResultPart:
    """What the model is told of a call that may have had its effect, or not."""
    text = (
        "The outcome of this call is unknown: the process that ran it died. It may have taken effect; "
        "find out before you make it again."
    )
    return _told(call, text)


def never_returned(call: ToolCallPart) -> ToolResultPart:
    """What the model is told of a call that is not run again although it might be."""
    return _told(
        call, f"This call is not run again: each of {_MOST_RUNS} times the process that ran it has died."
    )


def _told(call: ToolCallPart, text: str) -> ToolResultPart:
    return ToolResultPart(call_id=call.id, name=call.name, content=(TextPart(text=text),), is_error=True)
