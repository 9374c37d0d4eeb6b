from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from llmgine.providers.codecs import GeminiCodec, Target
from llmgine.providers.contracts import (
    AudioPart,
    Citation,
    DocumentPart,
    FinishReason,
    ImagePart,
    LLMRequest,
    LLMResponse,
    Message,
    OpaquePart,
    Origin,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.events import (
    Done,
    Failed,
    PartDone,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)

TARGET = Target("gemini", "gemini-x")
ORIGIN = Origin(provider="gemini", api="gemini", model="gemini-x")
CODEC = GeminiCodec(new_id=lambda: "made")

Frame = dict[str, Any]
Part = dict[str, Any]


def parts(*given: Part, finish: str | None = None, **fields: Any) -> Frame:
    """One frame with these parts; `fields` stand beside the content."""
    candidate: Frame = {"content": {"role": "model", "parts": list(given)}, "index": 0, **fields}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate]}


def play(*frames: Frame | bytes, codec: GeminiCodec = CODEC) -> list[StreamEvent]:
    decoder = codec.decoder(TARGET)
    payloads = [frame if isinstance(frame, bytes) else json.dumps(frame).encode() for frame in frames]
    events = [event for payload in payloads for event in decoder.feed("", payload)]
    return events + decoder.end()


def done(*frames: Frame | bytes, codec: GeminiCodec = CODEC) -> LLMResponse:
    last = play(*frames, codec=codec)[-1]
    assert isinstance(last, Done), last
    return last.response


def failed(*frames: Frame | bytes) -> Failed:
    events = play(*frames)
    last = events[-1]
    assert isinstance(last, Failed), last
    assert sum(isinstance(event, Done | Failed) for event in events) == 1
    return last


def sent_back(response: LLMResponse, target: Target = TARGET) -> list[Part]:
    """The model's parts of a request that goes on from the response."""
    messages = (Message.user("hi"), response.message, Message.user("go on"))
    body = CODEC.encode(LLMRequest(model="gemini/gemini-x", messages=messages), target).body
    return next((turn["parts"] for turn in body["contents"] if turn["role"] == "model"), [])


def test_text_grows_as_one_part() -> None:
    """Pieces of text are deltas of one part, which is whole with the end."""
    assert play(parts({"text": "Hel"}), parts({"text": "lo"}), parts(finish="STOP"))[:3] == [
        TextDelta(0, "Hel"),
        TextDelta(0, "lo"),
        PartDone(0, TextPart(text="Hello", origin=ORIGIN)),
    ]


def test_thinking_is_apart_from_text() -> None:
    """Parts marked as thought are thinking, and order is kept."""
    events = play(
        parts({"text": "hm", "thought": True}),
        parts({"text": "m", "thought": True}),
        parts({"text": "so"}, {"text": "but", "thought": True}, finish="STOP"),
    )
    assert events[:4] == [
        ThinkingDelta(0, "hm"),
        ThinkingDelta(0, "m"),
        PartDone(0, ThinkingPart(text="hmm", origin=ORIGIN)),
        TextDelta(1, "so"),
    ]
    assert [part.type for part in _response(events).message.parts] == ["thinking", "text", "thinking"]


def test_calls_come_whole() -> None:
    """A call is announced, argued and done at once; one without an id gets one of ours."""
    call = {
        "functionCall": {"name": "weather", "args": {"city": "Köln", "days": 3}},
        "thoughtSignature": "c2ln",
    }
    events = play(parts(call, {"functionCall": {"id": "theirs", "name": "time"}}, finish="STOP"))
    raw = '{"city":"Köln","days":3}'
    first = ToolCallPart(
        id="made",
        name="weather",
        arguments={"city": "Köln", "days": 3},
        raw_arguments=raw,
        id_source="synthesised",
        signature="c2ln",
        origin=ORIGIN,
    )
    second = ToolCallPart(id="theirs", name="time", arguments={}, raw_arguments="{}", origin=ORIGIN)
    assert events[:6] == [
        ToolCallStart(0, "made", "weather"),
        ToolCallDelta(0, raw),
        PartDone(0, first),
        ToolCallStart(1, "theirs", "time"),
        ToolCallDelta(1, "{}"),
        PartDone(1, second),
    ]
    assert _response(events).finish_reason is FinishReason.TOOL_CALLS


