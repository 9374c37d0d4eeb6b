"""Embedding protocols: what is sent, and what is read."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from llmgine.providers.codecs.codec import Target
from llmgine.providers.contracts import EmbeddingRequest, UsageSource
from llmgine.providers.embeddings import EmbeddingCodec, embedding_codec_for
from llmgine.providers.embeddings.gemini import GeminiEmbeddings
from llmgine.providers.embeddings.openai import OpenAIEmbeddings
from llmgine.providers.errors import ErrorKind, ErrorPhase, InvalidRequest, ProviderError
from llmgine.providers.options import EndpointOptions

OPENAI = Target("openai", "text-embedding-3-small")
GEMINI = Target("google", "gemini-embedding-001")
INLINE = Target("google", "gemini-embedding-2")
CODECS = [
    pytest.param(OpenAIEmbeddings(), OPENAI, id="openai"),
    pytest.param(GeminiEmbeddings(), GEMINI, id="gemini"),
]


def asked(*inputs: str, **fields: Any) -> EmbeddingRequest:
    return EmbeddingRequest(model="p/m", inputs=inputs or ("a", "b"), **fields)


def body_of(codec: EmbeddingCodec, target: Target, *vectors: list[Any], **fields: Any) -> bytes:
    if isinstance(codec, GeminiEmbeddings):
        return json.dumps({"embeddings": [{"values": one} for one in vectors], **fields}).encode()
    data = [{"index": index, "embedding": one} for index, one in enumerate(vectors)]
    return json.dumps({"data": data, "model": target.model, **fields}).encode()


def packed(*values: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def test_openai_s_body() -> None:
    """Texts go as a list, with the length of the vectors and the form in which they shall come."""
    encoded = OpenAIEmbeddings(base64=True).encode(asked(dimensions=3, extra_headers={"x-team": "t"}), OPENAI)
    assert encoded.body == {
        "model": "text-embedding-3-small",
        "input": ["a", "b"],
        "encoding_format": "base64",
        "dimensions": 3,
    }
    assert encoded.headers == {"x-team": "t"}
    assert OpenAIEmbeddings().encode(asked(), OPENAI).body["encoding_format"] == "float"


def test_gemini_s_body() -> None:
    """Each text is a request of its own; the purpose goes by the vendor's word."""
    encoded = GeminiEmbeddings().encode(asked(dimensions=3, purpose="query"), GEMINI)
    assert encoded.body["requests"][1] == {
        "model": "models/gemini-embedding-001",
        "content": {"parts": [{"text": "b"}]},
        "outputDimensionality": 3,
        "taskType": "RETRIEVAL_QUERY",
    }
    assert not encoded.adjustments


@pytest.mark.parametrize(
    ("codec", "target"),
    [(OpenAIEmbeddings(), OPENAI), (GeminiEmbeddings(), INLINE)],
)
def test_a_purpose_without_a_place_is_told(codec: EmbeddingCodec, target: Target) -> None:
    """Where the model is not asked what its vectors are for, the response says that it was left out."""
    encoded = codec.encode(asked(purpose="document"), target)
    assert [(one.field, one.action) for one in encoded.adjustments] == [("purpose", "dropped")]


@pytest.mark.parametrize(("codec", "target"), CODECS)
def test_options_go_into_the_body(codec: EmbeddingCodec, target: Target) -> None:
    """Options of the protocol and over them the endpoint's go along; fields of the request's own do not."""
    given = {codec.api: {"user": "u", "title": "t"}, target.provider: {"title": "over"}}
    text = json.dumps(codec.encode(asked(provider_options=given), target).body)
    assert '"user": "u"' in text
    assert '"title": "over"' in text
    with pytest.raises(InvalidRequest, match="model"):
        codec.encode(asked(provider_options={target.provider: {"model": "x"}}), target)
    with pytest.raises(InvalidRequest, match="key"):
        codec.encode(asked(extra_headers={"Authorization": "Bearer x"}), target)


@pytest.mark.parametrize(("codec", "target"), CODECS)
def test_vectors_come_in_the_order_of_the_inputs(codec: EmbeddingCodec, target: Target) -> None:
    """Each vector is that of its text, as floats, and what else came is kept."""
    response = codec.decode(target, body_of(codec, target, [1, 0.5], [0.25, 2], extra=1))
    assert response.vectors == ((1.0, 0.5), (0.25, 2.0))
    assert {type(number) for vector in response.vectors for number in vector} == {float}
    assert (response.provider, response.model) == (target.provider, target.model)
    assert response.provider_data == {"extra": 1}
    assert response.usage.source is UsageSource.ABSENT


