"""Gemini's generateContent protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmgine.providers.codecs.assembly import compact, new_call_id
from llmgine.providers.codecs.codec import Encoded, Target
from llmgine.providers.codecs.decoding import json_object, response_of
from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.failures import http_failure
from llmgine.providers.codecs.gemini.decode import GenerateContentDecoder
from llmgine.providers.codecs.gemini.encode import GenerateContentEncoding
from llmgine.providers.codecs.json_text import read_json
from llmgine.providers.contracts import Adjustment, LLMRequest, LLMResponse
from llmgine.providers.errors import ErrorPhase, ProviderError


class GeminiCodec:
    """generateContent; with `legacy` as far as the google-generativeai package can say it.

    `new_id` names the tool calls for which a server sent no id.
    """

    api = "gemini"

    def __init__(self, legacy: bool = False, *, new_id: Callable[[], str] = new_call_id) -> None:
        self._legacy = legacy
        self._new_id = new_id

    def encode(self, request: LLMRequest, target: Target) -> Encoded:
        encoding = Encoding(request, target, self.api)
        body = GenerateContentEncoding(encoding, legacy=self._legacy).body()
        return Encoded(body, dict(request.extra_headers), encoding.adjustments)

    def decoder(self, target: Target, adjustments: tuple[Adjustment, ...] = ()) -> GenerateContentDecoder:
        return GenerateContentDecoder(target, self.api, adjustments, self._new_id, legacy=self._legacy)

    def decode_body(self, target: Target, body: bytes) -> LLMResponse:
        """An answer in one piece: an object, or the array of all the objects of a stream."""
        decoder = self.decoder(target)
        if body.lstrip()[:1] != b"[":
            return response_of(decoder.body(json_object(target, body)))
        events = []
        for frame in _frames(body):
            events += decoder.feed("", frame)
        return response_of(events + decoder.end())

    def decode_error(
        self, target: Target, status: int, headers: Mapping[str, str], body: bytes, phase: ErrorPhase
    ) -> ProviderError:
        return http_failure(target, status, headers, body, phase)


def _frames(body: bytes) -> list[bytes]:
    """The objects of an array, each as JSON; the body itself where it is none, for the decoder to refuse."""
    try:
        return [compact(frame).encode() for frame in read_json(body)]
    except ValueError:
        return [body]
