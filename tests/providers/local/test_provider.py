"""The real local model: it streams, calls tools, keeps to schemas, and stops when nobody listens."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import threading
import types
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmgine.providers.contracts import (
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    OutputSchema,
    TextPart,
    ToolResultPart,
    ToolSpec,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ModelNotInstalled
from llmgine.providers.events import Done, Failed, StreamEvent, TextDelta
from llmgine.providers.local.provider import LocalProvider, _engines, _Key, _load, _unload
from llmgine.providers.local.weights import find_weights, installed_models
from llmgine.providers.options import LocalOptions, ProvidersOptions
from llmgine.providers.provider import Provider
from llmgine.providers.registry import open_provider

WEATHER = ToolSpec(
    name="get_weather",
    description="Get the current weather of a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


def missing() -> str:
    """Why the model cannot run here; "" when it can."""
    if importlib.util.find_spec("xllamacpp") is None:
        return 'the engine is not installed: pip install "llmgine-ray[local]"'
    if not any(model.name == "smollm2" for model in installed_models(LocalOptions())):
        return "the weights are not installed: llmgine models install smollm2"
    return ""


@pytest.fixture(scope="module")
def engine() -> Iterator[None]:
    """The model stays loaded over the tests of this module."""
    if reason := missing():
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    options = LocalOptions()
    key = _Key.of(find_weights("smollm2", options), options)
    _load(key, "smollm2")
    yield
    _unload(key)
    assert not _engines


@pytest.fixture(params=["openai-chat", "anthropic-messages"])
async def local(request: pytest.FixtureRequest, engine: None) -> AsyncIterator[Provider]:
    """The model, reached over each protocol."""
    provider = open_provider("local", ProvidersOptions.model_validate({"local": {"api": request.param}}))
    yield provider
    await provider.aclose()


def ask(*messages: Message, **fields: Any) -> LLMRequest:
    return LLMRequest(model="local/smollm2", messages=messages, **fields)


async def collect(provider: Provider, request: LLMRequest) -> tuple[list[StreamEvent], LLMResponse]:
    events = [event async for event in provider.stream(request)]
    last = events[-1]
    assert isinstance(last, Done), last
    return events, last.response


async def test_it_answers_in_a_stream(local: Provider) -> None:
    """A real model answers piece by piece, with its usage, at no cost, the same each time."""
    events, response = await collect(local, ask(Message.user("What is the capital of France?")))
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    assert len(deltas) > 2
    assert "".join(deltas) == response.text
    assert "Paris" in response.text
    assert response.finish_reason is FinishReason.STOP
    assert response.usage.source is UsageSource.REPORTED
    assert response.usage.input_tokens
    assert response.usage.output_tokens
    assert (response.provider, response.model, response.cost) == ("local", "smollm2", Decimal(0))
    assert (await collect(local, ask(Message.user("What is the capital of France?"))))[
        1
    ].text == response.text


async def test_it_calls_a_tool_and_uses_the_result(local: Provider) -> None:
    """A question about the weather calls the tool with the city; its result comes back in words."""
    question = Message.user("What is the weather in Paris?")
    _, response = await collect(local, ask(question, tools=(WEATHER,)))
    assert response.finish_reason is FinishReason.TOOL_CALLS
    (call,) = response.tool_calls
    assert (call.name, call.arguments) == ("get_weather", {"city": "Paris"})
    result = ToolResultPart(call_id=call.id, name=call.name, content=(TextPart(text="sunny, 21 degrees"),))
    history = (question, response.message, Message(role="tool", parts=(result,)))
    _, answer = await collect(local, ask(*history, tools=(WEATHER,)))
    assert "sunny" in answer.text
    assert not answer.tool_calls
    follow_up = (*history, answer.message, Message.user("And in Rome?"))
    _, again = await collect(local, ask(*follow_up, tools=(WEATHER,)))
    assert [call.arguments for call in again.tool_calls] == [{"city": "Rome"}]


async def test_it_answers_plainly_where_no_tool_is_meant(local: Provider) -> None:
    """A greeting calls nothing."""
    _, response = await collect(local, ask(Message.user("Say hello"), tools=(WEATHER,)))
    assert response.text
    assert not response.tool_calls


async def test_it_keeps_to_a_schema(local: Provider) -> None:
    """Structured output is enforced."""
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
        "additionalProperties": False,
    }
    request = ask(Message.user("What is the capital of France?"), output=OutputSchema(json_schema=schema))
    _, response = await collect(local, request)
    assert list(json.loads(response.text)) == ["city"]


async def test_the_limit_of_tokens_is_told(local: Provider) -> None:
    """A reply that is cut by its limit says so."""
    _, response = await collect(local, ask(Message.user("Write a story about a cat."), max_output_tokens=5))
    assert response.finish_reason is FinishReason.LENGTH
    assert response.usage.output_tokens == 5


async def test_too_long_a_prompt_is_a_clear_error(local: Provider) -> None:
    """What does not fit into the context is refused as such."""
    events = [event async for event in local.stream(ask(Message.user("cat " * 4000)))]
    last = events[-1]
    assert isinstance(last, Failed)
    assert last.error.kind is ErrorKind.CONTEXT_LENGTH


async def test_calls_run_side_by_side_and_can_be_left(local: Provider) -> None:
    """Several calls share the model; one that is left in the middle does not hold up the others."""

    async def leave() -> None:
        async for event in local.stream(ask(Message.user("Write a long story about a cat."))):
            if isinstance(event, TextDelta):
                raise asyncio.CancelledError

    calls = [
        collect(local, ask(Message.user(f"What is {n} plus 2?"), max_output_tokens=20)) for n in range(3)
    ]
    results = await asyncio.gather(leave(), *calls, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    for result in results[1:]:
        assert isinstance(result, tuple), result


async def test_a_model_that_is_not_here_is_an_error(local: Provider) -> None:
    """Another local model is refused with the way to bring it."""
    request = LLMRequest(model="local/other", messages=(Message.user("Hi"),))
    (last,) = [event async for event in local.stream(request)]
    assert isinstance(last, Failed)
    assert last.error.kind is ErrorKind.NOT_FOUND
    assert "llmgine models install smollm2" in last.error.message


def test_without_weights_it_does_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening the provider without any weights names the command at once."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("the engine is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("llmgine.providers.local.weights.SOURCES", {"smollm2": _nowhere()})
    with pytest.raises(ModelNotInstalled, match="llmgine models install smollm2"):
        LocalProvider("local", ProvidersOptions.model_validate({"local": {"folder": str(tmp_path)}}))


def _nowhere() -> Any:
    from llmgine.providers.local.weights import Source

    return Source("none", "0", "no_such_module", "none.gguf", 1)


class Loading:
    """An engine whose start waits until it is let go, then succeeds or fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.go_on = threading.Event()
        self.began = threading.Event()
        self.failure: Exception | None = None
        monkeypatch.setattr("llmgine.providers.local.provider.check_engine", lambda: None)
        monkeypatch.setattr("llmgine.providers.local.provider.find_weights", lambda name, options: path)
        monkeypatch.setattr("llmgine.providers.local.provider._start", self._start)

    def _start(self, key: _Key, model: str) -> Any:
        self.began.set()
        assert self.go_on.wait(10)
        if self.failure is not None:
            raise self.failure
        return types.SimpleNamespace(listening_address="http://127.0.0.1:9")


