"""Models called by their names, without a session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from decimal import Decimal
from typing import Any, cast

import pytest
from pydantic import BaseModel, field_validator

from llmgine.runtime import (
    Done,
    EmbeddingRequest,
    ErrorKind,
    Failed,
    InvalidRequest,
    LLMRequest,
    Message,
    OutputInvalid,
    OutputSchema,
    ProviderError,
    Runtime,
    TextDelta,
    UnknownModel,
)

Until = Callable[..., Any]

ODD, EVEN = {"text": '{"count": 1}'}, {"text": '{"count": 2}'}
SCRIPTS: dict[str, Any] = {
    "even-at-last": {"replies": [ODD, ODD, EVEN]},
    "never-even": {"replies": [ODD]},
    "refuses": {"replies": [{"parts": [{"type": "refusal", "text": "no"}], "finish_reason": "refusal"}]},
    "breaks": {"replies": [{"text": "one two", "fault": {"kind": "overloaded", "after_chunks": 1}}]},
    "hangs": {"replies": [{"text": "one two", "fault": {"kind": "stall", "after_chunks": 1}}]},
}


class Pairs(BaseModel):
    count: int

    @field_validator("count")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("it must be even")
        return value


class Stock(BaseModel):
    item: str
    left: int


@pytest.fixture
async def runtime(clean_environ: object) -> AsyncIterator[Runtime]:
    async with Runtime.in_process({"providers": {"scripts": SCRIPTS}}) as runtime:
        yield runtime


async def test_a_name_and_a_prompt_are_enough(runtime: Runtime) -> None:
    """A call has its answer, usage, cost, and says who made it."""
    response = await runtime.models.complete("scripted/echo", "Hello there", temperature=0)
    assert (response.text, response.cost) == ("Hello there", Decimal(0))
    assert [attempt.actor for attempt in response.attempts] == ["provider-scripted-0"]
    assert (await runtime.models.complete("scripted/echo", Message.user("Hi"))).text == "Hi"


async def test_a_conversation_is_a_prompt(runtime: Runtime) -> None:
    """Messages go as they are; a whole request does so too."""
    said = [Message.user("one"), Message.assistant("two"), Message.user("three")]
    assert (await runtime.models.complete("scripted/echo", said)).text == "three"
    request = LLMRequest(model="scripted/echo", messages=tuple(said))
    assert (await runtime.models.complete(request)).text == "three"


@pytest.mark.parametrize(
    ("kind", "value"), [(Stock, Stock(item="item", left=1)), (list[int], []), (dict[str, int], {})]
)
async def test_an_answer_of_a_type(runtime: Runtime, kind: Any, value: Any) -> None:
    """The response's output is a value of the type that was asked for."""
    request = LLMRequest(model="scripted/echo", messages=(Message.user("Go"),))
    assert (await runtime.models.complete("scripted/echo", "Go", output=kind)).output == value
    assert (await runtime.models.complete(request, output=kind)).output == value


async def test_an_answer_that_fits_a_schema(runtime: Runtime) -> None:
    """A schema in place of a type leaves the output as plain values."""
    schema = OutputSchema(json_schema=Stock.model_json_schema())
    response = await runtime.models.complete("scripted/echo", "Go", output=schema)
    assert response.output == {"item": "item", "left": 1}


async def test_what_only_the_type_refuses_is_asked_again(runtime: Runtime) -> None:
    """An answer that fits the schema and not the type is shown to the model; all calls are counted."""
    response = await runtime.models.complete("scripted/even-at-last", "Count", output=Pairs)
    assert response.output == Pairs(count=2)
    assert len(response.attempts) == 3
    assert response.usage.output_tokens == 6
    assert response.cost == 0


async def test_asking_again_comes_to_an_end(runtime: Runtime) -> None:
    """When the repairs are used up, the error shows the last answer and why the type refused it."""
    with pytest.raises(OutputInvalid, match=r"(?s)must be even.*count"):
        await runtime.models.complete("scripted/never-even", "Count", output=Pairs)


async def test_a_refusal_has_no_output(runtime: Runtime) -> None:
    """A model that declines is no error, and its answer is no value of the type."""
    response = await runtime.models.complete("scripted/refuses", "Count", output=Pairs)
    assert (response.output, response.finish_reason) == (None, "refusal")


async def test_a_failed_call_is_raised(runtime: Runtime) -> None:
    """What a call failed with is raised as it is, and streamed as the last event with what had come."""
    with pytest.raises(ProviderError) as caught:
        await runtime.models.complete("scripted/breaks", "Go")
    assert (caught.value.kind, caught.value.retryable) == (ErrorKind.OVERLOADED, True)
    *_, last = [event async for event in runtime.models.stream("scripted/breaks", "Go")]
    assert isinstance(last, Failed)
    assert last.partial is not None
    assert last.partial.text == "one "
    assert [attempt.outcome for attempt in last.attempts] == ["overloaded"]