def test_text_before_a_call_is_whole_before_it() -> None:
    """Parts are given out whole in their order."""
    events = play(
        parts({"text": "a"}), parts({"functionCall": {"name": "f", "args": {}}}), parts(finish="STOP")
    )
    assert [event.index for event in events if isinstance(event, PartDone)] == [0, 1]
    assert isinstance(events[1], PartDone)


@pytest.mark.parametrize(
    "wire",
    [
        [{"text": "a", "thoughtSignature": "c2ln"}],
        [{"text": "", "thoughtSignature": "c2ln"}],
        [{"text": "a"}, {"text": "", "thoughtSignature": "c2ln"}],
        [{"text": "a", "thoughtSignature": "c2ln"}, {"text": "b"}, {"text": "c", "thoughtSignature": "d"}],
        [{"text": "t", "thought": True, "thoughtSignature": "e_-+/="}, {"text": "a"}],
        [{"functionCall": {"name": "f", "args": {"b": 1, "a": [2.5, None]}}, "thoughtSignature": "f"}],
        [{"functionCall": {"id": "i", "name": "f", "args": {}}, "thoughtSignature": "f"}],
        [{"executableCode": {"language": "PYTHON", "code": "1", "id": "x"}, "thoughtSignature": "g"}],
        [{"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}, {"text": "b"}],
        [{"inlineData": {"mimeType": "image/png", "data": "AAEC"}, "thoughtSignature": "h"}],
        [{"inlineData": {"mimeType": "image/png", "data": "AAEC"}, "thought": True}, {"text": "a"}],
        [{"toolCall": {"id": "1", "args": {}}}, {"toolResponse": {"id": "1"}}, {"text": "a"}],
        [{"text": "a", "novelty": {"x": 1}}, {"text": "b"}],
    ],
)
def test_what_a_model_said_goes_back_as_it_came(wire: list[Part]) -> None:
    """Parts, their order and their signatures return to the very model byte for byte, streamed or not."""
    streamed = done(*(parts(part) for part in wire), parts(finish="STOP"))
    whole = done(parts(*wire, finish="STOP"))
    assert streamed.message == whole.message
    assert sent_back(whole) == wire


def test_signatures_go_to_no_other_model() -> None:
    """Another model gets the words without the seal."""
    response = done(parts({"text": "a", "thoughtSignature": "c2ln"}, finish="STOP"))
    assert sent_back(response, Target("gemini", "gemini-y")) == [{"text": "a"}]


def test_media_that_the_model_made() -> None:
    """Images, sound and files become parts of their kind."""
    data = base64.b64encode(b"\xff\xfe\xfd").decode()
    made = [
        {"inlineData": {"mimeType": "image/png", "data": data}},
        {"inlineData": {"mimeType": "audio/L16;rate=24000", "data": data.replace("/", "_")}},
        {"inlineData": {"mimeType": "application/pdf", "data": data}},
    ]
    response = done(parts(*made, finish="STOP"))
    assert [type(part) for part in response.message.parts] == [ImagePart, AudioPart, DocumentPart]
    assert all(getattr(part, "data", None) == b"\xff\xfe\xfd" for part in response.message.parts)
    assert response.message.parts[0].origin == ORIGIN


def test_blocks_of_the_servers_tools_are_kept() -> None:
    """What this version does not know stays in its place."""
    response = done(parts({"novelty": {"x": 1}, "thoughtSignature": "s"}, {"text": "a"}, finish="STOP"))
    kept = OpaquePart(kind="novelty", data={"novelty": {"x": 1}}, signature="s", origin=ORIGIN)
    assert response.message.parts[0] == kept


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("STOP", FinishReason.STOP),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("SAFETY", FinishReason.CONTENT_FILTER),
        ("RECITATION", FinishReason.CONTENT_FILTER),
        ("PROHIBITED_CONTENT", FinishReason.CONTENT_FILTER),
        ("CONTINUATION", FinishReason.PAUSE),
        ("MALFORMED_FUNCTION_CALL", FinishReason.ERROR),
        ("MALFORMED_RESPONSE", FinishReason.ERROR),
        ("OTHER", FinishReason.UNKNOWN),
        ("NOVELTY", FinishReason.UNKNOWN),
    ],
)
def test_reasons(raw: str, reason: FinishReason) -> None:
    """Each reason is what it is, and one that nobody knows is never a good end."""
    response = done(parts({"text": "a"}, finish=raw))
    assert (response.finish_reason, response.finish_reason_raw) == (reason, raw)


