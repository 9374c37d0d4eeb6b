"""Real answers of real providers through the codecs; what comes out is compared with what was sent.

The reference side reads the recordings on its own, line by line with `json`, and shares nothing
with the package.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from llmgine.providers.catalogue.quirks import PLAIN
from llmgine.providers.codecs import (
    AnthropicMessagesCodec,
    Codec,
    GeminiCodec,
    OpenAIChatCodec,
    OpenAIResponsesCodec,
    Target,
)
from llmgine.providers.contracts import (
    LLMRequest,
    LLMResponse,
    Message,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolResultPart,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase
from llmgine.providers.events import Done, PartDone, TextDelta, ThinkingDelta, ToolCallDelta
from tests.providers.codecs.recorded.exchanges import BODIES, ERRORS, FOLLOWED, STREAMS, Exchange, each
from tests.providers.codecs.recorded.reading import Said, said
from tests.providers.switching.targets import check_form

ELSEWHERE: dict[str, Codec] = {
    "chat": OpenAIChatCodec(),
    "compatible": OpenAIChatCodec(PLAIN),
    "openai": OpenAIResponsesCodec(),
    "anthropic": AnthropicMessagesCodec(),
    "gemini": GeminiCodec(),
}


def check(response: LLMResponse, one: Said, wire: str) -> None:
    """The response says what the answer said, all of it and nothing else."""
    parts = response.message.parts
    thoughts = [part for part in parts if isinstance(part, ThinkingPart)]
    assert response.text == one.text
    assert "".join(part.text for part in parts if isinstance(part, RefusalPart)) == one.refusal
    assert "".join(part.text for part in thoughts) == "".join(one.thinking)
    assert [seal for part in parts for seal in seals_of(part)] == one.seals
    assert [part.data for part in parts if part.type == "opaque"] == one.opaque
    assert [
        (call.id if call.id_source == "provider" else None, call.name, call.arguments)
        for call in response.tool_calls
    ] == one.calls
    if one.raw_calls is not None:
        assert [call.raw_arguments for call in response.tool_calls] == one.raw_calls
    if wire in ("anthropic-messages", "openai-responses"):
        cited = [cite.raw for part in parts if isinstance(part, TextPart) for cite in part.citations]
        assert cited == one.citations
    assert response.usage.raw == one.usage
    assert {name: getattr(response.usage, name) for name in one.counts} == one.counts
    assert response.finish_reason_raw == one.reason
    assert (response.response_id, response.model) == (one.id, one.model)
    assert "unknown_events" not in response.provider_data


def seals_of(part: Any) -> Iterator[str]:
    for seal in (part.signature, getattr(part, "redacted", None), getattr(part, "encrypted", None)):
        if seal:
            yield seal


def follow_up(response: LLMResponse, model: str) -> LLMRequest:
    """The conversation goes on after this answer."""
    results = tuple(
        ToolResultPart(call_id=call.id, name=call.name, content=(TextPart(text="42"),))
        for call in response.tool_calls
    )
    between = (Message(role="tool", parts=results),) if results else ()
    messages = (Message.user("q"), response.message, *between, Message.user("and?"))
    return LLMRequest(model=model, messages=messages)


def sealed(body: Any) -> Iterator[dict[str, Any]]:
    """The innermost objects of a request's body that hold a signature, or what only its maker reads."""
    if isinstance(body, dict):
        held = [body.get(name) for name in ("signature", "thoughtSignature", "encrypted_content")]
        held += [body.get("data")] if body.get("type") == "redacted_thinking" else []
        if any(isinstance(seal, str) and seal for seal in held):
            yield body
            return
        body = list(body.values())
    if isinstance(body, list):
        for inner in body:
            yield from sealed(inner)


