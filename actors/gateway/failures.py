"""Any error as the refusal that a client is answered with."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from llmgine.actors.bus.errors import BusError, UnknownLetter
from llmgine.actors.control import (
    ActorAway,
    ActorGone,
    ClusterGone,
    ControlError,
    RuntimeNotFound,
    RuntimeStopping,
    SessionNotFound,
    StartFailed,
)
from llmgine.actors.gateway.errors import (
    Conflict,
    Internal,
    NotFound,
    NotReady,
    Refusal,
    TooManyRequests,
    Unfinished,
    Unprocessable,
    Upstream,
)
from llmgine.actors.link import LinkError, NotSendable
from llmgine.actors.pools.errors import PoolChangeRefused, PoolError, PoolNotReady
from llmgine.actors.sessions import (
    CodeUnavailable,
    ContextError,
    RuntimeOverloaded,
    SessionBusy,
    SessionError,
    SessionLost,
    SessionOverloaded,
    TurnError,
    UnknownTurn,
)
from llmgine.actors.store import AlreadyAnswered, StoreError, UnknownApproval
from llmgine.actors.telemetry import TelemetryError
from llmgine.providers import (
    InvalidRequest,
    LlmgineError,
    MissingKey,
    ModelNotInstalled,
    OutputInvalid,
    ProviderError,
    UnknownModel,
)
from llmgine.providers.errors import ErrorKind

logger = logging.getLogger(__name__)

# Of an error's class and those above it the first that is here.
_BY_CLASS: Mapping[type[LlmgineError], type[Refusal]] = {
    UnknownLetter: NotFound,
    UnknownApproval: NotFound,
    AlreadyAnswered: Conflict,
    UnknownTurn: NotFound,
    UnknownModel: NotFound,
    InvalidRequest: Unprocessable,
    OutputInvalid: Upstream,
    PoolChangeRefused: Unprocessable,
    MissingKey: NotReady,
    ModelNotInstalled: NotReady,
    PoolNotReady: NotReady,
    PoolError: Conflict,
    ContextError: Unprocessable,
    CodeUnavailable: Conflict,
    SessionBusy: Conflict,
    SessionOverloaded: TooManyRequests,
    TurnError: Unfinished,
    SessionLost: NotReady,
    RuntimeOverloaded: NotReady,
    SessionError: Conflict,
    RuntimeNotFound: NotReady,
    RuntimeStopping: NotReady,
    ActorAway: NotReady,
    ActorGone: NotReady,
    ClusterGone: NotReady,
    StartFailed: NotReady,
    SessionNotFound: NotFound,
    ControlError: Conflict,
    NotSendable: Unprocessable,
    LinkError: NotReady,
    TelemetryError: NotReady,
    StoreError: NotReady,
    BusError: Conflict,
}
_BY_KIND: Mapping[ErrorKind, type[Refusal]] = {
    ErrorKind.NOT_FOUND: NotFound,
    ErrorKind.INVALID_REQUEST: Unprocessable,
    ErrorKind.UNSUPPORTED: Unprocessable,
    ErrorKind.CONTEXT_LENGTH: Unprocessable,
    ErrorKind.CONTENT_FILTER: Unprocessable,
    ErrorKind.RATE_LIMIT: TooManyRequests,
    ErrorKind.OVERLOADED: NotReady,
}


def refusal_of(error: Exception) -> Refusal:
    """The refusal that says as much of the error as a client may know; what is our mistake is logged."""
    if isinstance(error, Refusal):
        return error
    kind = _kind_of(error)
    if isinstance(error, ProviderError):
        return kind(error.message, hint=error.hint or "", retry_after=error.retry_after)
    if kind is Internal:
        logger.error("a request failed", exc_info=error)
        return Internal("the gateway failed at this request; its log says how")
    return kind(str(error), retry_after=error.retry_after if isinstance(error, RuntimeOverloaded) else None)


def wait_of(seconds: float) -> str:
    """What `retry-after` says of it: whole seconds, so many that whoever waits for them is not too early."""
    return str(max(1, math.ceil(seconds)))


def reason_of(error: Exception) -> str:
    """The name of the kind of refusal that the error comes to."""
    return _kind_of(error).type


def _kind_of(error: Exception) -> type[Refusal]:
    if isinstance(error, Refusal):
        return type(error)
    if isinstance(error, ProviderError):
        return _BY_KIND.get(error.kind, Upstream)
    return next((_BY_CLASS[known] for known in type(error).__mro__ if known in _BY_CLASS), Internal)