@pytest.mark.parametrize("raw", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER", "NOVELTY"])
def test_a_bad_end_without_an_answer_is_an_error(raw: str) -> None:
    """An answer that holds at most thinking and ended badly is a failure worth another try."""
    thought = {"text": "hm", "thought": True}
    last = failed(parts(thought), parts(finish=raw, finishMessage="it broke"))
    assert (last.error.kind, last.error.code, last.error.retryable) == (ErrorKind.BAD_OUTPUT, raw, True)
    assert "it broke" in last.error.message
    assert last.partial is not None


def test_a_missing_signature_is_the_requests_fault() -> None:
    """The same request would come to the same end."""
    error = failed(parts(finish="MISSING_THOUGHT_SIGNATURE")).error
    assert (error.kind, error.code) == (ErrorKind.INVALID_REQUEST, "signature_invalid")
    assert not error.retryable


@pytest.mark.parametrize(
    ("raw", "reason"), [("MAX_TOKENS", FinishReason.LENGTH), ("SAFETY", FinishReason.CONTENT_FILTER)]
)
@pytest.mark.parametrize("content", [None, {}, {"role": "model"}])
def test_an_empty_answer_with_a_reason(content: Any, raw: str, reason: FinishReason) -> None:
    """The limit or a filter may leave nothing, which is an answer all the same."""
    candidate = {"finishReason": raw} if content is None else {"finishReason": raw, "content": content}
    response = done({"candidates": [candidate]})
    assert (response.finish_reason, response.message.parts) == (reason, ())


def test_a_blocked_prompt_is_an_error() -> None:
    """Without candidates there is nothing but the reason."""
    feedback = {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "no such things"}
    error = failed({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 3}}).error
    assert (error.kind, error.code) == (ErrorKind.CONTENT_FILTER, "PROHIBITED_CONTENT")
    assert "no such things" in error.message
    assert not error.retryable


def test_an_error_frame() -> None:
    """An error inside the stream says its kind, and what had arrived is kept."""
    error = {"error": {"code": 503, "status": "UNAVAILABLE", "message": "too much to do"}}
    last = failed(parts({"text": "a"}), error)
    assert (last.error.kind, last.error.phase) == (ErrorKind.OVERLOADED, ErrorPhase.MID_STREAM)
    assert last.partial is not None
    assert last.partial.text == "a"


def test_a_stream_without_its_end_marker_is_truncated() -> None:
    """A clean end of the body is no end of the answer."""
    last = failed(parts({"text": "a"}), {"usageMetadata": {"promptTokenCount": 3}})
    assert last.error.kind is ErrorKind.TRUNCATED
    assert last.usage is not None
    assert last.usage.source is UsageSource.PARTIAL


@pytest.mark.parametrize(
    "frame",
    [
        b"[1]",
        b"{",
        parts({"text": 1, "thoughtSignature": "x"}),
        parts({"functionCall": {"name": "f", "args": []}}),
        parts({"inlineData": {"mimeType": "image/png", "data": "?"}}),
        {"candidates": [1]},
        {"candidates": 1},
        {"usageMetadata": 1},
    ],
)
def test_what_is_not_the_protocol_is_malformed(frame: Frame | bytes) -> None:
    """Nothing that a server sends raises."""
    assert failed(frame).error.kind is ErrorKind.MALFORMED