def test_openai_s_index_counts() -> None:
    """Vectors that come in another order are put in that of the inputs; packed ones read alike."""
    data = [{"index": 1, "embedding": packed(0.25, 2)}, {"index": 0, "embedding": [1, 0.5]}]
    body = {"data": data, "model": "served", "usage": {"prompt_tokens": 7, "total_tokens": 7}}
    response = OpenAIEmbeddings().decode(OPENAI, json.dumps(body).encode())
    assert response.vectors == ((1.0, 0.5), (0.25, 2.0))
    assert response.model == "served"
    assert (response.usage.input_tokens, response.usage.output_tokens) == (7, 0)
    assert response.usage.source is UsageSource.REPORTED


def test_gemini_s_usage() -> None:
    """Tokens are told where the vendor tells them."""
    body = body_of(GeminiEmbeddings(), GEMINI, [1.0], usageMetadata={"promptTokenCount": 4})
    assert GeminiEmbeddings().decode(GEMINI, body).usage.input_tokens == 4


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data": 1}',
        b'{"data": [1]}',
        b'{"data": [{"index": 0, "embedding": "!"}]}',
        b'{"data": [{"index": 0, "embedding": "AAA="}]}',
        b'{"data": [{"index": 0, "embedding": ""}]}',
        b'{"data": [{"index": 0, "embedding": ["1"]}]}',
        b'{"data": [{"index": 0, "embedding": [true]}]}',
        b'{"data": [{"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 1, "embedding": [1]}]}',
        b'{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [2]}]}',
        b'{"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1, 2]}]}',
        b'{"data": [{"index": [], "embedding": [1]}]}',
        b'{"data": [{"index": 0, "embedding": [NaN]}]}',
        b'{"data": [{"index": 0, "embedding": [1e999]}]}',
        b'{"data": [{"index": 0, "embedding": "AACAfw=="}]}',
        b'{"data": [{"index": 0, "embedding": [1' + b"0" * 400 + b"]}]}",
    ],
)
def test_what_is_no_answer_is_malformed(body: bytes) -> None:
    """Nothing that a server sends is taken for vectors that it is not, or raises anything else."""
    for codec, target in ((OpenAIEmbeddings(), OPENAI), (GeminiEmbeddings(), GEMINI)):
        sent = body.replace(b"data", b"embeddings") if target is GEMINI else body
        with pytest.raises(ProviderError) as caught:
            codec.decode(target, sent)
        assert caught.value.kind is ErrorKind.MALFORMED


def test_an_odd_usage_is_no_error() -> None:
    """Figures that are none make usage absent, and the vectors are kept."""
    for usage in ({"prompt_tokens": "many"}, {"prompt_tokens": -1}, "none", None):
        response = OpenAIEmbeddings().decode(OPENAI, body_of(OpenAIEmbeddings(), OPENAI, [1.0], usage=usage))
        assert (len(response.vectors), response.usage.source) == (1, UsageSource.ABSENT)


@pytest.mark.parametrize(("codec", "target"), CODECS)
def test_an_error_is_the_protocol_s(codec: EmbeddingCodec, target: Target) -> None:
    """Error answers mean what they mean to any other call."""
    body = b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'
    error = codec.decode_error(target, 429, {"retry-after": "7"}, body, ErrorPhase.PRE_TOKEN)
    assert (error.kind, error.retry_after, error.retryable) == (ErrorKind.RATE_LIMIT, 7, True)


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [
        (EndpointOptions(kind="openai"), OpenAIEmbeddings),
        (EndpointOptions(base_url="http://127.0.0.1:1/v1"), OpenAIEmbeddings),
        (EndpointOptions(kind="gemini"), GeminiEmbeddings),
        (EndpointOptions(kind="gemini", transport="google-generativeai"), type(None)),
        (EndpointOptions(kind="anthropic"), type(None)),
    ],
)
def test_which_protocols_have_embeddings(endpoint: EndpointOptions, kind: type) -> None:
    """OpenAI's, all that are compatible with it, and Gemini's."""
    assert isinstance(embedding_codec_for(endpoint), kind)


def test_packed_vectors_are_asked_for_where_they_are_known() -> None:
    """OpenAI packs them; of a compatible server its quirks must say so."""
    packs = {"base_url": "http://127.0.0.1:1/v1", "quirks": {"base64_embeddings": True}}
    for endpoint, form in (
        (EndpointOptions(kind="openai"), "base64"),
        (EndpointOptions(base_url="http://127.0.0.1:1/v1"), "float"),
        (EndpointOptions.model_validate(packs), "base64"),
    ):
        codec = embedding_codec_for(endpoint)
        assert codec is not None
        assert codec.encode(asked(), OPENAI).body["encoding_format"] == form