async def test_a_load_outlives_the_call_that_began_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A deadline that passes while the model loads ends the call; closing still unloads what came of it."""
    loading = Loading(monkeypatch, tmp_path / "m.gguf")
    provider = LocalProvider("local", ProvidersOptions())
    request = LLMRequest(model="local/m", messages=(Message.user("Hi"),), deadline=0.05)
    (last,) = [event async for event in provider.stream(request)]
    assert isinstance(last, Failed)
    assert (last.error.kind, last.error.model) == (ErrorKind.TIMEOUT, "m")
    assert "0.05 s" in last.error.message
    loading.go_on.set()
    await provider.aclose()
    assert not any(key.path == tmp_path / "m.gguf" for key in _engines)


async def test_weights_that_cannot_be_loaded_fail_the_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever the engine raises is the call's failure, and the next call tries anew."""
    loading = Loading(monkeypatch, tmp_path / "m.gguf")
    loading.go_on.set()
    loading.failure = RuntimeError("bad magic")
    provider = LocalProvider("local", ProvidersOptions())
    request = LLMRequest(model="local/m", messages=(Message.user("Hi"),))
    (last,) = [event async for event in provider.stream(request)]
    assert isinstance(last, Failed)
    assert (last.error.kind, last.error.retryable) == (ErrorKind.INTERNAL, False)
    assert "bad magic" in last.error.message
    loading.failure = None
    (last,) = [event async for event in provider.stream(request)]
    assert isinstance(last, Failed)
    assert last.error.kind is ErrorKind.CONNECTION
    await provider.aclose()
