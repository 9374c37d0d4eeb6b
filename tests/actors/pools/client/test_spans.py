"""The span of one call of a model."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from llmgine.actors.pools.client.spans import model_call
from llmgine.providers import (
    Attempt,
    Done,
    EmbeddingRequest,
    ErrorKind,
    Failed,
    LLMRequest,
    LLMResponse,
    Message,
    ProviderError,
    Reset,
    TextDelta,
)
from llmgine.providers.contracts import (
    FinishReason,
    ImagePart,
    NamedTool,
    OutputSchema,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    Usage,
    UsageSource,
)
from llmgine.providers.contracts.parts import TextPart
from llmgine.telemetry import Span, SpanRecorder, TraceContext, names

ASKED = LLMRequest(
    model="open/gpt-5",
    messages=(
        Message.user("Where is it?", ImagePart(data=b"\x89PNG")),
        Message(
            role="assistant", parts=(ToolCallPart(id="c1", name="look", arguments={"in": {"the": "cellar"}}),)
        ),
        Message(
            role="tool",
            parts=(ToolResultPart(call_id="c1", name="look", content=(TextPart(text="It is there."),)),),
        ),
    ),
    system="Be brief.",
    tools=(ToolSpec(name="look", description="Looks.", parameters={"type": "object"}),),
    tool_choice=NamedTool(name="look"),
    output=OutputSchema(json_schema={"type": "object"}),
    temperature=0.5,
    top_p=0.9,
    top_k=3,
    seed=7,
    max_output_tokens=100,
    presence_penalty=0.1,
    frequency_penalty=0.2,
    stop=("END",),
)
ANSWERED = LLMResponse(
    message=Message(role="assistant", parts=(ThinkingPart(text="Hm."), TextPart(text="In the cellar."))),
    finish_reason=FinishReason.STOP,
    usage=Usage(
        input_tokens=120,
        output_tokens=30,
        cache_read_tokens=20,
        cache_write_tokens=10,
        reasoning_tokens=5,
        source=UsageSource.REPORTED,
    ),
    cost=Decimal("0.00125"),
    model="gpt-5-2026",
    provider="open",
    response_id="r-1",
    attempts=(
        Attempt(actor="provider-open-0", key="first", model="open/gpt-5", outcome="rate_limit", seconds=0.1),
        Attempt(actor="provider-open-1", key="second", model="open/gpt-5", outcome="done", seconds=0.1),
    ),
)


def servers(provider: str) -> tuple[str, int] | None:
    return {"open": ("api.example.org", 443)}.get(provider)


def called(recorder: SpanRecorder, *events: Any, request: Any = ASKED) -> Span:
    parent = TraceContext(1, 2)
    with model_call(recorder, request, parent=parent, session="s1", servers=servers, step=2) as span:
        for event in events:
            span.heard(event)
    batch = recorder.drain()
    assert batch is not None
    (record,) = batch.spans
    return Span.from_record(record, "test")


def test_a_call_is_told_as_the_conventions_say() -> None:
    """Who was asked for what, with which settings, and what came back, by the conventions' names."""
    times = iter(range(1000))
    recorder = SpanRecorder("test", clock=lambda: next(times) * 10**9)
    span = called(recorder, TextDelta(0, "In the "), TextDelta(0, "cellar."), Done(ANSWERED))
    assert (span.name, span.kind, span.trace_id, span.parent_id) == ("chat gpt-5", "client", 1, 2)
    told = dict(span.attributes)
    assert told.pop("gen_ai.response.time_to_first_chunk") >= 0
    assert told.pop("llmgine.response.time_per_chunk") >= 0
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "open",
        "gen_ai.conversation.id": "s1",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.top_k": 3,
        "gen_ai.request.seed": 7,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.presence_penalty": 0.1,
        "gen_ai.request.frequency_penalty": 0.2,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.output.type": "json",
        "gen_ai.response.id": "r-1",
        "gen_ai.response.model": "gpt-5-2026",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.output_tokens": 30,
        "gen_ai.usage.cache_read.input_tokens": 20,
        "gen_ai.usage.cache_creation.input_tokens": 10,
        "gen_ai.usage.cache_write.input_tokens": 10,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "server.address": "api.example.org",
        "server.port": 443,
        "llmgine.cost.usd": "0.00125",
        "llmgine.key": "second",
        "llmgine.response.chunks": 2,
        "llmgine.turn.step": 2,
    }
    (attempt,) = span.events
    assert attempt.name == names.EVENT_ATTEMPT
    assert attempt.attributes["error.type"] == "rate_limit"
    assert attempt.attributes["llmgine.key"] == "first"


