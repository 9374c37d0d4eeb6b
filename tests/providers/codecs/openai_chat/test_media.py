"""Images, sound, documents and sources, out and back."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from llmgine.providers.catalogue.presets import preset_quirks
from llmgine.providers.catalogue.profiles import UNKNOWN_MODEL, ModelProfile
from llmgine.providers.catalogue.quirks import OPENAI, PLAIN, Quirks
from llmgine.providers.codecs import Encoded, OpenAIChatCodec, Target
from llmgine.providers.contracts import (
    AudioPart,
    Citation,
    DocumentPart,
    ImagePart,
    LLMRequest,
    LLMResponse,
    MediaPart,
    Message,
    Origin,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from llmgine.providers.errors import ErrorKind, ProviderError
from llmgine.providers.events import Done, Failed, PartDone, StreamEvent

PNG = ImagePart(data=b"\x00")
WAV = AudioPart(data=b"\x01")
PDF = DocumentPart(data=b"\x02")
NOTES = DocumentPart(data="Grüße".encode(), media_type="text/plain", name="notes.txt")
IMAGE_BLOCK = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def encode(
    quirks: Quirks, *messages: Message, profile: ModelProfile = UNKNOWN_MODEL, **fields: Any
) -> Encoded:
    request = LLMRequest(model="rack/m", messages=messages, **fields)
    return OpenAIChatCodec(quirks).encode(request, Target("rack", "m", profile))


def notes(encoded: Encoded) -> list[tuple[str, str]]:
    return [(note.field, note.action) for note in encoded.adjustments]


@pytest.mark.parametrize(
    ("quirks", "part", "block"),
    [
        (PLAIN, PNG, IMAGE_BLOCK),
        (
            PLAIN,
            ImagePart(url="https://x/y.png", detail="low"),
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        ),
        (PLAIN, WAV, {"type": "input_audio", "input_audio": {"data": "AQ==", "format": "wav"}}),
        (
            OPENAI,
            AudioPart(data=b"\x01", media_type="audio/mpeg"),
            {"type": "input_audio", "input_audio": {"data": "AQ==", "format": "mp3"}},
        ),
        (
            OPENAI,
            PDF,
            {
                "type": "file",
                "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,Ag=="},
            },
        ),
        (
            preset_quirks("openrouter"),
            DocumentPart(url="https://x/y.pdf", name="y.pdf"),
            {"type": "file", "file": {"filename": "y.pdf", "file_data": "https://x/y.pdf"}},
        ),
        (
            preset_quirks("mistral"),
            DocumentPart(url="https://x/y.pdf", name="y.pdf"),
            {"type": "document_url", "document_url": "https://x/y.pdf", "document_name": "y.pdf"},
        ),
    ],
)
def test_media_that_the_server_takes(quirks: Quirks, part: MediaPart, block: dict[str, Any]) -> None:
    """Each medium has its block, beside the text."""
    encoded = encode(quirks, Message.user("look", part))
    assert encoded.body["messages"][0]["content"] == [{"type": "text", "text": "look"}, block]
    assert encoded.adjustments == ()


@pytest.mark.parametrize("quirks", [PLAIN, OPENAI])
def test_a_text_is_sent_as_text(quirks: Quirks) -> None:
    """A document that is a text needs no place of its own."""
    encoded = encode(quirks, Message.user(NOTES), profile=ModelProfile(documents=False))
    assert encoded.body["messages"][0]["content"] == "notes.txt:\n\nGrüße"
    assert notes(encoded) == [("messages[0].parts[0]", "changed")]


def test_that_a_text_is_to_be_cited_is_told() -> None:
    """No document is cited here, and so none that goes as text."""
    encoded = encode(PLAIN, Message.user(NOTES.model_copy(update={"cite": True})))
    assert notes(encoded) == [("messages[0].parts[0].cite", "dropped"), ("messages[0].parts[0]", "changed")]


def test_the_words_of_a_sound_stand_in_for_it() -> None:
    """Where sound cannot be sent its transcript can."""
    spoken = WAV.model_copy(update={"transcript": "hello"})
    encoded = encode(PLAIN, Message.user(spoken), profile=ModelProfile(audio=False))
    assert encoded.body["messages"][0]["content"] == "hello"
    assert notes(encoded) == [("messages[0].parts[0]", "changed")]


@pytest.mark.parametrize(
    ("quirks", "profile", "part"),
    [
        (PLAIN, ModelProfile(images=False), PNG),
        (preset_quirks("ollama"), UNKNOWN_MODEL, ImagePart(url="https://x/y.png")),
        (preset_quirks("groq"), UNKNOWN_MODEL, WAV),
        (PLAIN, ModelProfile(audio=False), WAV),
        (PLAIN, UNKNOWN_MODEL, AudioPart(url="https://x/y.wav")),
        (PLAIN, UNKNOWN_MODEL, AudioPart(data=b"\x01", media_type="audio/flac")),
        (PLAIN, UNKNOWN_MODEL, PDF),
        (OPENAI, ModelProfile(documents=False), PDF),
        (OPENAI, UNKNOWN_MODEL, DocumentPart(url="https://x/y.pdf")),
    ],
)
def test_media_that_cannot_be_sent(quirks: Quirks, profile: ModelProfile, part: MediaPart) -> None:
    """An error now, a note in an earlier turn, and the same words to the model in both."""
    message = Message.user("look", part)
    with pytest.raises(ProviderError, match=r"messages\[0\]\.parts\[1\]") as caught:
        encode(quirks, message, profile=profile)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    now = encode(quirks, message, profile=profile, on_unsupported="adjust")
    assert notes(now) == [("messages[0].parts[1]", "dropped")]
    later = encode(quirks, message, Message.assistant("ok"), Message.user("more"), profile=profile)
    assert notes(later) == [("messages[0].parts[1]", "changed")]
    assert later.body["messages"][0] == now.body["messages"][0]
    assert f"[{part.type} left out]" in json.dumps(now.body)


def results(*contents: tuple[TextPart | MediaPart, ...]) -> tuple[Message, ...]:
    """A turn of the model with as many calls, and what came of them, each in a message of its own."""
    ids = [f"call{number:05}" for number in range(len(contents))]
    calls = tuple(ToolCallPart(id=one, name="see", arguments={}) for one in ids)
    told = [
        Message(role="tool", parts=(ToolResultPart(call_id=one, name="see", content=content),))
        for one, content in zip(ids, contents, strict=True)
    ]
    return (Message(role="assistant", parts=calls), *told)


def test_media_of_results_follow_all_of_them() -> None:
    """No other message comes between the results of one turn, and each medium says whose it is."""
    turn = results((TextPart(text="here"), PNG), (PNG,), (TextPart(text="none"),))
    encoded = encode(PLAIN, *turn, Message.user("so?"))
    assert encoded.body["messages"][1:] == [
        {"role": "tool", "tool_call_id": "call00000", "content": "here"},
        {
            "role": "tool",
            "tool_call_id": "call00001",
            "content": "It follows in the next message of the user.",
        },
        {"role": "tool", "tool_call_id": "call00002", "content": "none"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "From the result of see (call00000):"},
                IMAGE_BLOCK,
                {"type": "text", "text": "From the result of see (call00001):"},
                IMAGE_BLOCK,
            ],
        },
        {"role": "user", "content": "so?"},
    ]
    assert notes(encoded) == [("messages[1].parts[0]", "changed"), ("messages[2].parts[0]", "changed")]
    assert encode(PLAIN, *turn).body["messages"] == encoded.body["messages"][:-1]


def test_media_of_results_stay_where_the_server_takes_them() -> None:
    """A server with blocks in results gets them there."""
    encoded = encode(preset_quirks("mistral"), *results((TextPart(text="here"), PNG)))
    assert encoded.body["messages"][1]["content"] == [{"type": "text", "text": "here"}, IMAGE_BLOCK]
    assert encoded.adjustments == ()


def test_a_result_that_cannot_be_shown_is_no_error() -> None:
    """What a tool gave does not end the conversation."""
    encoded = encode(PLAIN, *results((PNG,)), profile=ModelProfile(images=False))
    assert encoded.body["messages"][1]["content"] == "[image left out]"
    assert notes(encoded) == [("messages[1].parts[0].content[0]", "changed")]


def test_media_of_the_model_itself() -> None:
    """What it spoke goes back in words; what it drew cannot go back."""
    spoken = AudioPart(data=b"\x01", transcript="hi", provider_data={"id": "audio_1"})
    encoded = encode(OPENAI, Message.user("q"), Message(role="assistant", parts=(spoken, PNG)))
    assert encoded.body["messages"][1] == {"role": "assistant", "content": "hi"}
    assert notes(encoded) == [("messages[1].parts[0]", "changed"), ("messages[1].parts[1]", "dropped")]


def test_a_full_request_is_what_the_sdk_knows() -> None:
    """The official client's own types take every field that OpenAI is sent."""
    from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
    from pydantic import TypeAdapter

    turn = results((TextPart(text="here"), PNG))
    encoded = encode(
        OPENAI, Message.user("look", PNG, WAV, PDF, NOTES), *turn, Message.user("so?"), system="be kind"
    )
    types = TypeAdapter(CompletionCreateParamsStreaming)  # checks the lists as they are read
    checked = types.validate_python(encoded.body)
    assert checked.keys() == encoded.body.keys()
    said = [message["content"] for message in checked["messages"]]
    assert [len(list(content)) for content in said if not isinstance(content, str | None)] == [5, 2]
    assert encoded.adjustments[0].field == "messages[0].parts[4]"


