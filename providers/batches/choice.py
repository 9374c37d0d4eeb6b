"""Which endpoints take batches."""

from __future__ import annotations

from llmgine.providers.batches.anthropic import AnthropicBatchCodec
from llmgine.providers.batches.codec import BatchCodec
from llmgine.providers.batches.openai import OpenAIBatchCodec
from llmgine.providers.codecs import Codec
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError
from llmgine.providers.options import EndpointOptions


def batch_codec_for(endpoint: EndpointOptions, codec: Codec) -> BatchCodec | None:
    """The codec of an endpoint's batches; None where it takes none, as where recordings answer."""
    if endpoint.replay is not None:
        return None
    match endpoint.kind:
        case "openai":
            return OpenAIBatchCodec(codec)
        case "anthropic":
            return AnthropicBatchCodec(codec)
        case _:
            return None


def no_batches(provider: str, model: str) -> ProviderError:
    """The error where a provider takes none."""
    return ProviderError(
        "this provider takes no batches, endpoints of kind openai and anthropic do: leave out batch=True",
        kind=ErrorKind.UNSUPPORTED,
        phase=ErrorPhase.REQUEST,
        scope=ErrorScope.ENDPOINT,
        provider=provider,
        model=model,
    )
