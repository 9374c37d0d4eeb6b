"""OpenAI's own client against the gateway: models without a session."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest

from tests.runtime.gateway.conftest import Stage

WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CHAT_TOOLS: Any = [{"type": "function", "function": WEATHER}]
TOOLS: Any = [{"type": "function", "strict": False, **WEATHER}]
HELLO: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one two three"}]


async def test_a_chat_is_streamed_word_by_word(stage: Stage) -> None:
    """The chunks concatenate to the answer; the last one tells the tokens where they are asked for."""
    stream = await (await stage.openai()).chat.completions.create(
        model="scripted/echo", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks[:-1]]
    assert "".join(texts) == "one two three"
    assert sum(map(bool, texts)) == 3
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (5, 3)
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_chat_with_tools_goes_on_with_their_results(stage: Stage) -> None:
    """The streamed call comes to the client, whose result the model reads in the next request."""
    client, messages = await stage.openai(), list(HELLO)
    async with client.chat.completions.stream(
        model="scripted/calls-two", messages=messages, tools=CHAT_TOOLS
    ) as stream:
        kinds = [event.type async for event in stream]
        done = (await stream.get_final_completion()).choices[0]
    assert "tool_calls.function.arguments.done" in kinds
    assert done.finish_reason == "tool_calls"
    calls = done.message.tool_calls or []
    assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Paris", "Rome"]
    messages.append(done.message.model_dump(exclude_none=True))
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]
    answer = await client.chat.completions.create(
        model="scripted/calls-two", messages=messages, tools=CHAT_TOOLS
    )
    assert answer.choices[0].message.content == "sunny\nsunny"


async def test_responses_are_streamed_with_their_calls(stage: Stage) -> None:
    """Every event fits the one before it, as the client's own assembly checks; the output goes back."""
    client = await stage.openai()
    async with client.responses.stream(model="scripted/calls-two", input="Weather?", tools=TOOLS) as stream:
        kinds = [event.type async for event in stream]
        done = await stream.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    calls: Any = done.output
    assert [call.type for call in calls] == ["function_call", "function_call"]
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "rain"} for call in calls]
    history: Any = [{"role": "user", "content": "Weather?"}, *(call.to_dict() for call in calls), *results]
    answer = await client.responses.create(model="scripted/calls-two", input=history, tools=TOOLS)
    assert answer.output_text == "rain\nrain"


async def test_reasoning_comes_as_items_that_can_go_back(stage: Stage) -> None:
    """A client that gives the output back unread is understood."""
    client = await stage.openai()
    async with client.responses.stream(model="scripted/thinks", input="Why?") as stream:
        kinds = {event.type async for event in stream}
        done = await stream.get_final_response()
    assert {"response.reasoning_summary_text.delta", "response.output_text.delta"} <= kinds
    assert [item.type for item in done.output] == ["reasoning", "message"]
    again: Any = [*(item.to_dict() for item in done.output), {"role": "user", "content": "And so?"}]
    assert (await client.responses.create(model="scripted/echo", input=again)).output_text == "And so?"


async def test_a_refusal_and_a_cut_off_answer_are_told_as_such(stage: Stage) -> None:
    """Chat Completions and Responses have a word for each."""
    client = await stage.openai()
    refused = await client.chat.completions.create(model="scripted/refuses", messages=HELLO)
    assert refused.choices[0].message.refusal == "I will not."
    assert refused.choices[0].message.content is None
    async with client.chat.completions.stream(model="scripted/refuses", messages=HELLO) as stream:
        assert (await stream.get_final_completion()).choices[0].message.refusal == "I will not."
    cut = await client.chat.completions.create(model="scripted/cut", messages=HELLO)
    assert cut.choices[0].finish_reason == "length"
    unfinished = await client.responses.create(model="scripted/cut", input="Go on")
    assert unfinished.status == "incomplete"
    assert unfinished.incomplete_details is not None
    assert unfinished.incomplete_details.reason == "max_output_tokens"


async def test_an_answer_has_the_shape_that_was_asked_for(stage: Stage) -> None:
    """Both ways of asking for a schema come to JSON that fits it, or is told as cut off."""
    schema: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    format_: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    chat = await (await stage.openai()).chat.completions.create(
        model="scripted/echo", messages=HELLO, response_format=format_
    )
    assert '"city"' in (chat.choices[0].message.content or "")
    cut = await (await stage.openai()).chat.completions.create(
        model="scripted/cut-json", messages=HELLO, response_format=format_
    )
    assert (cut.choices[0].finish_reason, cut.choices[0].message.content) == ("length", '{"city": "Pa')
    text: Any = {"format": {"type": "json_schema", "name": "place", "schema": schema}}
    answer = await (await stage.openai()).responses.create(model="scripted/echo", input="Where?", text=text)
    assert '"city"' in answer.output_text