def test_usage() -> None:
    """Thinking counts as output and what the server's tools read as input; the last figures hold."""
    first = {"promptTokenCount": 10, "thoughtsTokenCount": 4, "cachedContentTokenCount": 3}
    last = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 2,
        "candidatesTokenCount": 5,
        "totalTokenCount": 21,
    }
    usage = done(parts() | {"usageMetadata": first}, parts(finish="STOP") | {"usageMetadata": last}).usage
    assert (usage.input_tokens, usage.output_tokens) == (12, 9)
    assert (usage.reasoning_tokens, usage.cache_read_tokens) == (4, 3)
    assert usage.source is UsageSource.REPORTED
    assert usage.raw == first | last


def test_usage_of_an_answer_of_nothing() -> None:
    """A count of nothing is left out, and the total shows it; without figures there are none."""
    spent = {"usageMetadata": {"promptTokenCount": 14, "totalTokenCount": 14}}
    assert done(parts(finish="SAFETY") | spent).usage.output_tokens == 0
    usage = done(parts({"text": "a"}, finish="STOP")).usage
    assert (usage.source, usage.input_tokens, usage.output_tokens) == (UsageSource.ABSENT, None, None)


def test_usage_of_the_old_package() -> None:
    """It leaves out the count of thinking, which the total still holds."""
    counts = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 40}
    frame = parts({"text": "a"}, finish="STOP") | {"usageMetadata": counts}
    assert done(frame, codec=GeminiCodec(legacy=True)).usage.output_tokens == 30
    assert done(frame).usage.output_tokens == 5


def test_text_after_a_reason_is_taken() -> None:
    """Some models give a reason in every frame, and the last one counts; one that says none is no end."""
    events = play(parts({"text": "a"}, finish="STOP"), parts({"text": "b"}, finish="MAX_TOKENS"))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["a", "b"]
    done = events[-1]
    assert isinstance(done, Done)
    assert (done.response.text, done.response.finish_reason) == ("ab", FinishReason.LENGTH)
    failed = play(parts({"text": "a"}, finish="FINISH_REASON_UNSPECIFIED"))[-1]
    assert isinstance(failed, Failed)
    assert failed.error.kind is ErrorKind.TRUNCATED


def test_what_stands_beside_the_answer() -> None:
    """Ids, the model's exact name and everything else of an answer are kept."""
    ratings = [{"category": "X", "probability": "LOW"}]
    frame = parts({"text": "a"}, finish="STOP", safetyRatings=ratings, avgLogprobs=-0.5)
    response = done(frame | {"responseId": "r", "modelVersion": "gemini-x-1", "continuationToken": "t"})
    assert (response.response_id, response.model, response.provider) == ("r", "gemini-x-1", "gemini")
    assert response.provider_data == {"safetyRatings": ratings, "avgLogprobs": -0.5, "continuationToken": "t"}


def test_probabilities_of_all_frames() -> None:
    """Each frame tells those of its own tokens; together they are those of the answer."""
    first = parts({"text": "a"}, logprobsResult={"chosenCandidates": [{"token": "a"}]})
    second = parts({"text": "b"}, finish="STOP", logprobsResult={"chosenCandidates": [{"token": "b"}]})
    chosen = done(first, second).provider_data["logprobsResult"]["chosenCandidates"]
    assert chosen == [{"token": "a"}, {"token": "b"}]


def test_further_candidates_are_kept_apart() -> None:
    """Only the first candidate is the answer."""
    frame = parts({"text": "a"}, finish="STOP")
    frame["candidates"].append({"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"})
    response = done(frame)
    assert response.text == "a"
    assert response.provider_data["unknown_events"][0]["data"]["index"] == 1