def play(*frames: dict[str, Any], end: bool = True) -> list[StreamEvent]:
    decoder = OpenAIChatCodec(PLAIN).decoder(Target("rack", "m"))
    wire = [{"id": "c", "choices": [{"index": 0, "delta": delta}]} for delta in frames]
    if end:
        wire.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return [event for one in wire for event in decoder.feed("", json.dumps(one).encode())] + decoder.end()


def answered(*frames: dict[str, Any]) -> LLMResponse:
    """The streamed answer, which the same message in one piece equals."""
    done = play(*frames)[-1]
    assert isinstance(done, Done)
    if len(frames) == 1:
        body = {"id": "c", "choices": [{"index": 0, "message": frames[0], "finish_reason": "stop"}]}
        whole = OpenAIChatCodec(PLAIN).decode_body(Target("rack", "m"), json.dumps(body).encode())
        assert whole == done.response
    return done.response


def test_sources_belong_to_the_text() -> None:
    """A citation says where it points, keeps the provider's record and goes back where that is taken."""
    told = {"url": "https://x", "title": "X", "start_index": 0, "end_index": 2, "content": "so it is"}
    annotation = {"type": "url_citation", "url_citation": told}
    odd = {"type": "novelty", "x": 1}
    response = answered({"content": "It is.", "annotations": [annotation, odd]})
    part = response.message.parts[0]
    assert isinstance(part, TextPart)
    assert part.citations == (
        Citation(url="https://x", title="X", quote="so it is", start=0, end=2, raw=annotation),
        Citation(raw=odd),
    )
    takes = preset_quirks("openrouter")
    sent = encode(takes, Message.user("q"), response.message)
    assert sent.body["messages"][1]["annotations"] == [annotation, odd]
    assert sent.adjustments == ()
    moved = part.model_copy(update={"origin": Origin(provider="p", api="gemini", model="g")})
    for quirks, one in ((takes, moved), (OPENAI, part), (PLAIN, part)):
        away = encode(quirks, Message.user("q"), Message(role="assistant", parts=(one,)))
        assert "annotations" not in away.body["messages"][1]
        assert notes(away) == [("messages[1].parts[0].citations", "dropped")]


