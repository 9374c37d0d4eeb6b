"""Any error as the refusal that a client is answered with."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from llmgine.actors.bus.errors import BusError, UnknownLetter
from llmgine.actors.control import (
    ActorAway,
    ActorGone,
    ClusterGone,
    RuntimeNotFound,
    RuntimeStopping,
)
from llmgine.actors.gateway.errors import (
    Conflict,
    Internal,
    NotFound,
    NotReady,
    Refusal,
    TooManyRequests,
    Unprocessable,
    Upstream,
)
from llmgine.actors.link import LinkError
from llmgine.actors.pools.errors import PoolChangeRefused, PoolNotReady
from llmgine.actors.sessions import SessionBusy, SessionError, SessionLost, UnknownTurn
from llmgine.actors.store import AlreadyAnswered, StoreError, UnknownApproval
from llmgine.providers import (
    InvalidRequest,
    LlmgineError,
    MissingKey,
    ModelNotInstalled,
    ProviderError,
    UnknownModel,
)
from llmgine.providers.errors import ErrorKind

logger = logging.getLogger(__name__)

_BY_CLASS: Mapping[type[LlmgineError], type[Refusal]] = {
    UnknownLetter: NotFound,
    UnknownApproval: NotFound,
    AlreadyAnswered: Conflict,
    UnknownTurn: NotFound,
    UnknownModel: NotFound,
    InvalidRequest: Unprocessable,
    PoolChangeRefused: Unprocessable,
    MissingKey: NotReady,
    ModelNotInstalled: NotReady,
    PoolNotReady: NotReady,
    SessionBusy: Conflict,
    SessionLost: NotReady,
    SessionError: Conflict,
    RuntimeNotFound: NotReady,
    RuntimeStopping: NotReady,
    ActorAway: NotReady,
    ActorGone: NotReady,
    ClusterGone: NotReady,
    LinkError: NotReady,
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
    if isinstance(error, ProviderError):
        kind = _BY_KIND.get(error.kind, Upstream)
        return kind(error.message, hint=error.hint or "", retry_after=error.retry_after)
    if isinstance(error, LlmgineError):
        for known in type(error).__mro__:
            if known in _BY_CLASS:
                return _BY_CLASS[known](str(error))
    logger.error("a request failed", exc_info=error)
    return Internal("the gateway failed at this request; its log says how")
