"""Well-known servers are there without any setting."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from llmgine.providers.calls.provider import codec_for
from llmgine.providers.catalogue.presets import preset_quirks, presets
from llmgine.providers.catalogue.quirks import OPENAI, PLAIN, Quirks
from llmgine.providers.codecs import OpenAIChatCodec, Target
from llmgine.providers.contracts import LLMRequest, Message
from llmgine.providers.errors import MissingKey
from llmgine.providers.keys import find_key
from llmgine.providers.names import resolve
from llmgine.providers.options import EndpointOptions, ProvidersOptions

KEYED = {
    "openrouter": "OPENROUTER_API_KEY",
    "xai": "XAI_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "groq": "GROQ_API_KEY",
    "mistral": "MISTRAL_API_KEY",
}
LOCAL = ("ollama", "vllm", "llamacpp")


def test_every_preset_is_an_endpoint() -> None:
    """A preset serves under its own name, in the protocol that it speaks."""
    options = ProvidersOptions()
    assert set(presets()) == {*KEYED, *LOCAL}
    for name in presets():
        endpoint = options.endpoints[name]
        assert (endpoint.kind, endpoint.protocol, endpoint.preset) == (
            "openai-compatible",
            "openai-chat",
            name,
        )
        assert endpoint.base_url == presets()[name]["base_url"]
        assert endpoint.quirks == preset_quirks(name)
        assert isinstance(codec_for(endpoint), OpenAIChatCodec)


@pytest.mark.parametrize(("name", "variable"), KEYED.items())
def test_a_key_in_its_usual_place_is_found(name: str, variable: str) -> None:
    """A hosted server needs its key and says which variable it lacks; the key is all it needs."""
    endpoint = ProvidersOptions().endpoints[name]
    with pytest.raises(MissingKey, match=variable):
        find_key(name, endpoint, {})
    found = find_key(name, endpoint, {variable: "sk-0123456789"})
    assert found is not None


@pytest.mark.parametrize("name", LOCAL)
def test_servers_of_ones_own_need_no_key(name: str) -> None:
    """A server on this machine is called without one."""
    assert find_key(name, ProvidersOptions().endpoints[name], {}) is None


def test_a_second_server_takes_over_what_is_not_said() -> None:
    """An endpoint with a preset has its quirks, one by one under what is said."""
    endpoint = EndpointOptions(preset="vllm", base_url="http://rack:9/v1", quirks=Quirks(seed_field=None))
    assert endpoint.base_url == "http://rack:9/v1"
    assert endpoint.quirks == preset_quirks("vllm").model_copy(update={"seed_field": None})
    assert endpoint.quirks.top_k
    keyless = EndpointOptions.model_validate({"preset": "openrouter", "key_env": None})
    assert not keyless.needs_key


def test_what_is_said_about_a_built_in_one_leaves_the_rest() -> None:
    """One quirk of a preset is changed without naming the others."""
    options = ProvidersOptions.model_validate({"endpoints": {"groq": {"quirks": {"penalties": False}}}})
    groq = options.endpoints["groq"]
    assert not groq.quirks.penalties
    assert groq.quirks.max_tokens_field == "max_completion_tokens"
    assert groq.key_env == "GROQ_API_KEY"


def test_options_survive_being_written_and_read() -> None:
    """Quirks are the same after a round trip, those of OpenAI itself too."""
    options = ProvidersOptions.model_validate(
        {"endpoints": {"own": {"kind": "openai", "quirks": {"top_k": True}}}}
    )
    assert options.endpoints["own"].quirks == OPENAI.model_copy(update={"top_k": True})
    for again in (options.model_dump(), options.model_dump(mode="json", exclude_unset=True)):
        assert ProvidersOptions.model_validate(again) == options


def test_without_a_preset_a_server_is_a_plain_one() -> None:
    """Nothing is assumed of a server that nobody knows."""
    assert EndpointOptions(base_url="http://rack:9/v1").quirks == PLAIN
    assert EndpointOptions(kind="openai").quirks == OPENAI


def test_an_unknown_preset_names_the_known_ones() -> None:
    """A slip of the pen is mended by the message."""
    with pytest.raises(ValidationError, match=r"'vlm'; known are: deepseek, .*vllm"):
        EndpointOptions(preset="vlm")


def test_names_of_models_keep_their_slashes() -> None:
    """Only the first slash parts the endpoint from the model."""
    name = resolve("openrouter/meta-llama/llama-3", ProvidersOptions())
    assert (name.provider, name.model) == ("openrouter", "meta-llama/llama-3")
    request = LLMRequest(model=str(name), messages=(Message.user("hi"),))
    body = OpenAIChatCodec(preset_quirks("openrouter")).encode(request, Target(*name)).body
    assert body["model"] == "meta-llama/llama-3"


def test_every_quirk_says_what_it_means() -> None:
    """The settings page lists them with their meaning."""
    assert all(field.description for field in Quirks.model_fields.values())
