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


def test_a_password_in_an_address_is_masked() -> None:
    """The rest of the address is shown."""
    shown = masked({"url": "postgresql+psycopg://ann:s3cret@db.example:5432/llmgine?sslmode=require"})
    assert shown == {"url": f"postgresql+psycopg://ann:{MASK}@db.example:5432/llmgine?sslmode=require"}
    assert masked({"url": "sqlite:////data/store.db"}) == {"url": "sqlite:////data/store.db"}
    assert masked({"url": "http://[s3cret:1@x"}) == {"url": MASK}


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
