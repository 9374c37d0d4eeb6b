"""What goes wrong with a model call, as one picklable tree.

LlmgineError                     everything that llmgine raises on purpose
├── ProviderError                a model call failed; says kind, phase, scope, and whether to try again
├── UnknownModel                 no provider is known by that name; lists what is known
├── ModelNotInstalled            the model runs on this machine and its weights or engine are missing
├── MissingKey                   the provider needs a key and none was found where it was looked for
├── InvalidRequest               the caller's request can be refused before anything is sent
└── OutputInvalid                the answer is not what `output=` asked for
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

from llmgine.providers.contracts.response import RateLimit


class LlmgineError(Exception):
    """The one class to catch; every subclass survives pickling with all its attributes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(kind: type[LlmgineError], args: tuple[Any, ...], state: dict[str, Any]) -> LlmgineError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class ErrorKind(enum.StrEnum):
    """Closed list of what a failed call can mean to its caller."""

    AUTHENTICATION = "authentication"  # the key is wrong or was revoked
    PERMISSION = "permission"  # the key may not use this model
    NOT_FOUND = "not_found"  # the provider does not know the model or the path
    INVALID_REQUEST = "invalid_request"
    UNSUPPORTED = "unsupported"  # this provider cannot do what was asked
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    RATE_LIMIT = "rate_limit"
    OVERLOADED = "overloaded"
    SERVER = "server"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    TRUNCATED = "truncated"  # the stream ended without its protocol's end marker
    MALFORMED = "malformed"  # what arrived is not the protocol
    BAD_OUTPUT = "bad_output"  # the model's answer cannot be used: a broken call, or not what was asked for
    CANCELLED = "cancelled"
    INTERNAL = "internal"  # our own mistake


class ErrorPhase(enum.StrEnum):
    """How far the call had come."""

    REQUEST = "request"  # nothing was sent
    CONNECT = "connect"
    PRE_TOKEN = "pre_token"  # sent; nothing of the answer had been passed on
    MID_STREAM = "mid_stream"


class ErrorScope(enum.StrEnum):
    """What the failure speaks about: where trying again elsewhere can help."""

    REQUEST = "request"
    MODEL = "model"
    KEY = "key"
    ENDPOINT = "endpoint"


_RETRYABLE = frozenset(
    {
        ErrorKind.RATE_LIMIT,
        ErrorKind.OVERLOADED,
        ErrorKind.SERVER,
        ErrorKind.TIMEOUT,
        ErrorKind.CONNECTION,
        ErrorKind.TRUNCATED,
        ErrorKind.MALFORMED,
        ErrorKind.BAD_OUTPUT,
    }
)


class ProviderError(LlmgineError):
    """A model call failed.

    `retryable` says whether the same request may succeed later or elsewhere; `retry_after` is the
    provider's own word in seconds; `hint` names the setting that mends it; `status` is the HTTP status
    where there was one (an error frame inside a 200 stream has 200); `rate_limits` are those that came with
    it. What had arrived before the failure travels in the `Failed` event.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: ErrorKind,
        phase: ErrorPhase = ErrorPhase.PRE_TOKEN,
        scope: ErrorScope = ErrorScope.REQUEST,
        provider: str = "",
        model: str = "",
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        hint: str | None = None,
        rate_limits: Iterable[RateLimit] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.phase = phase
        self.scope = scope
        self.provider = provider
        self.model = model
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.retryable = kind in _RETRYABLE if retryable is None else retryable
        self.hint = hint
        self.rate_limits = tuple(rate_limits)

    @property
    def error_type(self) -> str:
        """What it is called in spans and figures."""
        return self.kind.value

    def __str__(self) -> str:
        """Who failed, what it said, with which status, and what mends it, as far as each is known."""
        whom = "/".join(part for part in (self.provider, self.model) if part)
        status = f" (HTTP {self.status})" if self.status else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{whom}: {self.message}{status}{hint}" if whom else f"{self.message}{status}{hint}"

    def to_wire(self) -> dict[str, Any]:
        """Plain values that `from_wire` turns back into an equal error."""
        return {
            **self.__dict__,
            "kind": self.kind.value,
            "phase": self.phase.value,
            "scope": self.scope.value,
            "rate_limits": [limit.model_dump(exclude_defaults=True) for limit in self.rate_limits],
        }

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> ProviderError:
        fields = dict(wire)
        return cls(
            fields.pop("message"),
            kind=ErrorKind(fields.pop("kind")),
            phase=ErrorPhase(fields.pop("phase")),
            scope=ErrorScope(fields.pop("scope")),
            rate_limits=map(RateLimit.model_validate, fields.pop("rate_limits")),
            **fields,
        )


class UnknownModel(LlmgineError):
    """No provider is known by that name; the message lists what is known."""


class ModelNotInstalled(LlmgineError):
    """The model runs on this machine and something of it is missing; the message names the command."""


class MissingKey(LlmgineError):
    """The provider needs a key; the message names each place that was looked at."""


class InvalidRequest(LlmgineError):
    """The request can be refused before anything is sent; the message names the field."""


class OutputInvalid(LlmgineError):
    """The answer does not validate as the type that `output=` asked for; the message shows it."""
