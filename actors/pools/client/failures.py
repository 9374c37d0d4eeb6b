"""Failures of a call that no provider has told of: its actor was lost, nobody took it, a breaker is open."""

from __future__ import annotations

from llmgine.actors.link import EndOfStream, LinkError, NotSendable, StreamReset
from llmgine.providers import (
    ErrorKind,
    ErrorPhase,
    ErrorScope,
    InvalidRequest,
    LlmgineError,
    MissingKey,
    ModelNotInstalled,
    ProviderError,
    UnknownModel,
)
from llmgine.providers.names import ModelName

# What errors that are no failures of a call mean to a chain.
_KINDS: dict[type[LlmgineError], ErrorKind] = {
    InvalidRequest: ErrorKind.INVALID_REQUEST,
    MissingKey: ErrorKind.AUTHENTICATION,
    ModelNotInstalled: ErrorKind.NOT_FOUND,
    UnknownModel: ErrorKind.NOT_FOUND,
}


def as_failure(error: LlmgineError, model: ModelName) -> ProviderError:
    """The error as one of a call of that model; what is no known kind is a pool that cannot be reached."""
    if isinstance(error, ProviderError):
        return error
    kind = _KINDS.get(type(error), ErrorKind.CONNECTION)
    return _failure(str(error), kind, ErrorPhase.REQUEST, model, ErrorScope.MODEL)


def lost(actor: str, model: ModelName, phase: ErrorPhase, error: LinkError) -> ProviderError:
    """The actor did not say how the call ended: it is gone, or what it runs has a mistake."""
    mistake = isinstance(error, EndOfStream) or (isinstance(error, StreamReset) and error.code == "error")
    what = "failed" if mistake else "was lost"
    kind = ErrorKind.INTERNAL if mistake else ErrorKind.CONNECTION
    return _failure(f"the provider actor {actor} {what} during the call: {error}", kind, phase, model)


def unreadable(actor: str, model: ModelName, phase: ErrorPhase, error: ValueError) -> ProviderError:
    why = str(error).partition("[type=")[0].strip()  # what stands behind it is a piece of the answer
    text = (
        f"what the provider actor {actor} sent cannot be read ({why}); is one version of llmgine installed "
        "on every node?"
    )
    return _failure(text, ErrorKind.MALFORMED, phase, model)


def not_taken(model: ModelName, reasons: dict[str, str], retry_after: float) -> ProviderError:
    """No actor of the pool has taken the call."""
    details = "; ".join(f"{actor}: {reason}" for actor, reason in sorted(reasons.items()))
    error = _failure(
        f"no actor of the pool {model.provider!r} took the call ({details or 'it has no actors'})",
        ErrorKind.OVERLOADED,
        ErrorPhase.CONNECT,
        model,
    )
    error.retry_after = retry_after
    error.hint = (
        f"scale it with runtime.pools[{model.provider!r}].scale(n), or raise pools.default.max_in_flight"
    )
    return error


def too_late(model: ModelName) -> ProviderError:
    """The call's deadline passed before an actor had taken it."""
    error = _failure(
        f"its deadline passed before an actor of the pool {model.provider!r} had taken it",
        ErrorKind.TIMEOUT,
        ErrorPhase.CONNECT,
        model,
    )
    error.hint = (
        f"`llmgine pools show {model.provider}` tells whether its actors are still being started; a later "
        "deadline= waits for them"
    )
    return error


def unreached(model: ModelName, reasons: dict[str, str], retry_after: float) -> ProviderError:
    """Every actor of the pool is gone, or is being started anew."""
    details = "; ".join(f"{actor}: {reason}" for actor, reason in sorted(reasons.items()))
    text = f"no actor of the pool {model.provider!r} can be reached ({details})"
    error = _failure(text, ErrorKind.CONNECTION, ErrorPhase.CONNECT, model)
    error.retry_after = retry_after
    error.hint = f"`llmgine pools show {model.provider}` says whether others are being started"
    return error


def not_sendable(error: NotSendable) -> InvalidRequest:
    """The request does not travel to any actor."""
    return InvalidRequest(
        f"the request cannot be sent to its pool: {error}; a session that has a `window` sends only a part "
        "of a long conversation"
    )


def breaker_open(model: ModelName, seconds: float) -> ProviderError:
    """The model has failed too often lately to be asked."""
    error = _failure(
        "it failed too often lately, so that it is left alone for a while; name other models behind it "
        "in a chain, or set pools.failover.breaker",
        ErrorKind.OVERLOADED,
        ErrorPhase.REQUEST,
        model,
        ErrorScope.MODEL,
    )
    error.retry_after = seconds
    return error


def _failure(
    text: str,
    kind: ErrorKind,
    phase: ErrorPhase,
    model: ModelName,
    scope: ErrorScope = ErrorScope.ENDPOINT,
) -> ProviderError:
    return ProviderError(
        text, kind=kind, phase=phase, scope=scope, provider=model.provider, model=model.model
    )