def test_sources_go_back_without_a_word_too() -> None:
    """A server that read a file once is told so, though the model then said nothing."""
    origin = Origin(provider="rack", api="openai-chat", model="m")
    silent = TextPart(text="", citations=(Citation(raw={"type": "file"}),), origin=origin)
    message = Message(role="assistant", parts=(silent,))
    sent = encode(preset_quirks("openrouter"), Message.user("q"), message).body["messages"][1]
    assert sent == {"role": "assistant", "content": "", "annotations": [{"type": "file"}]}


def test_sources_without_a_text_are_kept() -> None:
    """They stand beside the answer."""
    assert answered({"annotations": [{"type": "a"}]}, {"annotations": [{"type": "b"}]}).provider_data == {
        "annotations": [{"type": "a"}, {"type": "b"}]
    }


def test_sources_of_an_odd_shape_spoil_nothing() -> None:
    """What nobody knows is kept beside the text."""
    response = answered(
        {"content": "a", "annotations": ["odd"]}, {"annotations": {"type": "b"}, "audio": "odd"}
    )
    assert response.text == "a"
    assert response.provider_data == {"annotations": ["odd"]}
    part = response.message.parts[0]
    assert isinstance(part, TextPart)
    assert part.citations == (Citation(raw={"type": "b"}),)


