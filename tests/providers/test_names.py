"""Behaviour 44: the provider follows from the model's name."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from llmgine.providers.contracts import Fallback, LLMRequest, Message
from llmgine.providers.errors import UnknownModel
from llmgine.providers.names import Link, ModelName, known_names, resolve, resolve_chain
from llmgine.providers.options import ProvidersOptions

PLAIN = ProvidersOptions()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai/gpt-4o", ("openai", "gpt-4o")),
        ("anthropic/claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("local/smollm2", ("local", "smollm2")),
        ("scripted/echo", ("scripted", "echo")),
        ("gpt-4o-mini", ("openai", "gpt-4o-mini")),
        ("chatgpt-4o-latest", ("openai", "chatgpt-4o-latest")),
        ("o3", ("openai", "o3")),
        ("o4-mini", ("openai", "o4-mini")),
        ("claude-opus-4-6", ("anthropic", "claude-opus-4-6")),
        ("text-embedding-3-small", ("openai", "text-embedding-3-small")),
        ("gemini-2.5-flash", ("gemini", "gemini-2.5-flash")),
        ("models/gemini-2.5-flash", ("gemini", "models/gemini-2.5-flash")),
        ("gemma-3-27b-it", ("gemini", "gemma-3-27b-it")),
        ("grok-4", ("xai", "grok-4")),
        ("deepseek-chat", ("deepseek", "deepseek-chat")),
        ("mistral-large-latest", ("mistral", "mistral-large-latest")),
        ("open-mixtral-8x7b", ("mistral", "open-mixtral-8x7b")),
        ("openrouter/meta-llama/llama-3", ("openrouter", "meta-llama/llama-3")),
        ("groq/openai/gpt-oss-20b", ("groq", "openai/gpt-oss-20b")),
        ("smollm2", ("local", "smollm2")),
    ],
)
def test_the_provider_follows_from_the_name(name: str, expected: tuple[str, str]) -> None:
    """A full name and a bare well-known one both lead to their provider."""
    assert resolve(name, PLAIN) == ModelName(*expected)


def test_a_name_that_holds_a_slash_keeps_it() -> None:
    """Only the first slash parts provider and model."""
    options = ProvidersOptions.model_validate({"endpoints": {"hub": {"base_url": "http://127.0.0.1:1/v1"}}})
    name = resolve("hub/meta/llama-3", options)
    assert name == ("hub", "meta/llama-3")
    assert str(name) == "hub/meta/llama-3"


def test_an_alias_is_followed() -> None:
    """An alias may name another alias, a bare name or a full one."""
    options = ProvidersOptions(aliases={"fast": "cheap", "cheap": "gpt-4o-mini"})
    assert resolve("fast", options) == ("openai", "gpt-4o-mini")


def test_aliases_in_a_circle_are_an_error() -> None:
    """A circle of aliases is refused and shown."""
    options = ProvidersOptions(aliases={"a": "b", "b": "a"})
    with pytest.raises(UnknownModel, match="a → b → a"):
        resolve("a", options)


CHAINS = ProvidersOptions.model_validate(
    {
        "aliases": {
            "fast": ["gpt-4o-mini", {"model": "local/smollm2", "on": ["context_length"]}],
            "quick": "fast",
            "round": ["o3", "round"],
        }
    }
)


def test_an_alias_may_stand_for_a_chain() -> None:
    """Its models come in their order, each with the failures after which it takes over."""
    expected = (
        Link(ModelName("openai", "gpt-4o-mini")),
        Link(ModelName("local", "smollm2"), ("context_length",)),
    )
    assert resolve_chain("quick", CHAINS) == expected
    assert resolve("quick", CHAINS) == expected[0].name


def test_a_chain_within_a_chain_begins_with_the_condition_of_its_name() -> None:
    """The alias's first model takes over where the alias was to; a model that comes twice is taken once."""
    fallbacks = (Fallback(model="fast", on=("server",)), Fallback(model="o3"))
    found = resolve_chain("o3", CHAINS, fallbacks)
    assert [(str(link.name), link.on) for link in found] == [
        ("openai/o3", None),
        ("openai/gpt-4o-mini", ("server",)),
        ("local/smollm2", ("context_length",)),
    ]


def test_a_chain_in_a_circle_is_an_error() -> None:
    """A chain that leads back into itself is refused and shown."""
    with pytest.raises(UnknownModel, match="round → round"):
        resolve("round", CHAINS)


def test_a_request_takes_a_list_of_models() -> None:
    """The first is its model, the rest its fallbacks; in JSON those have their own field."""
    messages = (Message.user("hi"),)
    chain = ["o3", {"model": "fast", "on": ["server"]}, "gpt-4o"]
    request = LLMRequest.model_validate({"model": chain, "messages": messages})
    assert (request.model, [one.model for one in request.fallbacks]) == ("o3", ["fast", "gpt-4o"])
    assert LLMRequest.model_validate_json(request.model_dump_json()) == request
    with pytest.raises(ValidationError, match="valid string"):
        LLMRequest.model_validate_json('{"model":["o3","gpt-4o"],"messages":[{"role":"user","parts":[]}]}')


