"""OpenAI's Responses protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmgine.providers.codecs.assembly import new_call_id
from llmgine.providers.codecs.codec import Encoded, Target
from llmgine.providers.codecs.decoding import json_object, response_of
from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.failures import http_failure
from llmgine.providers.codecs.openai_responses.decode import OpenAIResponsesDecoder
from llmgine.providers.codecs.openai_responses.encode import ResponsesEncoding
from llmgine.providers.contracts import Adjustment, LLMRequest, LLMResponse
from llmgine.providers.errors import ErrorPhase, ProviderError


class OpenAIResponsesCodec:
    """Responses, of OpenAI and of servers that speak it too. `new_id` names calls that came without an id."""

    api = "openai-responses"

    def __init__(self, *, new_id: Callable[[], str] = new_call_id) -> None:
        self._new_id = new_id

    def encode(self, request: LLMRequest, target: Target) -> Encoded:
        encoding = Encoding(request, target, self.api)
        body = ResponsesEncoding(encoding).body()
        return Encoded(body, encoding.headers, encoding.adjustments)

    def decoder(self, target: Target, adjustments: tuple[Adjustment, ...] = ()) -> OpenAIResponsesDecoder:
        return OpenAIResponsesDecoder(target, self.api, adjustments, self._new_id)

    def decode_body(self, target: Target, body: bytes) -> LLMResponse:
        return response_of(self.decoder(target).body(json_object(target, body)))

    def decode_error(
        self, target: Target, status: int, headers: Mapping[str, str], body: bytes, phase: ErrorPhase
    ) -> ProviderError:
        return http_failure(target, status, headers, body, phase)
