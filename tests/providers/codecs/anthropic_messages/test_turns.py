"""Conversations as the Messages protocol takes them, and as it took the recorded ones."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from llmgine.providers.catalogue.profiles import ModelProfile
from llmgine.providers.codecs import AnthropicMessagesCodec, Target
from llmgine.providers.contracts import (
    CacheHints,
    DocumentPart,
    ImagePart,
    LLMRequest,
    LLMResponse,
    Message,
    OpaquePart,
    Origin,
    OutputSchema,
    Reasoning,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)
from llmgine.providers.events import Done, StreamEvent
from llmgine.providers.frames import SseSplitter
from tests.providers.codecs.recorded.exchanges import FOLDER

CODEC = AnthropicMessagesCodec()
TARGET = Target("anthropic", "claude-x")
LATE = Target("anthropic", "claude-x", ModelProfile(late_system=True))
ORIGIN = Origin(provider="anthropic", api="anthropic-messages", model="claude-x")


def encode(*messages: Message, target: Target = TARGET) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    encoded = CODEC.encode(LLMRequest(model="anthropic/claude-x", messages=messages), target)
    return encoded.body["messages"], [(note.field, note.action) for note in encoded.adjustments]


def shape(messages: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    return [(turn["role"], [block["text"] for block in turn["content"]]) for turn in messages]


U, A, S = Message.user, Message.assistant, Message.system


@pytest.mark.parametrize(
    ("talk", "roles"),
    [
        ((U("a"), S("s")), ["user", "system"]),
        ((U("a"), S("s"), A("b"), U("c")), ["user", "system", "assistant", "user"]),
        ((U("a"), S("s"), S("t")), ["user", "system"]),
        ((U("a"), S("s"), U("b")), ["user"]),
        ((U("a"), A("b"), S("s"), U("c")), ["user", "assistant", "user"]),
        ((U("a"), A("b"), S("s")), ["user", "assistant", "user"]),
        ((U("a"), A("b"), S("s"), A("c"), U("d")), ["user", "assistant", "user", "assistant", "user"]),
    ],
)
def test_late_system_messages(talk: tuple[Message, ...], roles: list[str]) -> None:
    """They stay between the user and the model where the model takes them, and else are the user's words."""
    messages, notes = encode(*talk, target=LATE)
    assert [turn["role"] for turn in messages] == roles
    assert bool(notes) == ("system" not in roles)
    messages, notes = encode(*talk)
    assert "system" not in [turn["role"] for turn in messages]
    assert [action for _, action in notes] == ["changed"] * sum(message.role == "system" for message in talk)
    text = json.dumps(messages)
    assert all(json.dumps(message.text)[1:-1] in text for message in talk)
    assert "<system>\\ns\\n</system>" in text


def test_an_answer_that_is_to_be_gone_on_with() -> None:
    """It stays the last turn; white space at its end, which is refused, is taken off with a note."""
    messages, notes = encode(U("a"), A("So "))
    assert shape(messages) == [("user", ["a"]), ("assistant", ["So"])]
    assert notes == [("messages[1]", "changed")]
    assert encode(U("a"), A("So"))[1] == []
    assert shape(encode(U("a"), A("So "), U("b"))[0])[1] == ("assistant", ["So "])


def test_blocks_go_back_with_all_that_came_with_them() -> None:
    """Fields that this version does not know are sent back to the provider, and to nobody else."""
    parts = (
        ThinkingPart(text="t", signature="s", origin=ORIGIN, provider_data={"x": 1}),
        ThinkingPart(redacted="r", origin=ORIGIN, provider_data={"x": 2}),
        TextPart(text="a", origin=ORIGIN, provider_data={"x": 3}),
        ToolCallPart(id="i", name="f", arguments={}, origin=ORIGIN, provider_data={"x": 4}),
    )
    talk = (U("q"), Message(role="assistant", parts=parts), _result("i"))
    sent = encode(*talk)[0][1]["content"]
    assert [block["x"] for block in sent] == [1, 2, 3, 4]
    elsewhere = encode(*talk, target=Target("bedrock", "claude-x"))[0][1]["content"]
    assert [block.get("x") for block in elsewhere] == [None, None]


def test_blocks_of_server_tools_serve_every_model_of_the_provider() -> None:
    """Only reasoning is bound to its model."""
    data = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    opaque = OpaquePart(kind="server_tool_use", data=data, origin=ORIGIN)
    answer = Message(role="assistant", parts=(opaque, TextPart(text="a")))
    messages, notes = encode(U("q"), answer, U("r"), target=Target("anthropic", "claude-y"))
    assert (messages[1]["content"][0], notes) == (data, [])


