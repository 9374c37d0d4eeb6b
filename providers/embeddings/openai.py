"""`POST /embeddings` of OpenAI, and of the many servers that are compatible with it."""

from __future__ import annotations

import binascii
import sys
from array import array
from base64 import b64decode
from typing import Any

from llmgine.providers.codecs.codec import Encoded, Target
from llmgine.providers.codecs.lowering import Lowering, merged
from llmgine.providers.contracts import EmbeddingRequest, EmbeddingResponse, Usage, UsageSource
from llmgine.providers.embeddings.answers import (
    ReadsAnswers,
    finite,
    list_of,
    malformed,
    object_of,
    same_length,
    vector_of,
)
from llmgine.providers.options import Api

_KNOWN = frozenset({"object", "data", "model", "usage"})


class OpenAIEmbeddings(ReadsAnswers):
    """With `base64` it asks for packed vectors, a third of the bytes; it reads either form in any case."""

    def __init__(self, api: Api = "openai-chat", *, base64: bool = False) -> None:
        self.api: str = api
        self._base64 = base64
        # As many as OpenAI takes; as text their vectors would be too much for one answer.
        self.most_inputs = 2048 if base64 else 512

    def encode(self, request: EmbeddingRequest, target: Target) -> Encoded:
        lowering = Lowering(request, target, self.api)
        lowering.check_options("input", "dimensions")
        body: dict[str, Any] = {"model": target.model, "input": list(request.inputs)}
        body["encoding_format"] = "base64" if self._base64 else "float"
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if request.purpose is not None:
            lowering.dropped("purpose", "the protocol makes vectors for every purpose alike")
        return Encoded(merged(body, lowering.options), dict(request.extra_headers), lowering.adjustments)

    def decode(self, target: Target, body: bytes) -> EmbeddingResponse:
        payload = object_of(body)
        found = list_of(payload, "data")
        indices = [one.get("index", at) for at, one in enumerate(found)]
        if not {type(one) for one in indices} <= {int} or set(indices) != set(range(len(found))):
            raise malformed("the embeddings are not numbered from 0 on")
        served = payload.get("model")
        ordered = [one.get("embedding") for _, one in sorted(zip(indices, found, strict=True), key=_first)]
        response = EmbeddingResponse(
            vectors=(),
            usage=_usage(payload.get("usage")),
            model=served if isinstance(served, str) and served else target.model,
            provider=target.provider,
            provider_data={name: value for name, value in payload.items() if name not in _KNOWN},
        )
        # Millions of numbers are not validated one by one: they come out of `_vector` as floats.
        return response.model_copy(update={"vectors": same_length([_vector(one) for one in ordered])})


def _first(pair: tuple[int, Any]) -> int:
    return pair[0]


def _vector(value: Any) -> tuple[float, ...]:
    if not isinstance(value, str):
        return vector_of(value)
    packed = array("f")
    try:
        packed.frombytes(b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        raise malformed("an embedding is no packed vector") from None
    if sys.byteorder == "big":
        packed.byteswap()
    if not packed:
        raise malformed("an embedding is empty")
    return finite(tuple(packed))


def _usage(raw: Any) -> Usage:
    if not isinstance(raw, dict):
        return Usage()
    tokens = raw.get("prompt_tokens", raw.get("total_tokens"))
    if type(tokens) is not int or tokens < 0:
        return Usage(raw=raw)
    return Usage.reported(UsageSource.REPORTED, raw, input_tokens=tokens, output_tokens=0)
