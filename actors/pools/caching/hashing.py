"""Which requests are equal: the same hash stands for the same question to the same model. Pure.

What the model or its endpoint sees counts, by the letter: tools, schemas and contents in the order of their
fields, because models read them so. What only says who asks, how long they wait or what becomes of a
broken call does not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic_core import to_jsonable_python

from llmgine.providers import EmbeddingRequest, LLMRequest
from llmgine.providers.options import EndpointOptions, ProvidersOptions

# Changes with what a kept answer is or what the hash takes in, so that older answers are not found.
_VERSION: Final = 2
_BYTES: Final = 32

_SEPARATE: Final = {"provider_options", "extra_headers", "cache", "tools", "messages"}
_NOT_COUNTED: Final = {
    "deadline",
    "fallbacks",
    "idempotency_key",
    "idle_timeout",
    "mid_stream",
    "priority",
    "response_cache",
}
# Fields of the vendors' bodies that tell them who asks, and where their own prompt caches are.
_CALLERS_OPTIONS: Final = frozenset(
    {"labels", "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "user"}
)
_CALLERS_HEADERS: Final = frozenset(
    {"baggage", "idempotency-key", "traceparent", "tracestate", "user-agent", "x-client-request-id"}
    | {"x-correlation-id", "x-request-id"}
)
_OF_ENDPOINT: Final = {"kind", "base_url", "api", "quirks", "transport", "replay", "headers"}


class RequestHash:
    """Hashes of requests to the endpoints of one runtime; a model is named `provider/model`."""

    def __init__(self, providers: ProvidersOptions) -> None:
        self._providers = providers
        self._served: dict[str, bytes] = {}

    def of(self, request: LLMRequest | EmbeddingRequest, body: Sequence[Any]) -> bytes:
        """The hash of the request with this wire form; it holds nothing of what was said."""
        said = request.model_dump_json(exclude=_SEPARATE | _NOT_COUNTED)
        options = {
            whose: {name: value for name, value in given.items() if name not in _CALLERS_OPTIONS}
            for whose, given in request.provider_options.items()
        }
        headers = {
            name.lower(): value
            for name, value in request.extra_headers.items()
            if name.lower() not in _CALLERS_HEADERS
        }
        hints = request.cache if isinstance(request, LLMRequest) else None
        rest = _sorted([type(request).__name__, options, headers, hints and hints.content])
        tools, messages = body[1:] if isinstance(request, LLMRequest) else ((), ())
        return _digest(self._endpoint(request.model), said.encode(), rest, *tools, b"", *messages)

    def _endpoint(self, model: str) -> bytes:
        """What the settings say of who answers under the name."""
        known = self._served.get(model)
        if known is None:
            known = self._served[model] = _digest(_sorted([_VERSION, self._served_by(model)]))
            if len(self._served) > 10_000:
                self._served.clear()
        return known

    def _served_by(self, model: str) -> list[Any]:
        name, _, own = model.partition("/")
        options = self._providers
        endpoint = options.endpoints.get(name, EndpointOptions(kind="scripted"))
        found: list[Any] = [endpoint.model_dump(mode="json", include=_OF_ENDPOINT)]
        if model in options.profiles:
            found.append(options.profiles[model].model_dump(mode="json"))
        if endpoint.kind == "local":
            found.append(options.local.model_dump(mode="json", include={"folder", "context"}))
        if endpoint.kind == "scripted" and own in options.scripts:
            found.append(options.scripts[own].model_dump(mode="json"))
        return found


class AnswerKeys:
    """Which requests may be answered with another's answer: those that say so, and those to such pools.

    `enabled` says of each pool what its settings do.
    """

    def __init__(self, providers: ProvidersOptions, enabled: Callable[[str], bool]) -> None:
        self._hashes = RequestHash(providers)
        self._enabled = enabled

    def of(self, request: LLMRequest | EmbeddingRequest, body: Sequence[Any], pool: str) -> bytes | None:
        """The request's hash; None where it wants an answer of its own."""
        wanted = request.response_cache
        if wanted is None:
            wanted = self._enabled(pool)
        return self._hashes.of(request, body) if wanted else None


def _sorted(value: Any) -> bytes:
    """JSON in which objects have no order."""
    return json.dumps(to_jsonable_python(value), sort_keys=True, separators=(",", ":")).encode()


def _digest(*texts: bytes) -> bytes:
    """JSON has no line ends of its own, so the texts stay apart."""
    return hashlib.blake2b(b"\n".join(texts), digest_size=_BYTES).digest()