def test_a_longer_conversation_begins_with_the_same_bytes() -> None:
    """So that the provider's cache of the beginning can serve."""
    talk = (U("a"), A("b"), U("c"), A("d"), U("e"))
    short, long = (json.dumps(encode(*talk[:end])[0]) for end in (3, 5))
    assert long.startswith(short.removesuffix("]"))


def test_a_body_is_what_the_vendors_own_types_take() -> None:
    """Everything that a request may hold at once, checked against the types of the vendor's package."""
    from anthropic.types import ContentBlockParam
    from anthropic.types.message_create_params import MessageCreateParamsStreaming
    from anthropic.types.tool_result_block_param import Content

    png, pdf = ImagePart(data=b"\x00"), DocumentPart(data=b"\x00", name="n", cite=True)
    text = DocumentPart(data=b"t", media_type="text/plain")
    thought = (
        ThinkingPart(text="t", signature="s", origin=ORIGIN),
        ThinkingPart(redacted="r", origin=ORIGIN),
    )
    call = ToolCallPart(id="a", name="f", arguments={"x": 1}, origin=ORIGIN)
    found = ToolResultPart(call_id="a", content=(TextPart(text="1"), png, pdf))
    closed = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    request = LLMRequest(
        model="anthropic/claude-x",
        system="s",
        messages=(
            U("q", png, pdf, text),
            Message(role="assistant", parts=(*thought, call)),
            Message(role="tool", parts=(found,)),
            S("late"),
        ),
        tools=(ToolSpec(name="f", parameters=closed, strict=True),),
        parallel_tool_calls=False,
        output=OutputSchema(json_schema=closed),
        reasoning=Reasoning(effort="low", show=True),
        cache=CacheHints(breakpoints=("tools", "system", -2, -1), ttl=3600),
        stop=("END",),
    )
    encoded = CODEC.encode(request, LATE)
    assert encoded.adjustments == ()
    # The types have lazy iterables, so what stands in one is checked by itself.
    for type_, value in (
        (MessageCreateParamsStreaming, encoded.body | {"messages": []}),
        *((list[ContentBlockParam], turn["content"]) for turn in encoded.body["messages"]),
        (list[Content], encoded.body["messages"][2]["content"][0]["content"]),
    ):
        vendors: TypeAdapter[Any] = TypeAdapter(type_)
        assert json.loads(vendors.dump_json(vendors.validate_python(value))) == value


def _result(call_id: str) -> Message:
    return Message(role="tool", parts=(ToolResultPart(call_id=call_id, content=(TextPart(text="1"),)),))


def recorded_talks() -> list[tuple[str, list[dict[str, Any]]]]:
    """Recordings with an exchange whose request holds the answer of the one before it."""
    if not (FOLDER / "index.json").exists():
        return []
    found = []
    for file in sorted([*FOLDER.glob("anthropic/*.json"), *FOLDER.glob("cross_provider/*.json")]):
        interactions = [
            one
            for one in json.loads(file.read_text())["interactions"]
            if "/messages" in (one.get("url") or "") and one["status"] == 200
        ]
        if len(interactions) > 1:
            found.append((file.name, interactions))
    return found


TALKS = recorded_talks()
ABSENT = pytest.param("", [], marks=pytest.mark.skip(reason=f"no recordings in {FOLDER}"))


@pytest.mark.parametrize(("name", "interactions"), [*TALKS] or [ABSENT])
def test_recorded_answers_go_back_as_their_server_took_them(
    name: str, interactions: list[dict[str, Any]]
) -> None:
    """Decoded and encoded again, an answer is what the recorded next request held of it."""
    for first, second in itertools.pairwise(interactions):
        sent = [turn["content"] for turn in second["request"]["messages"] if turn["role"] == "assistant"]
        before = sum(turn["role"] == "assistant" for turn in first["request"]["messages"])
        if before >= len(sent) or first["request"]["model"] != second["request"]["model"]:
            continue
        answer = _decoded(first).message
        followed = (*(_result(call.id) for call in answer.tool_calls), U("and?"))
        target = Target("anthropic", first["request"]["model"])
        messages, notes = encode(U("q"), answer, *followed, target=target)
        assert notes == []
        assert [_told(block) for block in messages[1]["content"]] == [_told(block) for block in sent[before]]


def _decoded(interaction: dict[str, Any]) -> LLMResponse:
    target = Target("anthropic", interaction["request"]["model"])
    body = interaction["body"].encode()
    if not interaction["request"].get("stream"):
        return CODEC.decode_body(target, body)
    decoder = CODEC.decoder(target)
    events: list[StreamEvent] = []
    for event, data in SseSplitter().feed(body):
        events += decoder.feed(event, data)
    assert isinstance(events[-1], Done)
    return events[-1].response


def _told(block: dict[str, Any]) -> dict[str, Any]:
    """A block without what a client may leave out."""
    return {
        name: value for name, value in block.items() if name not in ("caller", "cache_control", "citations")
    }
