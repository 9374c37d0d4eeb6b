"""What `open_provider` puts around a provider: only what a request needs."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.providers.catalogue.profiles import ModelProfile
from llmgine.providers.codecs import AnthropicMessagesCodec, Target
from llmgine.providers.contracts import (
    EmbeddingRequest,
    LLMRequest,
    Message,
    OutputSchema,
    Reasoning,
    ThinkingPart,
    ToolSpec,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.events import PartDone, TextDelta
from llmgine.providers.layers.provider import LayeredProvider, Layers
from llmgine.providers.options import EndpointOptions, ProvidersOptions
from llmgine.providers.registry import open_provider
from tests.providers.inner import Inner, answer, broken, call, done, drained, failed

RECURSIVE = {
    "type": "object",
    "properties": {"next": {"$ref": "#"}, "name": {"type": "string"}},
    "required": ["name"],
}
FLAT = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def ask(**fields: Any) -> LLMRequest:
    return LLMRequest(**{"model": "p/m", "messages": (Message.user("Hi"),), **fields})


def layered(
    *calls: Any, profile: ModelProfile | None = None, **endpoint: Any
) -> tuple[Inner, LayeredProvider]:
    inner = Inner(*calls)
    options = ProvidersOptions(endpoints={"p": EndpointOptions(**{"kind": "openai", **endpoint})})
    known = profile or ModelProfile()
    return inner, Layers(options.endpoints["p"], options, lambda model: known).over(inner)


def test_a_plain_call_is_the_providers_own() -> None:
    """A request that needs nothing more gets the inner iterator itself."""
    inner, provider = layered(answer("a"))
    plain = ask(tools=(ToolSpec(name="t", parameters={"type": "object"}),), provider_options={"p": {"x": 1}})
    assert provider.stream(plain, session="s") is inner.streams[0]


async def test_the_session_reaches_the_provider() -> None:
    """Through every layer a call stays its session's."""
    inner, provider = layered(answer('{"name": "a"}'), broken("x"), answer('{"name": "a"}'))
    await drained(provider.stream(ask(output=OutputSchema(json_schema=FLAT)), session="s"))
    request = ask(output=OutputSchema(json_schema=FLAT), mid_stream="restart")
    response = done(await drained(provider.stream(request, session="s")))
    assert response.output == {"name": "a"}
    assert inner.sessions == ["s"] * 3


@pytest.mark.parametrize("key", ["opnai", "openai_chat"])
async def test_unknown_provider_options_are_refused(key: str) -> None:
    """A key that is neither an endpoint nor a protocol is a mistake, and the message lists the known."""
    _, provider = layered()
    error = failed(await drained(provider.stream(ask(provider_options={key: {}})))).error
    assert (error.kind, error.phase) == (ErrorKind.INVALID_REQUEST, ErrorPhase.REQUEST)
    assert key in error.message
    assert "openai-chat" in error.message
    with pytest.raises(ProviderError, match=key):
        await provider.embed(EmbeddingRequest(model="p/m", inputs=("a",), provider_options={key: {}}))


async def test_provider_options_of_others_are_no_mistake() -> None:
    """A request may carry options for several endpoints and protocols."""
    _, provider = layered(answer("a"))
    known: dict[str, Any] = {"p": {}, "anthropic": {}, "gemini": {}, "openai-responses": {}}
    assert done(await drained(provider.stream(ask(provider_options=known)))).text == "a"


@pytest.mark.parametrize(
    ("endpoint", "schema", "fields", "mode"),
    [
        ({"kind": "openai"}, RECURSIVE, {}, "native"),
        ({"kind": "anthropic"}, FLAT, {}, "native"),
        ({"kind": "anthropic"}, RECURSIVE, {}, "tool"),
        ({"kind": "anthropic"}, RECURSIVE, {"reasoning": Reasoning(effort="low")}, "prompt"),
        ({"kind": "anthropic"}, RECURSIVE, {"reasoning": Reasoning(effort="none")}, "tool"),
        ({"kind": "gemini"}, RECURSIVE, {}, "native"),
        ({"kind": "gemini", "transport": "google-generativeai"}, FLAT, {}, "native"),
        ({"kind": "gemini", "transport": "google-generativeai"}, RECURSIVE, {}, "tool"),
        (
            {"kind": "openai-compatible", "base_url": "http://x", "quirks": {"json_schema": False}},
            FLAT,
            {},
            "tool",
        ),
        (
            {
                "kind": "openai-compatible",
                "base_url": "http://x",
                "quirks": {"json_schema": False, "tool_choice": "auto"},
            },
            FLAT,
            {},
            "prompt",
        ),
    ],
)
async def test_the_mode_follows_from_the_protocol(
    endpoint: dict[str, Any], schema: dict[str, Any], fields: dict[str, Any], mode: str
) -> None:
    """A schema that a protocol cannot hold a model to is asked for in the next best way."""
    _, provider = layered(answer('{"name": "a"}'), **endpoint)
    request = ask(output=OutputSchema(json_schema=schema), **fields)
    assert done(await drained(provider.stream(request))).output_mode == mode