async def test_a_stream_comes_piece_by_piece(runtime: Runtime) -> None:
    """The deltas make up the answer, which the last event holds whole."""
    events = [event async for event in runtime.models.stream("scripted/echo", "one two", seed=1)]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "one two"
    assert isinstance(events[-1], Done)


async def test_giving_up_reaches_the_provider(runtime: Runtime, eventually: Until) -> None:
    """A stream that is closed, and a call that is cancelled, end at the provider."""
    async with aclosing(cast("Any", runtime.models.stream("scripted/hangs", "Go"))) as events:
        assert (await anext(events)).text == "one "
        assert in_flight(runtime) == 1
    await eventually(lambda: in_flight(runtime) == 0)
    call = asyncio.create_task(runtime.models.complete("scripted/hangs", "Go"))
    await eventually(lambda: in_flight(runtime) == 1)
    call.cancel()
    await eventually(lambda: in_flight(runtime) == 0)
    assert call.cancelled()


async def test_vectors(runtime: Runtime) -> None:
    """Each text has a vector; a single text is a list of one; a request goes as it is."""
    several = await runtime.models.embed("scripted/echo", ["a", "b"], dimensions=4)
    assert [len(vector) for vector in several.vectors] == [4, 4]
    (single,) = (await runtime.models.embed("scripted/echo", "a", dimensions=4)).vectors
    assert single == several.vectors[0]
    request = EmbeddingRequest(model="scripted/echo", inputs=("a",), dimensions=4)
    assert (await runtime.models.embed(request)).vectors == (single,)


async def test_a_pool_that_changes_is_heard_of(runtime: Runtime) -> None:
    """Calls go on when actors come and go."""
    for size in (2, 1, 3):
        await runtime.pools["scripted"].scale(size)
        answers = [await runtime.models.complete("scripted/echo", "Hi") for _ in range(8)]
        assert 1 <= len({answer.attempts[0].actor for answer in answers}) <= size


@pytest.mark.parametrize("verb", ["complete", "embed"])
async def test_a_pool_whose_actors_are_gone_is_asked_for_anew(runtime: Runtime, verb: str) -> None:
    """A call finds the actors that a pool has, where those that the driver knows of are no more."""
    call = getattr(runtime.models, verb)
    before = await call("scripted/echo", "Hi")
    await cluster(runtime).kill(before.attempts[0].actor)
    after = await call("scripted/echo", "Hi")
    assert after.attempts[-1].actor != before.attempts[0].actor


REQUEST = LLMRequest(model="scripted/echo", messages=(Message.user("Hi"),))
EMBED = EmbeddingRequest(model="scripted/echo", inputs=("a",))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda on: on.complete("scripted/echo"), "give a prompt"),
        (lambda on: on.complete("scripted/echo", []), "messages"),
        (lambda on: on.complete("scripted/echo", 3), "not int"),
        (lambda on: on.complete([], "Hi"), "made: a list of models"),
        (lambda on: on.complete("scripted/echo", "Hi", temprature=1), "temprature"),
        (lambda on: on.complete("scripted/echo", "Hi", temperature=-1), "temperature"),
        (lambda on: on.complete("scripted/echo", "Hi", output=object.__new__), "pydantic model"),
        (lambda on: on.complete("scripted/echo", "caf\udce9"), "surrogates"),
        (lambda on: on.complete(REQUEST, "Hi"), "not both"),
        (lambda on: on.complete(REQUEST, seed=1), "not both"),
        (lambda on: on.embed(EMBED, ["b"]), "not both"),
        (lambda on: on.embed("scripted/echo", []), "inputs"),
    ],
)
async def test_what_cannot_be_asked(runtime: Runtime, call: Callable[[Any], Any], told: str) -> None:
    """A call that is none is refused before anything is sent, by a word that names what is wrong."""
    with pytest.raises(InvalidRequest, match=told):
        await call(runtime.models)


async def test_a_request_that_is_too_large_to_travel(runtime: Runtime) -> None:
    """It is refused with what makes it smaller, and nobody takes its actor for broken."""
    with pytest.raises(InvalidRequest, match="window"):
        await runtime.models.complete("scripted/echo", "x" * (17 << 20))
    assert (await runtime.models.complete("scripted/echo", "Hi")).text == "Hi"


async def test_an_unknown_model(runtime: Runtime) -> None:
    """A name that nobody serves is refused by every verb."""
    for call in (runtime.models.complete("nobody/x", "Hi"), runtime.models.embed("nobody/x", "a")):
        with pytest.raises(UnknownModel):
            await call
    with pytest.raises(UnknownModel):
        await anext(aiter(runtime.models.stream("nobody/x", "Hi")))


def cluster(runtime: Runtime) -> Any:
    return cast("Any", runtime)._open().ground.cluster


def in_flight(runtime: Runtime) -> int:
    return int(cluster(runtime)._actors["provider-scripted-0"]._serving._door.load)