def test_citations() -> None:
    """A place in bytes becomes one in characters; each source of a support is a citation."""
    chunks = [{"web": {"uri": "https://a", "title": "A"}}, {"retrievedContext": {"uri": "b", "text": "so"}}]
    segment = {"startIndex": 6, "endIndex": 12, "text": "schön"}
    support = {"segment": segment, "groundingChunkIndices": [0, 1, 7]}
    grounding = {"groundingChunks": chunks, "groundingSupports": [support], "webSearchQueries": ["q"]}
    response = done(
        parts({"text": "Köln "}),
        parts({"text": "schön."}),
        parts({"text": "", "thoughtSignature": "s"}, finish="STOP", groundingMetadata=grounding),
    )
    cited, sealed = response.message.parts
    assert isinstance(cited, TextPart)
    first, second = ({"support": support, "chunk": chunk} for chunk in chunks)
    assert cited.citations == (
        Citation(url="https://a", title="A", start=5, end=10, raw=first),
        Citation(url="b", quote="so", start=5, end=10, raw=second),
    )
    assert cited.text[5:10] == "schön"
    assert sealed.signature == "s"
    assert response.provider_data["groundingMetadata"] == grounding


def test_recitations_are_cited_too() -> None:
    """Sources that were quoted at length stand in a list of their own."""
    source = {"startIndex": 0, "endIndex": 1, "uri": "https://a", "license": "mit"}
    response = done(parts({"text": "ab"}, finish="STOP", citationMetadata={"citationSources": [source]}))
    assert isinstance(part := response.message.parts[0], TextPart)
    assert part.citations == (Citation(url="https://a", start=0, end=1, raw=source),)


@pytest.mark.parametrize(
    "grounding",
    [
        {"groundingSupports": 1},
        {"groundingSupports": [1, {"segment": 2, "groundingChunkIndices": ["x"]}], "groundingChunks": {}},
        {"groundingSupports": [{"groundingChunkIndices": [0]}], "groundingChunks": [1]},
        {"groundingSupports": [{"groundingChunkIndices": 1}], "groundingChunks": [1]},
        {"citationSources": [{"startIndex": "x", "uri": 1}]},
    ],
)
def test_odd_sources_harm_no_answer(grounding: Any) -> None:
    """A good answer is not lost for how its sources are told."""
    assert done(parts({"text": "ab"}, finish="STOP", groundingMetadata=grounding)).text == "ab"


def test_an_answer_in_one_piece() -> None:
    """An object, or the array of a stream's objects, is the answer that the stream would have been."""
    frames = [parts({"text": "a"}), parts({"text": "b", "thoughtSignature": "s"}, finish="STOP")]
    streamed = done(*frames)
    assert CODEC.decode_body(TARGET, json.dumps(frames).encode()) == streamed
    whole = parts({"text": "a"}, {"text": "b", "thoughtSignature": "s"}, finish="STOP")
    assert CODEC.decode_body(TARGET, json.dumps(whole, indent=1).encode()) == streamed


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[]", ErrorKind.TRUNCATED),
        (b"{}", ErrorKind.TRUNCATED),
        (b"[oops", ErrorKind.MALFORMED),
        (b"oops", ErrorKind.MALFORMED),
        (b"[1]", ErrorKind.MALFORMED),
        (json.dumps([parts({"text": "a"})]).encode(), ErrorKind.TRUNCATED),
        (b'{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"slow down"}}', ErrorKind.RATE_LIMIT),
        (b'[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"no"}}]', ErrorKind.RATE_LIMIT),
    ],
)
def test_a_body_that_is_no_answer(body: bytes, kind: ErrorKind) -> None:
    """It raises what it is."""
    with pytest.raises(ProviderError) as raised:
        CODEC.decode_body(TARGET, body)
    assert raised.value.kind is kind


def _response(events: list[StreamEvent]) -> LLMResponse:
    last = events[-1]
    assert isinstance(last, Done)
    return last.response


def test_sources_are_bounded() -> None:
    """Of more than anyone reads the first ones are cited; all of them are kept."""
    support = {"segment": {"startIndex": 0, "endIndex": 1}, "groundingChunkIndices": [0]}
    grounding = {"groundingChunks": [{"web": {"uri": "u"}}], "groundingSupports": [support] * 1500}
    done = play(parts({"text": "abc"}, finish="STOP", groundingMetadata=grounding))[-1]
    assert isinstance(done, Done)
    (said,) = done.response.message.parts
    assert isinstance(said, TextPart)
    assert len(said.citations) == 1000
    assert len(done.response.provider_data["groundingMetadata"]["groundingSupports"]) == 1500
