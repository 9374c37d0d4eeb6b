"""The parts of a conversation travel whole, and cannot be what no provider could take."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from pydantic import ValidationError

from llmgine.providers.contracts import (
    AnyPart,
    AudioPart,
    Citation,
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Origin,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)

ORIGIN = Origin(provider="p", api="a", model="m")
PARTS: list[AnyPart] = [
    TextPart(
        text="said", citations=(Citation(url="https://e.org", quote="q", start=0, end=4, raw={"n": 1}),)
    ),
    TextPart(text="", signature="seal", origin=ORIGIN),
    ThinkingPart(text="hm", signature="seal", origin=ORIGIN),
    ThinkingPart(redacted="r", encrypted="e"),
    ToolCallPart(id="c", name="t", arguments=None, raw_arguments="{", id_source="synthesised"),
    ToolResultPart(
        call_id="c",
        content=(
            TextPart(text="see"),
            ImagePart(data=b"\xff"),
            AudioPart(data=b"a"),
            DocumentPart(data=b"d"),
        ),
        is_error=True,
    ),
    ImagePart(url="https://e.org/a.png", detail="low"),
    AudioPart(data=b"\x00\xff", transcript="hi"),
    DocumentPart(data=b"%PDF", name="a.pdf", cite=True),
    RefusalPart(text="no"),
    OpaquePart(kind="new", data={"any": [1, None]}, provider_data={"k": "v"}),
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.type)
def test_parts_travel_whole(part: AnyPart) -> None:
    """A part comes back equal from JSON and from pickle, bytes included."""
    message = Message(role="assistant", parts=(part,))
    assert Message.model_validate_json(message.model_dump_json()) == message
    assert pickle.loads(pickle.dumps(message)) == message


@pytest.mark.parametrize("kind", [ImagePart, AudioPart, DocumentPart])
@pytest.mark.parametrize("source", [{}, {"data": b"x", "url": "https://e.org"}])
def test_media_have_one_source(kind: Any, source: dict[str, Any]) -> None:
    """A medium is its bytes or its URL, not both and not neither."""
    with pytest.raises(ValidationError, match="either data or url"):
        kind(**source)


def test_a_user_says_texts_and_media() -> None:
    """A user's message is made from texts and media in their order."""
    image = ImagePart(data=b"x")
    assert Message.user("see", image, "and say").parts == (
        TextPart(text="see"),
        image,
        TextPart(text="and say"),
    )


def test_what_is_shown_of_thinking() -> None:
    """The thinking of a message is what its provider shows of it, joined."""
    parts = (ThinkingPart(text="one "), TextPart(text="said"), ThinkingPart(text="two"))
    message = Message(role="assistant", parts=parts)
    assert (message.thinking, message.text) == ("one two", "said")


def test_a_tool_takes_an_object() -> None:
    """The parameters of a tool are an object's schema, which every protocol demands."""
    with pytest.raises(ValidationError, match="of type object"):
        ToolSpec(name="t", parameters={"type": "string"})


def test_what_is_as_by_default_is_not_shown() -> None:
    """A message is printed with what it says, not with what it leaves open."""
    assert repr(Message.user("hi")) == "Message(role='user', parts=(TextPart(text='hi'),))"
