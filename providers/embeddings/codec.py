"""What an embedding codec is: one protocol's way to ask for vectors, as a pure pair of encode and decode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from llmgine.providers.codecs.codec import Encoded, Target
from llmgine.providers.contracts import EmbeddingRequest, EmbeddingResponse
from llmgine.providers.embeddings.gemini import GeminiEmbeddings
from llmgine.providers.embeddings.openai import OpenAIEmbeddings
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError
from llmgine.providers.options import EndpointOptions


class EmbeddingCodec(Protocol):
    """One protocol; it takes at most `most_inputs` texts in one call."""

    api: str
    most_inputs: int

    def encode(self, request: EmbeddingRequest, target: Target) -> Encoded:
        """The call's body; `InvalidRequest` or `ProviderError(unsupported)` for what cannot be sent."""
        ...

    def decode(self, target: Target, body: bytes) -> EmbeddingResponse:
        """The vectors in the order of the inputs; `ProviderError` where the body is no such answer."""
        ...

    def decode_error(
        self, target: Target, status: int, headers: Mapping[str, str], body: bytes, phase: ErrorPhase
    ) -> ProviderError:
        """What a non-2xx answer means; never raises, whatever the body holds."""
        ...


def embedding_codec_for(endpoint: EndpointOptions) -> EmbeddingCodec | None:
    """The codec of what an endpoint speaks; None where that has no embeddings."""
    match endpoint.protocol:
        case "openai-chat" | "openai-responses":
            packs = endpoint.kind == "openai" or endpoint.quirks.base64_embeddings
            return OpenAIEmbeddings(endpoint.protocol, base64=packs)
        case "gemini":
            return None if endpoint.transport == "google-generativeai" else GeminiEmbeddings()
        case _:
            return None


def no_embeddings(provider: str, model: str) -> ProviderError:
    """What an embedding call comes to where there is no codec for it."""
    return ProviderError(
        "this endpoint makes no embeddings; name a model of another one, as openai/text-embedding-3-small",
        kind=ErrorKind.UNSUPPORTED,
        phase=ErrorPhase.REQUEST,
        scope=ErrorScope.MODEL,
        provider=provider,
        model=model,
    )
