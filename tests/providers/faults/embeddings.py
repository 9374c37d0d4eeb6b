"""Embeddings, from the server's side."""

from __future__ import annotations

import base64
import struct
from typing import Any

_DIMENSIONS = 3


def is_asked(path: str) -> bool:
    return path.endswith("/embeddings") or "mbedContent" in path


def vector(text: str, dimensions: int | None = None) -> list[float]:
    """The length of the text, then halves."""
    return [float(len(text)), *[0.5] * ((dimensions or _DIMENSIONS) - 1)]


def answer(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request for embeddings on either wire."""
    if not path.endswith("/embeddings"):
        return {"embeddings": [{"values": _of_google(one)} for one in body.get("requests", [body])]}
    inputs = [body["input"]] if isinstance(body["input"], str) else body["input"]
    vectors = [vector(text, body.get("dimensions")) for text in inputs]
    packed = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(one) if packed else one}
        for index, one in enumerate(vectors)
    ]
    data.reverse()  # the index counts, not the order
    usage = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
    return {"object": "list", "model": "served", "data": data, "usage": usage}


def _of_google(request: dict[str, Any]) -> list[float]:
    text = "".join(part["text"] for part in request["content"]["parts"])
    return vector(text, request.get("outputDimensionality"))


def _packed(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