@pytest.mark.parametrize(
    ("profile", "reasoning", "mode", "choice"),
    [
        ({}, None, "tool", "tool"),
        ({}, Reasoning(effort="low"), "prompt", None),
        ({}, Reasoning(show=False), "tool", "tool"),
        ({"reasoning": "budget"}, Reasoning(budget=2000), "prompt", None),
        ({"reasoning": "budget"}, Reasoning(budget=0), "tool", "tool"),
        ({"forced_tools": False}, None, "prompt", None),
    ],
)
async def test_anthropic_is_never_asked_for_a_call_that_it_refuses(
    profile: dict[str, Any], reasoning: Reasoning | None, mode: str, choice: str | None
) -> None:
    """A model that thinks, or cannot be made to call, is asked in words; the protocol takes what is sent."""
    known = ModelProfile(output="tool", **profile)
    said = call("output", {"name": "a"}) if mode == "tool" else '{"name": "a"}'
    inner, provider = layered(answer(said), profile=known, kind="anthropic")
    request = ask(output=OutputSchema(json_schema=FLAT), reasoning=reasoning)
    assert done(await drained(provider.stream(request))).output_mode == mode
    body = AnthropicMessagesCodec().encode(inner.requests[0], Target("p", "m", known)).body
    assert body.get("tool_choice", {}).get("type") == choice


async def test_settings_say_what_a_model_can_do() -> None:
    """A profile in the settings goes before what is known of the model."""
    options = ProvidersOptions.model_validate({"profiles": {"scripted/echo": {"output": "prompt"}}})
    provider = open_provider("scripted", options)
    request = ask(model="scripted/echo", output=OutputSchema(json_schema=FLAT, repairs=0))
    assert failed(await drained(provider.stream(request))).error.kind is ErrorKind.BAD_OUTPUT
    plain = open_provider("scripted", ProvidersOptions())
    assert done(await drained(plain.stream(request))).output_mode == "native"


async def test_a_sealed_history_is_recovered_unasked() -> None:
    """Refused signatures are mended whatever the request says of broken calls."""
    refused = broken(kind=ErrorKind.INVALID_REQUEST, status=400, code="signature_invalid")
    _, provider = layered(refused, answer("a"))
    thought = Message(role="assistant", parts=(ThinkingPart(text="hm", signature="x"),))
    request = ask(messages=(Message.user("Hi"), thought, Message.user("and?")))
    assert done(await drained(provider.stream(request))).text == "a"


async def test_nulls_of_strict_tools_are_taken_out() -> None:
    """Arguments come as the tool's schema asks for them; what the model wrote is kept beside them."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": ["null", "string"]}}}
    tool = ToolSpec(name="t", parameters=schema, strict=True)
    made = call("t", {"a": None, "b": None}, '{"a":null,"b":null}')
    _, provider = layered(answer(made))
    events = await drained(provider.stream(ask(tools=(tool,))))
    parts = [event.part for event in events if isinstance(event, PartDone)]
    assert parts == list(done(events).message.parts)
    (called,) = done(events).tool_calls
    assert (called.arguments, called.raw_arguments) == ({"b": None}, '{"a":null,"b":null}')


async def test_embeddings_are_the_providers_own() -> None:
    """Embeddings pass through, as their session's."""
    inner, provider = layered()
    response = await provider.embed(EmbeddingRequest(model="p/m", inputs=("a", "b")), session="s")
    assert len(response.vectors) == 2
    assert inner.sessions == ["s"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"mid_stream": "restart"},
        {"output": OutputSchema(json_schema=FLAT)},
        {"output": OutputSchema(json_schema=FLAT, mode="prompt"), "mid_stream": "continue"},
        {"tools": (ToolSpec(name="t", parameters=FLAT, strict=True),)},
    ],
)
async def test_leaving_ends_the_exchange_at_once(fault_server: Any, fields: dict[str, Any]) -> None:
    """However many layers a call goes through, closing it closes the connection before it returns."""
    url = f"{fault_server.base_url}/v1"
    options = ProvidersOptions(endpoints={"p": EndpointOptions(kind="openai-compatible", base_url=url)})
    provider = open_provider("p", options)
    source: Any = provider.stream(ask(model="p/stall", **fields))
    assert isinstance(await anext(source), TextDelta)
    await source.aclose()
    await fault_server.calls[0].gone.wait()
    await provider.aclose()