def test_images_of_the_model() -> None:
    """Pictures are parts of the answer, by bytes or place; what is no picture is kept as it came."""
    there = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,?"}}
    response = answered({"content": "see", "images": [IMAGE_BLOCK, there, broken, "odd"]})
    origin = Origin(provider="rack", api="openai-chat", model="m")
    parts = response.message.parts
    assert [part.type for part in parts] == ["text", "image", "image", "opaque", "opaque"]
    assert parts[1] == PNG.model_copy(update={"origin": origin})
    assert parts[2] == ImagePart(url="https://x/y.png", origin=origin)


def test_a_picture_between_texts_keeps_its_place() -> None:
    """Order is kept as the model produced it."""
    events = play({"content": "a"}, {"images": [IMAGE_BLOCK]}, {"content": "b"})
    assert [event.part.type for event in events if isinstance(event, PartDone)] == ["text", "image", "text"]


@pytest.mark.parametrize(
    ("sound", "media_type"),
    [(b"RIFF1234", "audio/wav"), (b"ID3....", "audio/mpeg"), (b"\x00\x01\x02", "audio/pcm")],
)
def test_spoken_answers(sound: bytes, media_type: str) -> None:
    """Sound, transcript and id come out as one part, however they were cut."""
    text = base64.b64encode(sound).decode()
    whole = answered({"content": None, "audio": {"id": "a1", "data": text, "transcript": "hello"}})
    part = whole.message.parts[0]
    assert isinstance(part, AudioPart)
    assert (part.data, part.media_type, part.transcript) == (sound, media_type, "hello")
    assert part.provider_data == {"id": "a1"}
    pieces = [{"audio": {"id": "a1", "transcript": "hel"}}]
    pieces += [{"audio": {"data": letter}} for letter in text]
    assert answered(*pieces, {"audio": {"transcript": "lo"}}).message == whole.message


def test_sound_encoded_piece_by_piece() -> None:
    """Each piece may be padded by itself."""
    pieces = [{"audio": {"data": base64.b64encode(piece).decode()}} for piece in (b"RIFF", b"1", b"23")]
    part = answered(*pieces).message.parts[0]
    assert isinstance(part, AudioPart)
    assert part.data == b"RIFF123"


def test_sound_that_cannot_be_read_is_kept_as_text() -> None:
    """A good transcript is no worse for it."""
    part = answered({"audio": {"data": "??", "transcript": "hi"}}).message.parts[0]
    assert isinstance(part, AudioPart)
    assert (part.data, part.transcript, part.provider_data) == (b"", "hi", {"data": "??"})


def test_a_cut_answer_keeps_what_was_spoken() -> None:
    """What had arrived is the partial answer."""
    failed = play({"audio": {"data": "AQ==", "transcript": "he"}}, end=False)[-1]
    assert isinstance(failed, Failed)
    assert failed.partial is not None
    part = failed.partial.parts[0]
    assert isinstance(part, AudioPart)
    assert part.transcript == "he"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("error", ErrorKind.SERVER), ("insufficient_system_resource", ErrorKind.OVERLOADED)],
)
def test_an_answer_that_the_server_gave_up(reason: str, kind: ErrorKind) -> None:
    """A reason that tells of a failure is one."""
    decoder = OpenAIChatCodec(PLAIN).decoder(Target("rack", "m"))
    frame = {"choices": [{"index": 0, "delta": {"content": "par"}, "finish_reason": reason}]}
    failed = decoder.feed("", json.dumps(frame).encode())[-1]
    assert isinstance(failed, Failed)
    assert failed.error.kind is kind
    assert failed.error.retryable
