"""Behaviour 52: keys are found where they lie, and shown nowhere."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr, ValidationError

from llmgine.providers.clients import Site
from llmgine.providers.errors import MissingKey
from llmgine.providers.keys import KeyMask, find_key
from llmgine.providers.options import EndpointOptions, ProvidersOptions

SECRET = "sk-secret-0123456789"


def test_the_file_goes_before_the_environment(tmp_path: Path) -> None:
    """A key file wins; where it is missing or empty, the variable is looked at."""
    file = tmp_path / "key"
    endpoint = EndpointOptions(kind="openai", key_file=file)
    environment = {"OPENAI_API_KEY": "from-environment"}
    found = find_key("openai", endpoint, environment)
    assert found is not None
    assert found.get_secret_value() == "from-environment"
    for written in (f"{SECRET}\n", f"\ufeff{SECRET}\r\n"):
        file.write_text(written, encoding="utf-8")
        found = find_key("openai", endpoint, environment)
        assert found is not None
        assert found.get_secret_value() == SECRET


def test_a_missing_key_says_where_it_was_looked_for(tmp_path: Path) -> None:
    """The error names the node, each place with its reason, and the settings that mend it."""
    endpoint = EndpointOptions(kind="anthropic", key_file=tmp_path / "none")
    with pytest.raises(MissingKey) as caught:
        find_key("anthropic", endpoint, {})
    text = str(caught.value)
    for part in (str(tmp_path / "none"), "No such file", "ANTHROPIC_API_KEY", "key_file", "node"):
        assert part in text
    assert str(pickle.loads(pickle.dumps(caught.value))) == text


def test_a_compatible_server_may_need_no_key() -> None:
    """Without a configured place no key is looked for; with one, it must be there."""
    url = "http://127.0.0.1:1/v1"
    assert find_key("rack", EndpointOptions(base_url=url), {"OPENAI_API_KEY": SECRET}) is None
    with pytest.raises(MissingKey, match="RACK_KEY"):
        find_key("rack", EndpointOptions(base_url=url, key_env="RACK_KEY"), {})


def test_a_key_with_strange_characters_is_refused_unseen() -> None:
    """A key that no header can carry is an error that does not show it."""
    with pytest.raises(MissingKey, match="OPENAI_API_KEY") as caught:
        find_key("openai", EndpointOptions(kind="openai"), {"OPENAI_API_KEY": f"{SECRET}\nmore"})
    assert SECRET not in str(caught.value)


def test_no_text_form_shows_a_key(caplog: pytest.LogCaptureFixture) -> None:
    """Neither repr, str, format nor a log line of what holds a key shows it."""
    caplog.set_level(logging.DEBUG)
    key = find_key("openai", EndpointOptions(kind="openai"), {"OPENAI_API_KEY": SECRET})
    site = Site(api="openai-chat", base_url=None, key=key)
    logging.getLogger("test").debug("%s %r %s", key, key, site)
    assert SECRET not in f"{key} {key!r} {site} {site!r} {caplog.text}"


def test_settings_hold_no_keys() -> None:
    """A key in a header or in the URL is refused, and the refusal does not repeat it."""
    for settings in (
        {"headers": {"Authorization": f"Bearer {SECRET}"}},
        {"headers": {"X-Api-Key": SECRET}},
        {"headers": {"Ocp-Apim-Subscription-Key": SECRET}},
        {"headers": {"X-Auth-Token": SECRET}},
        {"base_url": f"https://example.com/v1?key={SECRET}"},
        {"key_env": SECRET},
        {"base_url": f"https://user:{SECRET}@example.com"},
        {"api_key": SECRET},
    ):
        with pytest.raises(ValidationError) as caught:
            ProvidersOptions.model_validate({"endpoints": {"openai": settings}})
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("key", [SECRET, 'a"b\\c/d+e f'.replace(" ", "g"), "s3cr3t"])
def test_a_mask_knows_a_key_as_json_and_urls_write_it(key: str) -> None:
    """However a server or a library quotes it, it is hidden; a masked body keeps its places."""
    mask = KeyMask(SecretStr(key))
    for written in (key, json.dumps(key)[1:-1], quote(key, safe="")):
        assert mask.text(f"no <{written}>!") == "no <[key]>!"
        body = f'{{"said": "{written}"}}'.encode()
        assert written.encode() not in mask.body(body)
        assert len(mask.body(body)) == len(body)
    assert KeyMask(None).text(key) == key
