"""OpenAI's Chat Completions protocol, and the servers that are compatible with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmgine.providers.catalogue.quirks import OPENAI, Quirks
from llmgine.providers.codecs.assembly import new_call_id
from llmgine.providers.codecs.codec import Encoded, Target
from llmgine.providers.codecs.decoding import json_object, response_of
from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.failures import http_failure
from llmgine.providers.codecs.openai_chat.decode import OpenAIChatDecoder
from llmgine.providers.codecs.openai_chat.encode import ChatEncoding
from llmgine.providers.contracts import Adjustment, LLMRequest, LLMResponse
from llmgine.providers.errors import ErrorPhase, ProviderError


class OpenAIChatCodec:
    """Chat Completions as one server speaks it; without `quirks`, as OpenAI itself does.

    `new_id` names the tool calls for which a server sent no id.
    """

    api = "openai-chat"

    def __init__(self, quirks: Quirks = OPENAI, *, new_id: Callable[[], str] = new_call_id) -> None:
        self._quirks = quirks
        self._new_id = new_id

    def encode(self, request: LLMRequest, target: Target) -> Encoded:
        encoding = Encoding(request, target, self.api)
        body = ChatEncoding(encoding, self._quirks).body()
        return Encoded(body, encoding.headers, encoding.adjustments)

    def decoder(self, target: Target, adjustments: tuple[Adjustment, ...] = ()) -> OpenAIChatDecoder:
        return OpenAIChatDecoder(target, self.api, adjustments, self._new_id, self._quirks.think_tags)

    def decode_body(self, target: Target, body: bytes) -> LLMResponse:
        return response_of(self.decoder(target).body(json_object(target, body)))

    def decode_error(
        self, target: Target, status: int, headers: Mapping[str, str], body: bytes, phase: ErrorPhase
    ) -> ProviderError:
        return http_failure(target, status, headers, body, phase)
