"""Settings as they may be shown."""

from __future__ import annotations

import pytest

from llmgine.runtime.gateway.masking import MASK, masked
from llmgine.runtime.settings import Settings


@pytest.mark.parametrize(
    "name", ["token", "key", "api_key", "secret", "password", "Authorization", "auth_token", "credentials"]
)
def test_what_is_called_a_secret_is_masked(name: str) -> None:
    """Wherever it stands, also in a list."""
    assert masked({"a": [{name: "s3cret"}], name: ["s3cret"]}) == {"a": [{name: MASK}], name: [MASK]}


def test_headers_are_masked_whole() -> None:
    """Their names tell which there are."""
    assert masked({"headers": {"x-tenant": "7"}}) == {"headers": {"x-tenant": MASK}}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgresql+psycopg://ann:s3cret@db:5432/llmgine",
            f"postgresql+psycopg://ann:{MASK}@db:5432/llmgine",
        ),
        (
            "postgresql://db/llmgine?user=ann&password=s3cret",
            f"postgresql://db/llmgine?user={MASK}&password={MASK}",
        ),
        ("postgresql://ann:s3cret@db/x?sslmode=require", f"postgresql://ann:{MASK}@db/x?sslmode={MASK}"),
        ("https://s3cret@hooks.example/in", f"https://{MASK}@hooks.example/in"),
        ("https://hooks.example/in?s3cret", f"https://hooks.example/in?{MASK}"),
        ("https://hooks.example/in#token=s3cret", f"https://hooks.example/in#{MASK}"),
        ("http://[s3cret:1@x", MASK),
        ("sqlite:////data/store.db", "sqlite:////data/store.db"),
        ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
    ],
)
def test_what_an_address_may_hide_is_masked(url: str, shown: str) -> None:
    """Passwords, a name that may be a token, and every value of a query; the rest of it is shown."""
    assert masked({"url": url}) == {"url": shown}


@pytest.mark.parametrize(
    "value", [{"token_env": "MY_TOKEN"}, {"max_tokens": 5}, {"key_file": "/k"}, {"token": None}, {"key": ""}]
)
def test_places_of_secrets_and_plain_values_are_shown(value: dict[str, object]) -> None:
    """They are what whoever looks at settings looks for."""
    assert masked(value) == value


def test_the_settings_of_a_gateway_are_shown_without_its_secrets() -> None:
    """Not even their digests."""
    secret = "correct horse battery staple"
    settings = Settings(gateway={"token": secret, "clients": {"app": {"key": secret}}})
    shown = masked(settings.to_wire())
    assert shown["gateway"]["token"] == shown["gateway"]["clients"]["app"]["key"] == MASK
    assert "sha256" not in str(shown)
    assert shown["bus"] == settings.to_wire()["bus"]
