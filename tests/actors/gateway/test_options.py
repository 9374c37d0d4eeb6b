"""What can be set about the gateway, and what is kept of secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from llmgine.actors.gateway import GatewayOptions, SecretMissing
from llmgine.actors.gateway.options import ClientOptions, digest, is_loopback
from llmgine.actors.gateway.secrets import find_secrets

SECRET = "correct horse battery staple"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "gateway.example.org"])
def test_others_are_let_in_with_a_token_only(host: str) -> None:
    """An address that others reach takes a token or clients; the error names the settings."""
    with pytest.raises(ValidationError, match=r"gateway\.token"):
        GatewayOptions(host=host)
    assert GatewayOptions(host=host, token=SECRET).is_guarded
    assert GatewayOptions(host=host, clients={"app": ClientOptions(key=SECRET)}).is_guarded


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost", "LOCALHOST."])
def test_this_machine_needs_none(host: str) -> None:
    """Loopback by any of its names is this machine alone."""
    assert is_loopback(host)
    assert not GatewayOptions(host=host).is_guarded


@pytest.mark.parametrize("host", ["127.0.0.1.evil.example", "localhost.evil.example", "", "0.0.0.0", "1"])
def test_other_names_are_not_this_machine(host: str) -> None:
    """Whatever only looks like loopback is not."""
    assert not is_loopback(host)


def test_a_secret_is_kept_as_its_digest() -> None:
    """The text of a token is in no representation, and no dump, of the options; they read themselves back."""
    options = GatewayOptions(token=SECRET, clients={"app": ClientOptions(key=SECRET + "!")})
    wire = options.model_dump(mode="json")
    assert SECRET not in repr(options) + str(wire)
    assert GatewayOptions.model_validate(wire) == options
    assert find_secrets(options) == {"owner": digest(SECRET), "app": digest(SECRET + "!")}


def test_a_secret_in_a_wrong_place_is_not_told() -> None:
    """An error about options shows nothing of what was given."""
    with pytest.raises(ValidationError) as short:
        GatewayOptions(token="short-secret")
    with pytest.raises(ValidationError) as twice:
        GatewayOptions(token=SECRET, token_env="TOKEN")
    with pytest.raises(ValidationError) as named:
        GatewayOptions(clients={SECRET: ClientOptions(key=SECRET)})
    for error in (short, twice, named):
        assert "short-secret" not in str(error.value)
        assert SECRET not in str(error.value)


def test_secrets_are_found_where_the_settings_say(tmp_path: Path) -> None:
    """In a variable or in a file, without the blanks around them."""
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    options = GatewayOptions(token_env="TOKEN", clients={"app": ClientOptions(key_file=file)})
    assert find_secrets(options, {"TOKEN": f" {SECRET}?"}) == {
        "owner": digest(SECRET + "?"),
        "app": digest(SECRET),
    }


def test_a_secret_that_is_not_there_is_told_by_its_place(tmp_path: Path) -> None:
    """A variable that is empty, a file that is not there, a text that could be guessed."""
    for options in (
        GatewayOptions(token_env="TOKEN"),
        GatewayOptions(token_file=tmp_path / "none"),
        GatewayOptions(clients={"app": ClientOptions(key_env="TOKEN")}),
    ):
        with pytest.raises(SecretMissing, match=r"^gateway\.(token|clients\.app\.key)"):
            find_secrets(options, {})
    with pytest.raises(SecretMissing, match="16 characters") as refused:
        find_secrets(GatewayOptions(token_env="TOKEN"), {"TOKEN": "guess-me"})
    assert "guess-me" not in str(refused.value)


@pytest.mark.parametrize("name", ["owner", "local", "", "a b", "x" * 65, "-a"])
def test_a_clients_name_is_its_own(name: str) -> None:
    """Neither that of who has the token, nor one that could be misread."""
    with pytest.raises(ValidationError, match="client"):
        GatewayOptions(clients={name: ClientOptions(key=SECRET)})


def test_a_clients_key_has_one_place() -> None:
    """None, or two, is an error."""
    for given in ({}, {"key": SECRET, "key_env": "KEY"}):
        with pytest.raises(ValidationError, match="one place"):
            ClientOptions(**given)


def test_an_operator_reaches_every_session() -> None:
    """So none is bound to some of them in appearance only."""
    assert ClientOptions(key=SECRET, sessions="shop-").sessions == "shop-"
    with pytest.raises(ValidationError, match="operator"):
        ClientOptions(key=SECRET, sessions="shop-", operator=True)