def test_content_has_the_conventions_form() -> None:
    """Switched on, prompts, answers and tools are JSON text as the conventions have it; media stay out."""
    recorder = SpanRecorder("test", content=True)
    told = called(recorder, Done(ANSWERED)).attributes
    assert json.loads(told["gen_ai.input.messages"]) == [
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": "Where is it?"},
                {"type": "blob", "mime_type": "image/png", "modality": "image", "content": "", "size": 4},
            ],
        },
        {
            "role": "assistant",
            "parts": [
                {"type": "tool_call", "id": "c1", "name": "look", "arguments": {"in": {"the": "cellar"}}}
            ],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "It is there."}]},
    ]
    assert json.loads(told["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Hm."},
                {"type": "text", "content": "In the cellar."},
            ],
            "finish_reason": "stop",
        }
    ]
    assert json.loads(told["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    assert json.loads(told["gen_ai.tool.definitions"]) == [
        {"type": "function", "name": "look", "description": "Looks.", "parameters": {"type": "object"}}
    ]


def test_nothing_that_was_said_is_recorded_by_default() -> None:
    """Without content neither prompts nor answers nor the texts of errors leave the process."""
    recorder = SpanRecorder("test")
    spans = [called(recorder, Done(ANSWERED))]
    error = ProviderError("Where is it? was asked", kind=ErrorKind.SERVER)
    spans.append(called(recorder, Failed(error)))
    for said in ("Where", "cellar", "there", "brief", "Hm.", "Looks"):
        assert said not in repr(spans)


def test_content_is_redacted_before_it_is_text() -> None:
    """The user's hook sees messages as they are built, and what it leaves of them is what is recorded."""

    def redact(name: str, attributes: dict[str, Any]) -> dict[str, Any]:
        for message in attributes.get("gen_ai.input.messages", ()):
            for part in message["parts"]:
                part.pop("content", None)
        return attributes

    recorder = SpanRecorder("test", content=True, redact=redact)
    messages = called(recorder, Done(ANSWERED)).attributes["gen_ai.input.messages"]
    assert "Where" not in messages
    assert json.loads(messages)[0]["parts"][0] == {"type": "text"}


def test_a_long_conversation_loses_its_oldest_messages() -> None:
    """What is recorded of a conversation is bounded, and valid JSON all the same."""
    recorder = SpanRecorder("test", content=True, max_content=2000)
    said = tuple(Message.user(f"{number} " + "x" * 300) for number in range(50))
    request = LLMRequest(model="open/gpt-5", messages=said)
    text = called(recorder, Done(ANSWERED), request=request).attributes["gen_ai.input.messages"]
    assert len(text) <= 2000
    kept = [message["parts"][0]["content"].split()[0] for message in json.loads(text)]
    assert kept == [str(number) for number in range(50 - len(kept), 50)]
    assert len(kept) > 2


@pytest.mark.parametrize("kind", [ErrorKind.RATE_LIMIT, ErrorKind.TIMEOUT])
def test_a_failed_call_bears_the_kind_of_its_failure(kind: ErrorKind) -> None:
    """`error.type` is the failure's kind, whether it is told as an event or raised; its text is content."""
    error = ProviderError("not now", kind=kind)
    told = called(SpanRecorder("test", content=True), Failed(error))
    recorder = SpanRecorder("test")
    with pytest.raises(ProviderError), model_call(recorder, ASKED, parent=None):
        raise error
    batch = recorder.drain()
    assert batch is not None
    assert (told.error, told.message, batch.spans[0].error) == (kind.value, "not now", kind.value)


def test_a_failed_call_tells_what_it_has_used() -> None:
    """The tokens of a call that failed are on its span, and in the figures of tokens."""
    recorder = SpanRecorder("test")
    error = ProviderError("it broke off", kind=ErrorKind.TRUNCATED)
    used = Usage(input_tokens=120, output_tokens=7, source=UsageSource.PARTIAL)
    told = called(recorder, TextDelta(0, "In"), Failed(error, usage=used)).attributes
    assert (told[names.GEN_AI_USAGE_INPUT_TOKENS], told[names.GEN_AI_USAGE_OUTPUT_TOKENS]) == (120, 7)
    tokens = [
        value
        for (name, labels), value in recorder.metrics.read().items()
        if name == names.METRIC_TOKEN_USAGE and (names.GEN_AI_TOKEN_TYPE, "input") in labels
    ]
    assert [total for total, _, _ in tokens] == [120]
    assert names.GEN_AI_USAGE_INPUT_TOKENS not in called(recorder, Failed(error)).attributes


def test_an_answer_that_begins_anew_is_told() -> None:
    """What was heard and became void is an event on the span."""
    heard = (TextDelta(0, "x"), Reset("it broke"), TextDelta(0, "y"), Done(ANSWERED))
    span = called(SpanRecorder("test"), *heard)
    assert names.EVENT_RESET in [event.name for event in span.events]
    assert span.attributes[names.LLMGINE_RESPONSE_CHUNKS] == 1
    assert names.LLMGINE_RESPONSE_TIME_PER_CHUNK not in span.attributes


def test_each_chunk_is_observed() -> None:
    """The time between two chunks is a figure of each, also where the call fails in the end."""
    recorder = SpanRecorder("test")
    broken = Failed(ProviderError("it broke", kind=ErrorKind.TRUNCATED))
    called(recorder, *(TextDelta(0, "x") for _ in range(5)), broken)
    (found,) = [
        value
        for (name, _), value in recorder.metrics.read().items()
        if name == names.METRIC_TIME_PER_OUTPUT_CHUNK
    ]
    assert sum(found[1]) == 4


@pytest.mark.parametrize(
    ("model", "name"), [("gemini/flash", "generate_content flash"), ("flash", "chat flash")]
)
def test_an_operation_has_the_name_that_its_provider_gives_it(model: str, name: str) -> None:
    """As the conventions have it; of a model whose provider is not known yet it is a chat."""
    recorder = SpanRecorder("test")
    request = LLMRequest(model=model, messages=(Message.user("Hi"),))
    span = called(recorder, Done(ANSWERED), request=request)
    assert span.name == name
    assert any(metric == names.METRIC_OPERATION_DURATION for metric, _ in recorder.metrics.read())


def test_embeddings() -> None:
    """A call for vectors has their operation and dimensions."""
    request = EmbeddingRequest(model="open/small", inputs=("a",), dimensions=64)
    span = called(SpanRecorder("test"), request=request)
    assert span.name == "embeddings small"
    assert span.attributes["gen_ai.embeddings.dimension.count"] == 64


class Mute(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_error_without_text_passes_through() -> None:
    """What is raised in the call is raised out of it, whatever its own class does when it is told."""
    recorder = SpanRecorder("s", content=True)
    with pytest.raises(Mute), model_call(recorder, ASKED, parent=None):
        raise Mute
    batch = recorder.drain()
    assert batch is not None
    assert [record.error for record in batch.spans] == ["Mute"]