@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("scripted/overloaded", openai.InternalServerError, 503),
        ("scripted/context_length", openai.BadRequestError, 400),
        ("scripted/unsupported", openai.BadRequestError, 400),
        ("scripted/permission", openai.PermissionDeniedError, 403),
        ("scripted/authentication", openai.InternalServerError, 502),
        ("scripted/timeout", openai.InternalServerError, 504),
        ("nobody/knows", openai.NotFoundError, 404),
        ("scripted/unknown", openai.NotFoundError, 404),
    ],
)
async def test_a_failure_is_the_clients_own_error(
    stage: Stage, model: str, error: type[openai.APIStatusError], status: int
) -> None:
    """With the status that the vendor gives it, also where a stream was asked for."""
    for asked in ({}, {"stream": True}):
        with pytest.raises(error) as raised:
            await (await stage.openai()).chat.completions.create(model=model, messages=HELLO, **asked)  # type: ignore[call-overload]
        assert raised.value.status_code == status
        assert raised.value.request_id


async def test_a_failure_in_the_midst_of_a_stream_is_raised_after_what_had_come(stage: Stage) -> None:
    """The client reads what arrived, then its own error."""
    heard: list[str] = []
    stream = await (await stage.openai()).chat.completions.create(
        model="scripted/breaks", messages=HELLO, stream=True
    )

    async def hear() -> None:
        async for chunk in stream:
            heard.append(chunk.choices[0].delta.content or "")

    with pytest.raises(openai.APIError, match="scripted fault"):
        await hear()
    assert "".join(heard) == "one two "
    events = await (await stage.openai()).responses.create(model="scripted/breaks", input="x", stream=True)
    kinds = [event.type async for event in events]
    assert "response.output_text.delta" in kinds
    assert kinds[-2:] == ["error", "response.failed"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"n": 2}, "n"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"temperature": -1}, "temperature"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"extra_body": {"made_up": 1}}, "made_up"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"max_tokens": 0}, "max_completion_tokens"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_its_name(
    stage: Stage, asked: dict[str, Any], field: str
) -> None:
    """No setting is dropped in silence."""
    with pytest.raises(openai.BadRequestError) as raised:
        await (await stage.openai()).chat.completions.create(model="scripted/echo", messages=HELLO, **asked)
    assert raised.value.param == field
    assert raised.value.type == "invalid_request_error"


async def test_embeddings_come_packed_and_plain(stage: Stage) -> None:
    """The client asks for packed vectors by default; both are the same numbers."""
    client = await stage.openai()
    packed = await client.embeddings.create(model="scripted/echo", input=["one", "two"])
    plain = await client.embeddings.create(model="scripted/echo", input="one", encoding_format="float")
    assert [one.index for one in packed.data] == [0, 1]
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding)
    short = await client.embeddings.create(model="scripted/echo", input="one", dimensions=3)
    assert len(short.data[0].embedding) == 3


async def test_models_are_listed_and_found(stage: Stage) -> None:
    """Each by the name by which it can be asked for."""
    client = await stage.openai()
    listed = [model.id async for model in client.models.list()]
    assert "scripted/echo" in listed
    assert (await client.models.retrieve("scripted/echo")).owned_by == "scripted"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("nobody/knows")


async def test_the_synchronous_client_works_as_well(stage: Stage) -> None:
    """In a thread of its own it streams and raises like the other."""

    def ask() -> str:
        with openai.OpenAI(base_url=f"{stage.url}/v1", api_key="none", max_retries=0) as client:
            stream = client.chat.completions.create(model="scripted/echo", messages=HELLO, stream=True)
            said = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            with client.responses.stream(model="scripted/echo", input="Hello") as events:
                said += events.get_final_response().output_text
            with pytest.raises(openai.PermissionDeniedError):
                client.chat.completions.create(model="scripted/permission", messages=HELLO)
            return said

    assert await asyncio.to_thread(ask) == "one two threeHello"


async def test_a_client_that_goes_cancels_the_call_at_the_provider(stage: Stage, eventually: Any) -> None:
    """In the midst of a stream, and while it still waits for an answer."""
    client = await stage.openai()

    async def busy() -> int:
        return (await stage.runtime.pools["scripted"].statistics()).in_flight

    async def idle() -> bool:
        return await busy() == 0

    stream = await client.chat.completions.create(model="scripted/hangs", messages=HELLO, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await eventually(busy)
    await stream.close()
    await eventually(idle)
    waiting = asyncio.create_task(
        client.chat.completions.create(model="scripted/hangs-at-once", messages=HELLO)
    )
    await eventually(busy)
    waiting.cancel()
    await eventually(idle)
