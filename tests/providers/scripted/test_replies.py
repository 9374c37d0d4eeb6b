"""The scripted double says whatever a model can say."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from llmgine.providers.catalogue.scripts import Reply, Script
from llmgine.providers.contracts import (
    AnyPart,
    EmbeddingRequest,
    FinishReason,
    ImagePart,
    LLMRequest,
    Message,
    NamedTool,
    OpaquePart,
    Origin,
    OutputSchema,
    Reasoning,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase
from llmgine.providers.events import PartDone, TextDelta
from llmgine.providers.options import ProvidersOptions
from llmgine.providers.registry import open_provider
from llmgine.providers.scripted.provider import ScriptedProvider
from tests.providers.inner import done, drained, failed

ORIGIN = Origin(provider="scripted", api="scripted", model="s")
TOOL = ToolSpec(name="look", parameters={"type": "object", "properties": {"at": {"type": "string"}}})
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def double(*replies: Any) -> ScriptedProvider:
    script = Script(replies=tuple(Reply.model_validate(reply) for reply in replies))
    return ScriptedProvider("scripted", ProvidersOptions(scripts={"s": script}))


def ask(**fields: Any) -> LLMRequest:
    return LLMRequest(model="scripted/s", messages=(Message.user("Hi"),), **fields)


PARTS: tuple[AnyPart, ...] = (
    ThinkingPart(text="let me see", signature="seal"),
    ThinkingPart(redacted="r"),
    TextPart(text="", signature="seal of nothing"),
    ToolCallPart(id="a", name="look", arguments={"at": "x"}),
    TextPart(text="and"),
    ToolCallPart(id="b", name="look", arguments=None, raw_arguments="{broken"),
    ThinkingPart(encrypted="e"),
    ImagePart(data=b"\x89PNG\xff"),
    OpaquePart(kind="search", data={"hits": 3}),
)


async def test_parts_come_in_their_order() -> None:
    """Any parts, sealed and unknown ones too, are streamed and come back as the script has them."""
    events = await drained(double({"parts": PARTS}).stream(ask()))
    response = done(events)
    assert [part.model_copy(update={"origin": None}) for part in response.message.parts[:3]] == list(
        PARTS[:3]
    )
    assert all(part.origin == ORIGIN for part in response.message.parts)
    first, second = response.tool_calls
    assert (first.raw_arguments, second.raw_arguments) == ('{"at": "x"}', "{broken")
    assert tuple(event.part for event in events if isinstance(event, PartDone)) == response.message.parts
    assert response.finish_reason is FinishReason.TOOL_CALLS


def test_parts_travel_as_plain_data() -> None:
    """A script in settings keeps every byte, whether written as JSON or as values."""
    script = Script(replies=(Reply(parts=PARTS),))
    assert Script.model_validate(script.model_dump(mode="json")) == script
    assert Script.model_validate_json(script.model_dump_json()) == script
    assert Script.model_validate(script.model_dump()) == script
    result = ToolResultPart(call_id="a", content=())
    with pytest.raises(ValidationError, match="tool_result"):
        Reply(parts=(result,))


async def test_a_refusal_is_heard_and_is_the_reason() -> None:
    """A refusal streams as text and ends as one."""
    events = await drained(double({"parts": [{"type": "refusal", "text": "I will not"}]}).stream(ask()))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "I will not"
    assert done(events).message.parts == (RefusalPart(text="I will not", origin=ORIGIN),)
    assert done(events).finish_reason is FinishReason.REFUSAL


async def test_what_the_provider_tells_beside_the_answer() -> None:
    """Cost, limits and adjustments are those of the script."""
    told = {
        "cost": "0.25",
        "rate_limits": [{"of": "requests", "remaining": 3}],
        "adjustments": [{"field": "seed", "action": "dropped", "reason": "none"}],
    }
    response = done(await drained(double({"text": "a", **told}).stream(ask())))
    assert response.cost == Decimal("0.25")
    assert response.rate_limits[0].remaining == 3
    assert response.adjustments[0].field == "seed"
    assert done(await drained(double({"cost": None}).stream(ask()))).cost is None


@pytest.mark.parametrize(
    ("reasoning", "kinds"),
    [
        (None, ["thinking", "thinking", "text"]),
        (Reasoning(effort="high"), ["thinking", "thinking", "text"]),
        (Reasoning(effort="none"), ["text"]),
        (Reasoning(budget=0), ["text"]),
        (Reasoning(show=False), ["thinking", "text"]),
    ],
)
async def test_reasoning_is_heeded(reasoning: Reasoning | None, kinds: list[str]) -> None:
    """A double that shall not think does not; one that shall not show it keeps only what is sealed."""
    parts = [ThinkingPart(text="open"), ThinkingPart(text="sealed", signature="s"), TextPart(text="a")]
    response = done(await drained(double({"parts": parts}).stream(ask(reasoning=reasoning))))
    assert [part.type for part in response.message.parts] == kinds
    if reasoning is not None and reasoning.show is False:
        assert response.message.thinking == ""


@pytest.mark.parametrize("choice", ["required", NamedTool(name="look")])
async def test_a_demanded_call_is_made(choice: Any) -> None:
    """A reply that answers by itself calls the tool where the request demands a call."""
    response = done(await drained(double({}).stream(ask(tools=(TOOL,), tool_choice=choice))))
    assert [call.name for call in response.tool_calls] == ["look"]


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": "required"},
        {"tool_choice": NamedTool(name="none"), "tools": (TOOL,)},
        {"messages": (Message(role="user", parts=(RefusalPart(text="no"),)),)},
    ],
)
async def test_what_no_provider_could_send_is_refused(fields: dict[str, Any]) -> None:
    """The double refuses what every protocol refuses."""
    request = ask().model_copy(update=fields)
    error = failed(await drained(double({}).stream(request))).error
    assert (error.kind, error.phase) == (ErrorKind.INVALID_REQUEST, ErrorPhase.REQUEST)


async def test_a_cut_off_call_is_kept() -> None:
    """A fault within a call leaves its arguments as far as they had come."""
    fault = {"kind": "truncated", "after_chunks": 2}
    calls = [{"name": "look", "arguments": {"at": "a place that is far away"}}]
    last = failed(await drained(double({"tool_calls": calls, "fault": fault}).stream(ask())))
    assert last.partial is not None
    (call,) = last.partial.tool_calls
    assert (call.arguments, call.raw_arguments) == (None, '{"at": "a place ')


@pytest.mark.parametrize("mode", ["native", "tool", "prompt"])
async def test_a_bad_first_answer_is_repaired(mode: Any) -> None:
    """A script may give an answer that does not fit first, and is then asked again."""
    script = Script(replies=(Reply(text='{"n": "one"}'), Reply()))
    if mode == "prompt":
        script = Script(replies=(Reply(text="no"), Reply(text='{"n": 1}')))
    provider = open_provider("scripted", ProvidersOptions(scripts={"s": script}))
    request = ask(output=OutputSchema(json_schema=SCHEMA, mode=mode))
    response = done(await drained(provider.stream(request)))
    assert (response.output, response.output_mode) == ({"n": 1}, mode)
    assert [attempt.outcome for attempt in response.attempts] == ["bad_output", "done"]
    assert response.cost == 0


@pytest.mark.parametrize("mid_stream", ["restart", "continue"])
async def test_a_fault_that_passes_is_recovered(mid_stream: Any) -> None:
    """A script may break off once, so that recovery can be tried out."""
    fault = {"kind": "connection", "after_chunks": 2, "times": 1, "retry_after": 0}
    script = Script.model_validate(
        {"replies": [{"text": "one two three", "fault": fault}, {"text": "three"}]}
    )
    provider = open_provider("scripted", ProvidersOptions(scripts={"s": script}))
    response = done(await drained(provider.stream(ask(mid_stream=mid_stream))))
    assert response.text == "one two three"
    assert [attempt.outcome for attempt in response.attempts] == ["connection", "done"]


async def test_embeddings_are_unit_vectors_of_the_text() -> None:
    """Equal texts have equal vectors of length one, as many numbers as were asked for."""
    asked = EmbeddingRequest(model="scripted/echo", inputs=("a b", "c", "a b", "\ud800"))
    response = await double({}).embed(asked)
    first, second, third, _ = response.vectors
    assert first == third != second
    assert {len(vector) for vector in response.vectors} == {8}
    assert all(math.isclose(math.hypot(*vector), 1.0) for vector in response.vectors)
    assert (response.usage.input_tokens, response.usage.source) == (6, UsageSource.REPORTED)
    assert (response.model, response.provider) == ("echo", "scripted")
    assert response.cost == Decimal(0)
    short = await double({}).embed(asked.model_copy(update={"dimensions": 3}))
    assert {len(vector) for vector in short.vectors} == {3}
