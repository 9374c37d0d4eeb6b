"""`/v1/embeddings` of OpenAI."""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any, Final

from llmgine.actors.gateway.vendor.reading import Fields, made
from llmgine.providers.contracts import EmbeddingRequest, EmbeddingResponse

_NAMES: Final = {"inputs": "input"}


def read_embedding(body: Any) -> tuple[EmbeddingRequest, bool]:
    """The request, and whether its vectors are wanted packed; `RequestRefused` for what is none."""
    fields = Fields(body)
    if isinstance(given := body.get("input"), list) and given and not isinstance(given[0], str):
        fields.refuse("input", "texts are taken, not their tokens", "unsupported_value")
    asked = {
        "model": fields.needed("model"),
        "inputs": fields.texts("input"),
        "dimensions": fields.whole("dimensions"),
    }
    packed = fields.one_of("encoding_format", "float", "base64") == "base64"
    fields.leave("user")
    fields.done()
    return made(EmbeddingRequest, asked, _NAMES), packed


def embeddings(response: EmbeddingResponse, *, model: str, packed: bool) -> dict[str, Any]:
    """The whole answer; `model` is as the client named it."""
    tokens = response.usage.input_tokens or 0
    data = [
        {"object": "embedding", "index": at, "embedding": _packed(vector) if packed else list(vector)}
        for at, vector in enumerate(response.vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _packed(vector: tuple[float, ...]) -> str:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()