@pytest.mark.parametrize("chain", [[], [""], [{"model": "o3", "on": ["server"]}, "gpt-4o"]])
def test_a_chain_begins_with_a_model(chain: list[object]) -> None:
    """An empty list, and a condition of the first, are refused in a request and in the settings."""
    with pytest.raises(ValidationError, match="begins with"):
        LLMRequest.model_validate({"model": chain, "messages": (Message.user("hi"),)})
    with pytest.raises(ValidationError, match="begins with"):
        ProvidersOptions.model_validate({"aliases": {"mine": chain}})


def test_a_bare_name_is_found_where_an_endpoint_lists_it() -> None:
    """An endpoint that lists its models serves them by their bare names, and no others."""
    options = ProvidersOptions.model_validate(
        {"endpoints": {"rack": {"base_url": "http://127.0.0.1:1/v1", "models": ["qwen", "gpt-oss"]}}}
    )
    assert resolve("qwen", options) == ("rack", "qwen")
    assert resolve("gpt-oss", options) == ("rack", "gpt-oss")
    with pytest.raises(UnknownModel, match="did you mean 'qwen'"):
        resolve("rack/qwenn", options)


@pytest.mark.parametrize("name", ["gpt-oss-20b", "llama-3.1-8b", "qwen3"])
def test_open_weights_belong_to_nobody(name: str) -> None:
    """A model that many serve is never sent to one of them unasked."""
    with pytest.raises(UnknownModel):
        resolve(name, PLAIN)


@pytest.mark.parametrize("name", ["gtp-4o", "foo/bar", "", "/", "openai/", "/gpt-4o"])
def test_an_unknown_name_lists_what_is_known(name: str) -> None:
    """An unknown model is an error that lists providers, well-known names, and the setting."""
    with pytest.raises(UnknownModel) as caught:
        resolve(name, PLAIN)
    text = str(caught.value)
    for known in ("openai", "anthropic", "local", "scripted", "gpt-4o", "smollm2", "providers.endpoints"):
        assert known in text


def test_the_nearest_name_is_suggested() -> None:
    """A slip of the pen gets the name that was meant."""
    with pytest.raises(UnknownModel, match="did you mean 'gpt-4o'"):
        resolve("gtp-4o", PLAIN)
    with pytest.raises(UnknownModel, match="did you mean 'anthropic/my-model'"):
        resolve("antropic/my-model", PLAIN)
    with pytest.raises(UnknownModel, match="did you mean 'openai/gpt-5'"):
        resolve("opnai/gpt-5", PLAIN)
    with pytest.raises(UnknownModel, match=r"did you mean 'gemini-2\.5-flash'"):
        resolve("google/gemini-2.5-flash", PLAIN)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fast", "'nope/y', for which 'fast' stands"),
        ("gemini", "that is a provider, which wants a model"),
        ("xai/", "that is a provider, which wants a model"),
        ("GPT-4o", "did you mean 'gpt-4o'"),
        ("OpenAI/our-own", "did you mean 'openai/our-own'"),
        ("x" * 10_000, "x{200}'"),
    ],
)
def test_a_name_that_is_none_is_explained(name: str, told: str) -> None:
    """What is unknown is named: what an alias stands for, a provider alone, a capital letter."""
    with pytest.raises(UnknownModel, match=told) as caught:
        resolve(name, ProvidersOptions(aliases={"fast": "nope/y"}))
    assert len(str(caught.value)) < 2_000


def test_a_script_must_exist() -> None:
    """A script that is not there is an error that lists those that are."""
    with pytest.raises(
        UnknownModel, match=r"scripted serves no model 'eco'; did you mean 'echo'\?.*slow, tool"
    ):
        resolve("scripted/eco", PLAIN)
    own = ProvidersOptions.model_validate({"scripts": {"mine": {"replies": [{"text": "hi"}]}}})
    assert resolve("scripted/mine", own) == ("scripted", "mine")


def test_known_names_hold_aliases_scripts_and_models() -> None:
    """What can be told in advance is listed in order."""
    names = known_names(ProvidersOptions(aliases={"fast": "gpt-4o"}))
    assert names == sorted(names)
    assert {"fast", "scripted/echo", "gpt-4o"} <= set(names)


def test_a_built_in_endpoint_is_changed_in_part() -> None:
    """Settings of a built-in endpoint change what they name and leave the rest."""
    options = ProvidersOptions.model_validate(
        {"endpoints": {"openai": {"base_url": "http://127.0.0.1:9/v1"}}}
    )
    assert options.endpoints["openai"].kind == "openai"
    assert options.endpoints["openai"].base_url == "http://127.0.0.1:9/v1"
    assert options.endpoints["anthropic"].kind == "anthropic"
    again = ProvidersOptions.model_validate(options.model_dump(mode="json"))
    assert again == options


def test_an_endpoint_without_a_place_is_refused() -> None:
    """A compatible server needs its URL, and an unknown setting is an error."""
    with pytest.raises(ValidationError, match="needs base_url"):
        ProvidersOptions.model_validate({"endpoints": {"rack": {}}})
    with pytest.raises(ValidationError, match="Extra inputs"):
        ProvidersOptions.model_validate({"endpoints": {"openai": {"base_uri": "x"}}})
    with pytest.raises(ValidationError, match="endpoint name"):
        ProvidersOptions.model_validate({"endpoints": {"My/Rack": {"base_url": "http://127.0.0.1:1"}}})
