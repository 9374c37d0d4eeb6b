"""What may leave the process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.telemetry.redact import MASK, MAX_ATTRIBUTES, mask_secrets, plain, plain_mapping


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnopqrstuvwxyz012345",
        "sk-ant-api03-abcdefghijklmnop_qrstuvw",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "hf_abcdefghijklmnopqrstuvwxyz",
        "xoxb-1234567890-abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sflKxwRJSMeKKF2QT4",
    ],
)
def test_keys_and_tokens_are_masked_wherever_they_stand(secret: str) -> None:
    """A key in the middle of a sentence is masked and the sentence stays."""
    masked = mask_secrets(f"calling with {secret} failed: 401")
    assert secret not in masked
    assert masked.startswith("calling with ")
    assert masked.endswith(" failed: 401")


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("Authorization: Bearer abcdef0123456789abcdef", "abcdef0123456789abcdef"),
        ("https://api.example.com/?api_key=hunter22&x=1", "hunter22"),
        ("postgresql://ada:lovelace@db/llmgine", "lovelace"),
        ("PASSWORD=hunter22", "hunter22"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEabc\n-----END PRIVATE KEY-----", "MIIEabc"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEabc", "MIIEabc"),
    ],
)
def test_secrets_are_known_by_what_stands_before_them(text: str, private: str) -> None:
    """Headers, query parameters, URLs and key blocks lose their secret."""
    assert private not in mask_secrets(text)
    assert MASK in mask_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "gpt-4o-mini",
        "claude-3-5-sonnet-20241022",
        "get_weather",
        "https://api.openai.com/v1",
        "chatcmpl-abc123",
        "risk-free-assessment-of-it",
    ],
)
def test_ordinary_values_stay(text: str) -> None:
    """Names of models, tools and servers are no secrets."""
    assert mask_secrets(text) == text


def test_an_attribute_that_names_a_secret_loses_its_value() -> None:
    """A key called api_key or authorization is masked whatever it holds."""
    assert plain_mapping(
        {"http.request.header.authorization": "x", "openai.api_key": "y", "a": "z"}, 100
    ) == {
        "http.request.header.authorization": MASK,
        "openai.api_key": MASK,
        "a": "z",
    }
    assert plain({"config": {"api_key": "y"}}, 100) == {"config": {"api_key": MASK}}


def test_a_secret_on_the_edge_of_the_cut_is_masked_before_the_cut() -> None:
    """Cutting never leaves the first half of a key."""
    text = "x" * 90 + " sk-abcdefghijklmnopqrstuvwxyz"
    assert "sk-abc" not in plain(text, 100)


def test_attributes_are_bounded_in_number_and_size() -> None:
    """Too many attributes are cut and counted, long text is cut with a note."""
    many = plain_mapping({f"k{number}": number for number in range(MAX_ATTRIBUTES + 9)}, 100)
    assert many["llmgine.dropped_attributes"] == 9
    assert len(many) == MAX_ATTRIBUTES + 1
    assert plain("y" * 1000, 100) == "y" * 100 + "… [900 more]"
    assert len(plain(list(range(10**6)), 100)) == 256


@given(st.text(max_size=300))
def test_any_text_becomes_text_that_utf8_carries(text: str) -> None:
    """No string of Python is too odd to travel."""
    plain(text, 64).encode("utf-8")
