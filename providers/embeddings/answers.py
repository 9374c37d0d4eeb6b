"""What the answers of all embedding protocols have in common: they are JSON objects that hold vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jiter import from_json

from llmgine.providers.codecs.codec import Target
from llmgine.providers.codecs.failures import http_failure
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError

Vectors = tuple[tuple[float, ...], ...]


class ReadsAnswers:
    """Reading what a server sent, and refusing what cannot be it."""

    def decode_error(
        self, target: Target, status: int, headers: Mapping[str, str], body: bytes, phase: ErrorPhase
    ) -> ProviderError:
        return http_failure(target, status, headers, body, phase)


def object_of(body: bytes) -> dict[str, Any]:
    """The body as a JSON object."""
    try:
        payload = from_json(body)
    except ValueError as error:
        raise malformed(f"the answer is no JSON: {error}") from None
    if not isinstance(payload, dict):
        raise malformed("the answer is no JSON object")
    return payload


def list_of(payload: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list in the answer."""
    found = payload.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise malformed(f"the answer has no list {name!r}")
    return found


def vector_of(values: Any) -> tuple[float, ...]:
    """A vector sent as a list of numbers."""
    if not isinstance(values, list) or not values or not {type(one) for one in values} <= {int, float}:
        raise malformed("an embedding is no list of numbers")
    try:
        return finite(tuple(map(float, values)))
    except OverflowError:
        raise malformed("an embedding holds a number that is too large") from None


def finite(vector: tuple[float, ...]) -> tuple[float, ...]:
    """The vector, without NaN or infinity in it."""
    if not math.isfinite(sum(vector)):
        raise malformed("an embedding holds what is no number")
    return vector


def same_length(vectors: Sequence[tuple[float, ...]]) -> Vectors:
    """The vectors, all of one length."""
    if len({len(one) for one in vectors}) > 1:
        raise malformed("the embeddings are of different lengths")
    return tuple(vectors)


def malformed(message: str) -> ProviderError:
    return ProviderError(
        message, kind=ErrorKind.MALFORMED, phase=ErrorPhase.PRE_TOKEN, scope=ErrorScope.ENDPOINT
    )
