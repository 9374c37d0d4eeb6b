"""What goes wrong in a session, as one picklable tree.

LlmgineError
├── ToolDefinitionError      a function cannot be described as a tool; says why and what mends it
├── ToolError                raised by a tool: the model is told its text, and no more
├── MissingSecret            a secret that a tool asked for is in none of the places looked at
├── ContextError             a message would break the pairing or the order of a conversation
│   └── WindowTooSmall       what has to be shown to the model does not fit into the session's window
├── SessionError             the session as a whole
│   ├── SessionLost          it could not be found again in time
│   ├── SessionMoved         it lives elsewhere by now, or sleeps; whoever asks looks it up again
│   ├── SessionClosed        it has ended, or is about to
│   ├── WouldDeadlock        a turn of this session waits for the code that asks it
│   └── RuntimeOverloaded    no actor takes one more session now; says when to ask again
└── TurnError                one turn did not come to its end
    ├── TurnCancelled        somebody cancelled it
    ├── TurnDeadline         its time was up
    ├── LimitReached         it used up what it was given
    │   ├── StepLimit        model calls
    │   ├── TokenLimit       tokens of all its model calls
    │   ├── CostLimit        US dollars
    │   └── TimeLimit        seconds of running
    ├── EngineFailed         the engine, or code that it runs, raised
    ├── OutcomeUnknown       a tool that may not run twice was at work when its process died
    ├── UnknownTurn          no turn is known by that id
    ├── SessionBusy          a turn runs already, and this one was not to wait
    └── SessionOverloaded    too many turns wait in this session

A failed model call is raised as its own `ProviderError`, unwrapped, a turn that cannot be kept as the
store's `StoreError`; an answer that is not what `output=` asked for as the providers' `OutputInvalid`; code
that cannot travel as `UnsendableCode` or `CodeUnavailable`.
"""

from __future__ import annotations

from typing import Any

import llmgine.actors.store.errors as store_errors
import llmgine.providers.errors as provider_errors
from llmgine.actors.code import CodeUnavailable
from llmgine.providers.errors import LlmgineError, ProviderError


class ToolDefinitionError(LlmgineError):
    """A function cannot be described as a tool; the message names it, the reason, and what mends it."""

    def __init__(self, function: str, reason: str) -> None:
        super().__init__(f"{function} cannot be a tool: {reason}")
        self.function = function
        self.reason = reason


class ToolError(LlmgineError):
    """Raised by a tool to tell the model in these words why it cannot; the call is not made again."""


class MissingSecret(LlmgineError):
    """No place holds the secret that a tool asked for; the message names the places."""


class ContextError(LlmgineError):
    """The message does not fit the conversation, which is unchanged."""


class WindowTooSmall(ContextError):
    """The prompt, what is pinned and the last step alone are more than the session's window may show."""


class SessionError(LlmgineError):
    """The session as a whole cannot do what was asked."""


class SessionLost(SessionError):
    """The session could not be reached for as long as the caller waits; its turns go on where it wakes."""


class SessionMoved(SessionError):
    """This process does not serve the session any more; it is found again by its id."""


class SessionClosed(SessionError):
    """The session has ended or is ending and takes no more turns."""


class WouldDeadlock(SessionError):
    """A turn of this session waits for whoever asks here, so the answer would never come."""


class RuntimeOverloaded(SessionError):
    """No actor takes one more session now; after `retry_after` seconds it is worth asking again."""

    def __init__(self, text: str, retry_after: float = 1.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class TurnError(LlmgineError):
    """A turn did not come to its end."""


class TurnCancelled(TurnError):
    """The turn was cancelled; what had been answered stays in the conversation."""

    error_type = "cancelled"  # in spans and figures, as of everything that was cut off


class TurnDeadline(TurnError):
    """The turn's time was up; what had been answered stays in the conversation."""


class LimitReached(TurnError):
    """The turn used up what it was given; its finished steps stay in the conversation. `limit` names it."""

    limit = ""


class StepLimit(LimitReached):
    """The turn made its number of model calls without an answer."""

    limit = "steps"


class TokenLimit(LimitReached):
    """The model calls of the turn used up its tokens without an answer."""

    limit = "tokens"


class CostLimit(LimitReached):
    """The model calls of the turn used up its money without an answer."""

    limit = "cost"


class TimeLimit(LimitReached):
    """The turn ran for as long as it may; what had been said of its answer stays too."""

    limit = "seconds"


class EngineFailed(TurnError):
    """The engine, or what it asked for, raised something that is no error of a model call."""


class OutcomeUnknown(TurnError):
    """A tool that may not run twice was at work when the session's process died; `recovery` says so."""


class UnknownTurn(TurnError):
    """The session knows no turn by that id, or has let go of it."""


class SessionBusy(TurnError):
    """A turn runs in this session, and this one was to be refused then."""


class SessionOverloaded(TurnError):
    """Too many turns wait in this session; the message names the option that bounds them."""


_TRAVELLING: dict[str, type[LlmgineError]] = {
    kind.__name__: kind
    for kind in (
        CodeUnavailable,
        ContextError,
        WindowTooSmall,
        SessionError,
        SessionLost,
        SessionMoved,
        SessionClosed,
        WouldDeadlock,
        TurnError,
        TurnCancelled,
        TurnDeadline,
        LimitReached,
        StepLimit,
        TokenLimit,
        CostLimit,
        TimeLimit,
        EngineFailed,
        OutcomeUnknown,
        UnknownTurn,
        SessionBusy,
        SessionOverloaded,
        store_errors.StoreUnavailable,
        store_errors.StoreDamaged,
        store_errors.StoreReplaced,
        store_errors.OperationRefused,
        provider_errors.UnknownModel,
        provider_errors.ModelNotInstalled,
        provider_errors.MissingKey,
        provider_errors.InvalidRequest,
        provider_errors.OutputInvalid,
    )
}


def error_to_wire(error: LlmgineError) -> dict[str, Any]:
    """Plain values; `error_from_wire` gives back an equal error of a known class."""
    if isinstance(error, ProviderError):
        return {"class": "ProviderError", "fields": error.to_wire()}
    name = next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _TRAVELLING), "TurnError")
    text = str(error) if type(error).__name__ == name else f"{type(error).__name__}: {error}"
    return {"class": name, "text": sendable(text)}


def sendable(text: str) -> str:
    """The text with a question mark for each lone surrogate, which no UTF-8 holds."""
    return text.encode(errors="replace").decode()


def error_from_wire(wire: dict[str, Any]) -> LlmgineError:
    """The error that was sent; an unknown class arrives as `TurnError` with its text."""
    if wire["class"] == "ProviderError":
        return ProviderError.from_wire(wire["fields"])
    kind = _TRAVELLING.get(wire["class"])
    return TurnError(f"{wire['class']}: {wire['text']}") if kind is None else kind(wire["text"])
