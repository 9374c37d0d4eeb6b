"""One call, as the parts of a provider actor hand it to each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import ValidationError

from llmgine.actors.pools.admission import Ticket
from llmgine.actors.pools.pieces import unreadable
from llmgine.actors.pools.serving.tally import CANCELLED
from llmgine.providers import (
    EmbeddingRequest,
    ErrorKind,
    ErrorPhase,
    LLMRequest,
    ProviderError,
)
from llmgine.providers.mistakes import mistakes
from llmgine.telemetry import OpenSpan

R = TypeVar("R", LLMRequest, EmbeddingRequest)

_OVERLOAD = frozenset({ErrorKind.RATE_LIMIT, ErrorKind.OVERLOADED, ErrorKind.SERVER, ErrorKind.TIMEOUT})


@dataclass(slots=True)
class Call(Generic[R]):
    """A call that was let in.

    It ends at `ends` by the loop's clock, and until `until` it may wait for whatever it needs before its
    first token. Once it runs, the deadline of `request` is what is left. Who makes several tries at it
    tells by `failed` of each after which the call has to wait; the last one's end shows in what the call
    comes to.
    `begun` says that something of the answer has been passed on, `outcome` what became of the call.
    """

    request: R
    session: str
    ends: float
    until: float
    ticket: Ticket
    span: OpenSpan
    _failed: Callable[[Call[R], ProviderError], None]
    begun: bool = False
    outcome: str = CANCELLED
    delayed_by: ProviderError | None = None

    def failed(self, error: ProviderError) -> None:
        """A try has failed, and another follows after a while."""
        self.delayed_by = error
        self._failed(self, error)


def now() -> float:
    """The time by the running loop's clock."""
    return asyncio.get_running_loop().time()


def parsed(body: bytes) -> EmbeddingRequest:
    """The request; raises `InvalidRequest`."""
    try:
        return EmbeddingRequest.model_validate_json(body)
    except ValidationError as error:
        raise unreadable(mistakes(error)) from None


def is_overload(error: ProviderError) -> bool:
    """Whether it says that the provider has more to do than it bears."""
    return error.kind in _OVERLOAD and error.phase is not ErrorPhase.REQUEST
