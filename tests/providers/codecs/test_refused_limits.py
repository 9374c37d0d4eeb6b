"""Which limit a refusal names, in words and in details."""

from __future__ import annotations

import json
import pickle

import pytest

from llmgine.providers.codecs.codec import Target
from llmgine.providers.codecs.failures import http_failure
from llmgine.providers.contracts import RateLimit
from llmgine.providers.errors import ErrorPhase, ProviderError


def refused(error: object, **headers: str) -> ProviderError:
    body = json.dumps({"error": error}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http_failure(Target("house", "m"), 429, named, body, ErrorPhase.PRE_TOKEN)


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        (
            "Rate limit reached for m on requests per min (RPM): Limit 3, Used 3, Requested 1. Try later.",
            RateLimit(of="requests", limit=3, remaining=0, window=60),
        ),
        (
            "Rate limit reached for model `m` on tokens per day (TPD): Limit 100,000, Used 99,000",
            RateLimit(of="tokens", limit=100_000, remaining=1_000, window=86_400),
        ),
        (
            "This request would exceed your organization's rate limit of 40,000 input tokens per minute.",
            RateLimit(of="input_tokens", limit=40_000, window=60),
        ),
    ],
)
def test_words_name_a_limit(message: str, limit: RateLimit) -> None:
    """The number, what it counts, its span, and what is left where that is said."""
    assert refused({"message": message}).rate_limits == (limit,)


def test_details_name_a_limit() -> None:
    """Google says in its details which quotas were violated."""
    violations = [
        {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "quotaValue": "15"},
        {"quotaId": "GenerateContentInputTokensPerModelPerDay-FreeTier", "quotaValue": "250000"},
        {"quotaId": "Something", "quotaValue": "1"},
        "nothing",
    ]
    error = refused({"status": "RESOURCE_EXHAUSTED", "message": "", "details": [{"violations": violations}]})
    assert error.rate_limits == (
        RateLimit(of="requests", limit=15, window=60),
        RateLimit(of="input_tokens", limit=250_000, window=86_400),
    )


def test_headers_name_the_others_and_all_of_them_travel() -> None:
    """A refusal's headers are heard too, and what was heard stands in the error wherever it goes."""
    headers = {"x_ratelimit_limit_tokens": "900", "x_ratelimit_remaining_tokens": "0"}
    error = refused({"message": "on requests per min (RPM): Limit 3, Used 3"}, **headers)
    assert [limit.of for limit in error.rate_limits] == ["requests", "tokens"]
    assert ProviderError.from_wire(error.to_wire()).rate_limits == error.rate_limits
    assert pickle.loads(pickle.dumps(error)).rate_limits == error.rate_limits


@pytest.mark.parametrize("words", ["slow down", "limit of many tokens per minute", "Limit 3"])
def test_other_words_name_none(words: str) -> None:
    """Where no number, thing and span stand together, nothing is known."""
    assert refused({"message": words}).rate_limits == ()
