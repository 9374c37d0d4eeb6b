"""Behaviour 52: keys are found where they lie, and shown nowhere."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr, ValidationError

from llmgine.providers.clients import Site
from llmgine.providers.errors import MissingKey
from llmgine.providers.keys import KeyMask, KeyPlace, KeySource, Missing, find_key, key_places
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


def test_several_keys_each_have_their_place(tmp_path: Path) -> None:
    """The first that is found is taken; where none is, the error says of each where it was looked for."""
    keys = [
        {"name": "a", "env": "KEY_A"},
        {"name": "b", "file": tmp_path / "b"},
        {"name": "c", "function": "m:f"},
    ]
    endpoint = EndpointOptions.model_validate({"kind": "openai", "keys": keys})
    with pytest.raises(MissingKey) as caught:
        find_key("openai", endpoint, {"OPENAI_API_KEY": SECRET})
    for part in (
        "key a: environment variable KEY_A (not set)",
        f"key b: file {tmp_path / 'b'}",
        "key c: function m:f",
    ):
        assert part in str(caught.value)
    (tmp_path / "b").write_text(SECRET)
    found = find_key("openai", endpoint, {})
    assert found is not None
    assert found.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("endpoint", "problem"),
    [
        (
            {"kind": "openai", "keys": [{"name": "a", "env": "A"}], "key_env": "B"},
            "key_env is the place of an only key",
        ),
        (
            {"kind": "openai", "keys": [{"name": "a", "env": "A"}, {"name": "a", "env": "B"}]},
            "two keys are called a",
        ),
        ({"kind": "openai", "keys": [{"name": "a"}]}, "key a needs a place"),
        ({"kind": "openai", "keys": [{"name": "a", "env": "A", "file": "b"}]}, "found in one place"),
        ({"kind": "scripted", "keys": [{"name": "a", "env": "A"}]}, "needs none"),
        ({"kind": "openai", "keys": [{"name": "a", "function": "no_path"}]}, "import path"),
        ({"kind": "openai", "keys": [{"name": "A B", "env": "A"}]}, "a key's name"),
    ],
)
def test_keys_that_cannot_be_meant_are_refused(endpoint: dict[str, Any], problem: str) -> None:
    """Two forms, two places, no place, one name twice."""
    with pytest.raises(ValidationError, match=problem):
        EndpointOptions.model_validate(endpoint)


def test_a_preset_may_have_several_keys() -> None:
    """They stand in place of the preset's variable; what needs no key may name one for its limits."""
    options = ProvidersOptions.model_validate(
        {
            "endpoints": {
                "groq": {"keys": [{"name": "a", "env": "A"}]},
                "vllm": {"keys": [{"name": "only"}]},
            }
        }
    )
    assert [str(place) for place in key_places(options.endpoints["groq"])] == ["A"]
    assert find_key("vllm", options.endpoints["vllm"], {}) is None
    assert not options.endpoints["vllm"].needs_key


async def test_a_function_that_hangs_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time the look says so, and goes on to nothing else."""

    async def hangs(name: str) -> str:
        await asyncio.Event().wait()
        return name

    monkeypatch.setattr("tests.actors.pools.serving.vault.key", hangs)
    place = KeyPlace("a", function="tests.actors.pools.serving.vault:key")
    assert await KeySource(place, patience=0.01).look() == Missing(
        ("function tests.actors.pools.serving.vault:key (no answer within 0.01 s)",)
    )
    missing = await KeySource(KeyPlace("a", function="nowhere.at_all:key")).look()
    assert missing == Missing(("function nowhere.at_all:key (there is no module nowhere)",))
