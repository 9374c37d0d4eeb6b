"""`batchEmbedContents` of Gemini: one small request for each text."""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.codec import Encoded, Target
from llmgine.providers.codecs.lowering import Lowering, merged
from llmgine.providers.contracts import EmbeddingRequest, EmbeddingResponse, Usage, UsageSource
from llmgine.providers.embeddings.answers import ReadsAnswers, list_of, object_of, same_length, vector_of

_TASKS = {
    "query": "RETRIEVAL_QUERY",
    "document": "RETRIEVAL_DOCUMENT",
    "similarity": "SEMANTIC_SIMILARITY",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}
_TOLD_IN_THE_TEXT = "gemini-embedding-2"
_KNOWN = frozenset({"embeddings", "usageMetadata"})


class GeminiEmbeddings(ReadsAnswers):
    """The request's `provider_options` go into each of the small requests."""

    api = "gemini"
    most_inputs = 100

    def encode(self, request: EmbeddingRequest, target: Target) -> Encoded:
        lowering = Lowering(request, target, self.api)
        lowering.check_options("content", "outputDimensionality")
        each: dict[str, Any] = {"model": f"models/{target.model.removeprefix('models/')}"}
        if request.dimensions is not None:
            each["outputDimensionality"] = request.dimensions
        if request.purpose is not None and _TOLD_IN_THE_TEXT in target.model:
            lowering.dropped("purpose", "this model is told in the text itself what the vectors are for")
        elif request.purpose is not None:
            each["taskType"] = _TASKS[request.purpose]
        each = merged(each, lowering.options)
        requests = [{**each, "content": {"parts": [{"text": text}]}} for text in request.inputs]
        return Encoded({"requests": requests}, dict(request.extra_headers), lowering.adjustments)

    def decode(self, target: Target, body: bytes) -> EmbeddingResponse:
        payload = object_of(body)
        vectors = [vector_of(one.get("values")) for one in list_of(payload, "embeddings")]
        response = EmbeddingResponse(
            vectors=(),
            usage=_usage(payload.get("usageMetadata")),
            model=target.model,
            provider=target.provider,
            provider_data={name: value for name, value in payload.items() if name not in _KNOWN},
        )
        return response.model_copy(update={"vectors": same_length(vectors)})


def _usage(raw: Any) -> Usage:
    tokens = raw.get("promptTokenCount") if isinstance(raw, dict) else None
    if type(tokens) is not int or tokens < 0:
        return Usage(raw=raw if isinstance(raw, dict) else {})
    return Usage.reported(UsageSource.REPORTED, raw, input_tokens=tokens, output_tokens=0)
