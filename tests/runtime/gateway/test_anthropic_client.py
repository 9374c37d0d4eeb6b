"""Anthropic's own client against the gateway: models without a session."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import pytest

from tests.runtime.gateway.conftest import Stage

TOOLS: Any = [
    {
        "name": "get_weather",
        "description": "The weather in a city.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]
HELLO: Any = [{"role": "user", "content": "one two three"}]


async def test_a_message_is_streamed_word_by_word(stage: Stage) -> None:
    """The client assembles the answer with its reason and its tokens."""
    client = await stage.anthropic()
    async with client.messages.stream(
        model="scripted/echo", max_tokens=100, system="Be brief.", messages=HELLO
    ) as stream:
        texts = [text async for text in stream.text_stream]
        message = await stream.get_final_message()
    assert texts == ["one ", "two ", "three"]
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == (
        "end_turn",
        5,
        3,
    )


async def test_tools_are_the_clients_own(stage: Stage) -> None:
    """Its streamed calls go back with their results as the blocks that came."""
    client, messages = await stage.anthropic(), list(HELLO)
    async with client.messages.stream(
        model="scripted/calls-two", max_tokens=100, messages=messages, tools=TOOLS
    ) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason == "tool_use"
    calls: list[Any] = list(message.content)
    assert [call.input["city"] for call in calls] == ["Paris", "Rome"]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
    messages += [
        {"role": "assistant", "content": [call.to_dict() for call in calls]},
        {"role": "user", "content": results},
    ]
    answer: Any = await client.messages.create(
        model="scripted/calls-two", max_tokens=100, messages=messages, tools=TOOLS
    )
    assert answer.content[0].text == "sunny\nsunny"


async def test_thinking_comes_sealed_and_goes_back(stage: Stage) -> None:
    """A client that gives the blocks back unread is understood."""
    client = await stage.anthropic()
    async with client.messages.stream(
        model="scripted/thinks",
        max_tokens=2000,
        messages=HELLO,
        thinking={"type": "enabled", "budget_tokens": 1024},
    ) as stream:
        message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text"]
    again: Any = [
        *HELLO,
        {"role": "assistant", "content": [block.to_dict() for block in message.content]},
        {"role": "user", "content": "And so?"},
    ]
    answer: Any = await client.messages.create(model="scripted/echo", max_tokens=100, messages=again)
    assert answer.content[0].text == "And so?"


@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("scripted/overloaded", anthropic.APIStatusError, 529),
        ("scripted/context_length", anthropic.BadRequestError, 400),
        ("scripted/permission", anthropic.PermissionDeniedError, 403),
        ("nobody/knows", anthropic.NotFoundError, 404),
    ],
)
async def test_a_failure_is_the_clients_own_error(
    stage: Stage, model: str, error: type[anthropic.APIStatusError], status: int
) -> None:
    """With the status that the vendor gives it."""
    with pytest.raises(error) as raised:
        await (await stage.anthropic()).messages.create(model=model, max_tokens=10, messages=HELLO)
    assert raised.value.status_code == status
    assert raised.value.request_id
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["type"] == "error"


async def test_a_failure_in_the_midst_of_a_stream_is_raised(stage: Stage) -> None:
    """After what had arrived."""
    heard: list[str] = []

    async def hear() -> None:
        async with (await stage.anthropic()).messages.stream(
            model="scripted/breaks", max_tokens=10, messages=HELLO
        ) as stream:
            async for text in stream.text_stream:
                heard.append(text)

    with pytest.raises(anthropic.APIError, match="scripted fault"):
        await hear()
    assert heard == ["one ", "two "]


async def test_what_cannot_be_done_is_refused_by_its_name(stage: Stage) -> None:
    """A tool of the vendor's own is none of a model of others."""
    tools: Any = [{"type": "web_search_20250305", "name": "web_search"}]
    with pytest.raises(anthropic.BadRequestError, match=r"tools\[0\].type"):
        await (await stage.anthropic()).messages.create(
            model="scripted/echo", max_tokens=10, messages=HELLO, tools=tools
        )


async def test_tokens_are_counted_and_models_listed(stage: Stage) -> None:
    """By a rule of thumb, and by the names that can be asked for."""
    client = await stage.anthropic()
    counted = await client.messages.count_tokens(model="scripted/echo", messages=HELLO, tools=TOOLS)
    assert counted.input_tokens > 5
    assert "scripted/echo" in [model.id async for model in client.models.list()]
    assert (await client.models.retrieve("scripted/echo")).type == "model"


async def test_the_synchronous_client_works_as_well(stage: Stage) -> None:
    """In a thread of its own it streams like the other."""

    def ask() -> str:
        with (
            anthropic.Anthropic(base_url=stage.url, api_key="none", max_retries=0) as client,
            client.messages.stream(model="scripted/echo", max_tokens=10, messages=HELLO) as stream,
        ):
            return "".join(stream.text_stream)

    assert await asyncio.to_thread(ask) == "one two three"
