"""Anthropic's Messages protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmgine.providers.codecs.anthropic_messages.decode import AnthropicMessagesDecoder
from llmgine.providers.codecs.anthropic_messages.encode import MessagesEncoding
from llmgine.providers.codecs.assembly import new_call_id
from llmgine.providers.codecs.codec import Encoded, Target
from llmgine.providers.codecs.decoding import json_object, response_of
from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.failures import http_failure
from llmgine.providers.contracts import Adjustment, LLMRequest, LLMResponse
from llmgine.providers.errors import ErrorPhase, ProviderError


class AnthropicMessagesCodec:
    """Messages; the protocol demands a limit, so `default_max_tokens` is sent where none was asked for.

    It is raised for a model that thinks, and lowered to what the model can say at most. `new_id` names the
    tool calls for which a server sent no id.
    """

    api = "anthropic-messages"

    def __init__(self, default_max_tokens: int = 16_000, *, new_id: Callable[[], str] = new_call_id) -> None:
        self._default_max_tokens = default_max_tokens
        self._new_id = new_id

    def encode(self, request: LLMRequest, target: Target) -> Encoded:
        encoding = Encoding(request, target, self.api)
        body = MessagesEncoding(encoding, self._default_max_tokens).body()
        return Encoded(body, encoding.headers, encoding.adjustments)

    def decoder(self, target: Target, adjustments: tuple[Adjustment, ...] = ()) -> AnthropicMessagesDecoder:
        return AnthropicMessagesDecoder(target, self.api, adjustments, self._new_id)

    def decode_body(self, target: Target, body: bytes) -> LLMResponse:
        return response_of(self.decoder(target).body(json_object(target, body)))

    def decode_error(
        self, target: Target, status: int, headers: Mapping[str, str], body: bytes, phase: ErrorPhase
    ) -> ProviderError:
        return http_failure(target, status, headers, body, phase)