def camel(value: Any) -> Any:
    """The value with the fields' names in camel case: Gemini takes them in snake case too."""
    if isinstance(value, list):
        return [camel(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    head_and_tail = {name: name.split("_") for name in value}
    spelled = {name: parts[0] + "".join(map(str.title, parts[1:])) for name, parts in head_and_tail.items()}
    return {spelled[name]: camel(inner) for name, inner in value.items()}


def seal(node: dict[str, Any]) -> str:
    names = ("signature", "thoughtSignature", "encrypted_content", "data")
    return str(next(node[name] for name in names if node.get(name)))


def check_replay(response: LLMResponse, exchange: Exchange) -> None:
    """A follow-up with the answer in it encodes, here with every seal, elsewhere with every loss noted.

    The Responses protocol takes back no reasoning that the provider neither stored nor sent encrypted.
    """
    request = follow_up(response, "x/recorded")
    here = exchange.codec.encode(request, exchange.target)
    lost = [
        f"messages[1].parts[{position}]"
        for position, part in enumerate(response.message.parts)
        if exchange.wire == "openai-responses" and isinstance(part, ThinkingPart) and not part.encrypted
    ]
    assert [(made.field, made.action) for made in here.adjustments] == [(place, "dropped") for place in lost]
    assert json.dumps(here.body) == json.dumps(exchange.codec.encode(request, exchange.target).body)
    sent = json.dumps(here.body, ensure_ascii=False)
    for call in response.tool_calls:
        assert call.name in sent
    own = [held for part in response.message.parts for held in seals_of(part)]
    assert [held for held in map(seal, sealed(here.body)) if held in own] == own
    for name, other in ELSEWHERE.items():
        away = other.encode(request, Target("elsewhere", "other"))
        check_form(name, away.body)
        kept = sum(part.type in ("text", "tool_call", "refusal") for part in response.message.parts)
        assert kept + len(away.adjustments) >= len(response.message.parts)
        assert not any(held in json.dumps(away.body) for held in own)


@each(STREAMS)
def test_streams_lose_nothing(exchange: Exchange) -> None:
    """A recorded stream gives its text, calls, reasoning, seals, usage and reason."""
    events = exchange.play(exchange.pieces())
    done = events[-1]
    assert isinstance(done, Done), done
    one = said(exchange)
    check(done.response, one, exchange.wire)
    check_replay(done.response, exchange)
    assert tuple(event.part for event in events if isinstance(event, PartDone)) == done.response.message.parts
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == one.text + one.refusal
    thinking = "".join(event.text for event in events if isinstance(event, ThinkingDelta))
    assert thinking == "".join(one.thinking)
    arguments = "".join(event.arguments for event in events if isinstance(event, ToolCallDelta))
    assert arguments == "".join(call.raw_arguments for call in done.response.tool_calls)


@each(STREAMS)
def test_streams_are_the_same_however_they_were_cut(exchange: Exchange) -> None:
    """Pieces of any size give the same events, tiny ones and cuts within a character too."""
    length = len(exchange.body.encode())
    chance = random.Random(exchange.name)
    whole = shown(exchange, exchange.pieces())
    assert shown(exchange, exchange.pieces(*range(7, length, 7))) == whole
    for count in (1, 10, 100):
        places = [chance.randrange(length + 1) for _ in range(count)]
        assert shown(exchange, exchange.pieces(*places)) == whole


def shown(exchange: Exchange, pieces: list[bytes]) -> str:
    """The events as text, with the ids that were made up here taken out: they differ each time."""
    events = exchange.play(pieces)
    done = events[-1]
    assert isinstance(done, Done)
    made = [call.id for call in done.response.tool_calls if call.id_source == "synthesised"]
    text = repr(events)
    for number, call_id in enumerate(made):
        text = text.replace(call_id, f"made-{number}")
    return text


@each(BODIES)
def test_bodies_lose_nothing(exchange: Exchange) -> None:
    """A recorded answer in one piece gives the same."""
    response = exchange.codec.decode_body(exchange.target, exchange.body.encode())
    check(response, said(exchange), exchange.wire)
    check_replay(response, exchange)


@each(FOLLOWED, "pair")
def test_an_answer_goes_back_with_its_seals_as_the_vendor_took_them(pair: tuple[Exchange, Exchange]) -> None:
    """Where the recorded next request replays the answer, ours replays the same sealed blocks."""
    exchange, after = pair
    if exchange.streamed:
        done = exchange.play(exchange.pieces())[-1]
        assert isinstance(done, Done)
        response = done.response
    else:
        response = exchange.codec.decode_body(exchange.target, exchange.body.encode())
    body = exchange.codec.encode(follow_up(response, "x/recorded"), exchange.target).body
    ours = {seal(node): node for node in sealed(body)}
    own = [held for part in response.message.parts for held in seals_of(part)]
    assert list(ours) == list(dict.fromkeys(own))
    asked = camel(after.request) if exchange.wire == "gemini" else after.request
    theirs = [node for node in sealed(asked) if seal(node) in own]
    for node in theirs:
        mine = ours[seal(node)]
        if "functionCall" in node and "id" not in mine["functionCall"]:
            node["functionCall"].pop("id", None)  # the client's own
        for name in node.keys() - {"cache_control"}:
            assert mine.get(name) == node[name], name
    order = [seal(node) for node in theirs]
    assert order == [held for held in ours if held in order]


@each(ERRORS)
def test_errors_say_what_they_mean(exchange: Exchange) -> None:
    """A recorded error answer has its kind, the vendor's words and the request's id."""
    error = exchange.codec.decode_error(
        exchange.target, exchange.status, exchange.headers, exchange.body.encode(), ErrorPhase.PRE_TOKEN
    )
    answer = json.loads(exchange.body)
    answer = (answer[0] if isinstance(answer, list) else answer)["error"]
    kinds = {401: ErrorKind.AUTHENTICATION, 400: ErrorKind.INVALID_REQUEST, 404: ErrorKind.NOT_FOUND}
    expected = kinds[exchange.status]
    if "API key not valid" in answer["message"]:  # which Google says with the status 400
        expected = ErrorKind.AUTHENTICATION
    assert error.kind is expected
    assert error.message == answer["message"]
    words = [answer.get("code"), answer.get("type"), answer.get("status")]
    assert error.code == next(word for word in words if isinstance(word, str))
    sent = exchange.headers.get("request-id") or exchange.headers.get("x-request-id")
    assert error.request_id == sent
    assert not error.retryable
