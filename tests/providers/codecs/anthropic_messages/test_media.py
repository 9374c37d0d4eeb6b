"""Images, sounds and documents in the Messages protocol."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from llmgine.providers.catalogue.profiles import UNKNOWN_MODEL, ModelProfile
from llmgine.providers.codecs import AnthropicMessagesCodec, Target
from llmgine.providers.contracts import (
    AudioPart,
    DocumentPart,
    ImagePart,
    LLMRequest,
    Message,
    Origin,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from llmgine.providers.errors import ErrorKind, ProviderError

ELSEWHERE = Origin(provider="openai", api="openai-responses", model="gpt")
BLIND = ModelProfile(images=False, documents=False)
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "AA=="}


def encode(
    *messages: Message, profile: ModelProfile = UNKNOWN_MODEL, **fields: Any
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    request = LLMRequest(model="anthropic/claude-x", messages=messages, **fields)
    encoded = AnthropicMessagesCodec().encode(request, Target("anthropic", "claude-x", profile))
    return encoded.body["messages"], [(note.field, note.action) for note in encoded.adjustments]


def text_source(text: str) -> dict[str, Any]:
    return {"type": "text", "media_type": "text/plain", "data": text}


@pytest.mark.parametrize(
    ("document", "block", "notes"),
    [
        (DocumentPart(data=b"\x00"), {"source": PDF}, []),
        (DocumentPart(url="data:application/pdf;base64,AA=="), {"source": PDF}, []),
        (DocumentPart(url="https://x/y.pdf"), {"source": {"type": "url", "url": "https://x/y.pdf"}}, []),
        (
            DocumentPart(data="Grüße".encode(), media_type="text/markdown", name="n", cite=True),
            {"source": text_source("Grüße"), "title": "n", "citations": {"enabled": True}},
            [],
        ),
        (
            DocumentPart(data=b"a\xff", media_type="text/plain"),
            {"source": text_source("a\ufffd")},
            [("messages[0].parts[0]", "changed")],
        ),
    ],
)
def test_documents(document: DocumentPart, block: dict[str, Any], notes: list[tuple[str, str]]) -> None:
    """PDF by its bytes or behind a URL, and text; with its name, and cited where that is asked for."""
    messages, noted = encode(Message.user(document, "what is it?"))
    assert messages[0]["content"][0] == {"type": "document", **block}
    assert noted == notes


@pytest.mark.parametrize(
    ("part", "profile"),
    [
        (DocumentPart(data=b"\x00", media_type="application/msword"), UNKNOWN_MODEL),
        (DocumentPart(url="https://x/y.txt", media_type="text/plain"), UNKNOWN_MODEL),
        (DocumentPart(data=b"\x00"), BLIND),
        (ImagePart(data=b"\x00"), BLIND),
        (AudioPart(data=b"\x00"), UNKNOWN_MODEL),
    ],
)
def test_what_cannot_be_shown(part: Any, profile: ModelProfile) -> None:
    """It is an error where it is asked about now; a note stands in where the caller or the talk goes on."""
    with pytest.raises(ProviderError, match=r"messages\[0\]\.parts\[0\]") as caught:
        encode(Message.user(part, "?"), profile=profile)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    messages, notes = encode(Message.user(part, "?"), profile=profile, on_unsupported="adjust")
    assert [block["text"] for block in messages[0]["content"]] == [f"[{part.type} left out]", "?"]
    assert notes == [("messages[0].parts[0]", "dropped")]
    talk = (Message.user(part), Message.assistant("nice"), Message.user("and?"))
    messages, notes = encode(*talk, profile=profile)
    assert messages[0]["content"] == [{"type": "text", "text": f"[{part.type} left out]"}]
    assert notes == [("messages[0].parts[0]", "changed")]


def test_a_model_that_reads_no_documents_is_told_their_text() -> None:
    """Text has a place where documents have none."""
    document = DocumentPart(data=b"hello", media_type="text/plain")
    messages, notes = encode(Message.user(document), profile=BLIND)
    assert messages[0]["content"] == [{"type": "text", "text": "hello"}]
    assert notes == [("messages[0].parts[0]", "changed")]


def test_sound_with_a_transcript_is_sent_as_text() -> None:
    """What was said is known, whoever said it."""
    spoken = AudioPart(data=b"\x00", transcript="hello", origin=ELSEWHERE)
    asked = AudioPart(data=b"\x00", transcript="hi")
    messages, notes = encode(
        Message.user(asked), Message(role="assistant", parts=(spoken,)), Message.user("?")
    )
    assert [turn["content"][0] for turn in messages[:2]] == [
        {"type": "text", "text": "hi"},
        {"type": "text", "text": "hello"},
    ]
    assert notes == [("messages[0].parts[0]", "changed"), ("messages[1].parts[0]", "changed")]


def test_media_that_another_model_made_are_left_out() -> None:
    """The conversation goes on without them, and says so."""
    made = (ImagePart(data=b"\x00", origin=ELSEWHERE), AudioPart(data=b"\x00", origin=ELSEWHERE))
    answer = Message(role="assistant", parts=(*made, TextPart(text="see", origin=ELSEWHERE)))
    messages, notes = encode(Message.user("draw"), answer, Message.user("more"))
    assert messages[1]["content"] == [{"type": "text", "text": "see"}]
    assert notes == [("messages[1].parts[0]", "dropped"), ("messages[1].parts[1]", "dropped")]


def test_how_closely_to_look_has_no_place() -> None:
    """The detail of an image is a note, never an error."""
    messages, notes = encode(Message.user(ImagePart(data=b"\x00", detail="low")))
    assert messages[0]["content"] == [IMAGE]
    assert notes == [("messages[0].parts[0].detail", "dropped")]


def calls(*results: ToolResultPart, separately: bool = False) -> tuple[Message, ...]:
    made = tuple(ToolCallPart(id=result.call_id, name="f", arguments={}) for result in results)
    told = [(result,) for result in results] if separately else [results]
    return (
        Message.user("q"),
        Message(role="assistant", parts=made),
        *(Message(role="tool", parts=parts) for parts in told),
    )


def test_media_in_tool_results() -> None:
    """Text, images and documents stand in a result in their order."""
    content = (TextPart(text="a"), ImagePart(data=b"\x00"), DocumentPart(data=b"\x00"), TextPart(text=" "))
    messages, notes = encode(*calls(ToolResultPart(call_id="a", content=content)))
    (result,) = messages[2]["content"]
    assert result["content"] == [{"type": "text", "text": "a"}, IMAGE, {"type": "document", "source": PDF}]
    assert notes == []


def test_what_a_tool_found_and_the_model_cannot_see() -> None:
    """A note stands in the result, for nobody chose to show it."""
    found = ToolResultPart(call_id="a", content=(ImagePart(data=b"\x00"),))
    messages, notes = encode(*calls(found), profile=BLIND)
    assert messages[2]["content"][0]["content"] == [{"type": "text", "text": "[image left out]"}]
    assert notes == [("messages[2].parts[0].content[0]", "changed")]


def test_the_media_of_a_failure_follow_all_results() -> None:
    """A failed result is text alone, and results come first in their turn, also from several messages."""
    failed = ToolResultPart(
        call_id="a", content=(TextPart(text="no"), ImagePart(data=b"\x00")), is_error=True
    )
    fine = ToolResultPart(call_id="b", content=(TextPart(text="yes"),))
    messages, notes = encode(*calls(failed, fine, separately=True))
    assert messages[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "no", "is_error": True},
        {"type": "tool_result", "tool_use_id": "b", "content": "yes"},
        IMAGE,
    ]
    assert notes == [("messages[2].parts[0]", "changed")]


def test_a_failure_without_words_is_given_some() -> None:
    """The protocol refuses a failure that says nothing; a success may."""
    silent = ToolResultPart(call_id="a", content=(TextPart(text=" "),), is_error=True)
    messages, notes = encode(*calls(silent))
    assert messages[2]["content"][0]["content"].strip()
    assert notes == [("messages[2].parts[0]", "changed")]
    messages, notes = encode(*calls(ToolResultPart(call_id="a", content=())))
    assert (messages[2]["content"][0]["content"], notes) == ("", [])


def test_bytes_come_through() -> None:
    """What is sent in base64 is what was given."""
    data = bytes(range(256))
    messages, _ = encode(Message.user(DocumentPart(data=data), ImagePart(data=data)))
    assert [base64.b64decode(block["source"]["data"]) for block in messages[0]["content"]] == [data, data]
