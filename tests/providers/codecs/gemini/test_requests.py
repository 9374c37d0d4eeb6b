from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import pytest

from llmgine.providers.catalogue.profiles import ModelProfile
from llmgine.providers.codecs.gemini.parts import STAND_IN
from llmgine.providers.contracts import (
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
)
from llmgine.providers.errors import InvalidRequest
from tests.providers.codecs.gemini.requests import (
    BUDGETS,
    FOREIGN,
    HI,
    LEVELS,
    OLD,
    ORIGIN,
    WEATHER,
    ask,
    contents,
    encode,
    noted,
    refused,
)


def call(call_id: str = "c1", name: str = "weather", **fields: Any) -> ToolCallPart:
    return ToolCallPart(id=call_id, name=name, **{"arguments": {"city": "Köln"}, **fields})


def result(text: str, call_id: str = "c1", **fields: Any) -> ToolResultPart:
    return ToolResultPart(call_id=call_id, content=(TextPart(text=text),), **fields)


def said(*parts: Any) -> Message:
    return Message(role="assistant", parts=parts)


def tool(*parts: Any) -> Message:
    return Message(role="tool", parts=parts)


def test_calls_and_their_results() -> None:
    """Results of one turn stand together, each with its call's name and id, and before the user's words."""
    sent = contents(
        HI,
        said(call("c1", origin=ORIGIN), call("c2", "time", origin=ORIGIN)),
        tool(result("rain", "c1")),
        tool(result("broken", "c2", is_error=True)),
        Message.user("and?"),
    )
    weather, time = (one["functionCall"] for one in sent[1]["parts"])
    assert weather == {"id": "c1", "name": "weather", "args": {"city": "Köln"}}
    assert time["id"] == "c2"
    assert sent[2] == {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "c1", "name": "weather", "response": {"output": "rain"}}},
            {"functionResponse": {"id": "c2", "name": "time", "response": {"error": "broken"}}},
            {"text": "and?"},
        ],
    }


def test_ids_of_ours_are_not_sent() -> None:
    """Where a call had no id, its result is known by name and stands in the order of the calls."""
    sent = contents(
        HI,
        said(
            call("m1", id_source="synthesised", origin=ORIGIN),
            call("m2", id_source="synthesised", origin=ORIGIN),
        ),
        tool(result("second", "m2"), result("first", "m1")),
    )
    assert all("id" not in one["functionCall"] for one in sent[1]["parts"])
    assert [one["functionResponse"] for one in sent[2]["parts"]] == [
        {"name": "weather", "response": {"output": "first"}},
        {"name": "weather", "response": {"output": "second"}},
    ]


def test_ids_that_come_again() -> None:
    """Each call of a conversation has an id of its own, and a result follows the last call of its id."""
    turn = (said(call(origin=FOREIGN)), tool(result("a")))
    sent = contents(HI, *turn, *turn)
    called = [sent[at]["parts"][0]["functionCall"]["id"] for at in (1, 3)]
    assert [sent[at]["parts"][0]["functionResponse"]["id"] for at in (2, 4)] == called
    assert called[0] == "c1" != called[1]


def test_a_result_without_its_call() -> None:
    """It goes by the name that it carries, or by none, which is told."""
    encoded = encode(ask(HI, tool(result("a", "x", name="f"), result("b", "y"))))
    names = [one["functionResponse"]["name"] for one in encoded.body["contents"][0]["parts"][:2]]
    assert names == ["f", "unnamed"]
    assert noted(encoded) == [("messages[1].parts[1].name", "changed")]


def test_calls_of_other_models_get_a_stand_in() -> None:
    """Of parallel calls the first one is signed; models that want no signature get none."""
    history = (
        HI,
        said(call("c1", origin=FOREIGN), call("c2", origin=FOREIGN)),
        tool(result("a"), result("b", "c2")),
    )
    for profile in (LEVELS, None):
        encoded = encode(ask(*history), profile)
        first, second = encoded.body["contents"][1]["parts"]
        assert first["thoughtSignature"] == STAND_IN
        assert "thoughtSignature" not in second
        assert noted(encoded) == [("messages[1].parts[0].signature", "changed")]
    for profile in (BUDGETS, OLD):
        encoded = encode(ask(*history), profile)
        assert "thoughtSignature" not in encoded.body["contents"][1]["parts"][0]
        assert not encoded.adjustments


def test_a_call_of_the_model_itself_is_left_as_it_was() -> None:
    """What it made without a signature it takes back without one, unless it is known to want one."""
    history = (HI, said(call(origin=ORIGIN, provider_data={"partMetadata": {"a": 1}})), tool(result("a")))
    encoded = encode(ask(*history))
    assert "thoughtSignature" not in encoded.body["contents"][1]["parts"][0]
    assert not encoded.adjustments
    lost = encode(ask(*history), LEVELS)
    assert lost.body["contents"][1]["parts"][0]["thoughtSignature"] == STAND_IN
    assert lost.body["contents"][1]["parts"][0]["partMetadata"] == {"a": 1}
    assert noted(lost) == [("messages[1].parts[0].signature", "changed")]


def test_foreign_reasoning_is_left_out() -> None:
    """Thinking, seals, citations and blocks of others are dropped, and each is told."""
    encoded = encode(
        ask(
            HI,
            said(
                ThinkingPart(text="hm", signature="anthropics", origin=FOREIGN),
                ThinkingPart(text="hm"),
                TextPart(text="a", citations=(Citation(url="u"),), signature="theirs", origin=FOREIGN),
                OpaquePart(kind="web_search_call", data={"type": "x"}, origin=FOREIGN),
                RefusalPart(text="no", origin=FOREIGN),
            ),
            HI,
        )
    )
    assert encoded.body["contents"][1] == {"role": "model", "parts": [{"text": "a"}, {"text": "no"}]}
    assert noted(encoded) == [
        ("messages[1].parts[0]", "dropped"),
        ("messages[1].parts[1]", "dropped"),
        ("messages[1].parts[2].citations", "dropped"),
        ("messages[1].parts[2].signature", "dropped"),
        ("messages[1].parts[3]", "dropped"),
        ("messages[1].parts[4]", "changed"),
    ]


def test_a_sibling_models_seal_is_left_out() -> None:
    """A signature goes to the very model; thinking too."""
    sibling = Origin(provider="gemini", api="gemini", model="gemini-y")
    thinking = ThinkingPart(text="hm", signature="s", origin=sibling)
    encoded = encode(ask(HI, said(thinking, call(signature="s", origin=sibling)), tool(result("a"))))
    assert encoded.body["contents"][1]["parts"][0]["thoughtSignature"] == STAND_IN
    assert noted(encoded) == [
        ("messages[1].parts[0]", "dropped"),
        ("messages[1].parts[1].signature", "changed"),
    ]


def test_media() -> None:
    """Bytes go within the request, anything else by its address."""
    data = base64.b64encode(b"abc").decode()
    message = Message.user(
        "look",
        ImagePart(data=b"abc"),
        ImagePart(url=f"data:image/gif;base64,{data}"),
        ImagePart(url="https://x/y.png"),
        AudioPart(data=b"abc"),
        DocumentPart(data=b"abc"),
        DocumentPart(url="https://generativelanguage.googleapis.com/v1beta/files/x"),
    )
    assert contents(message)[0]["parts"][1:] == [
        {"inlineData": {"mimeType": "image/png", "data": data}},
        {"inlineData": {"mimeType": "image/gif", "data": data}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://x/y.png"}},
        {"inlineData": {"mimeType": "audio/wav", "data": data}},
        {"inlineData": {"mimeType": "application/pdf", "data": data}},
        {
            "fileData": {
                "mimeType": "application/pdf",
                "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x",
            }
        },
    ]


BLIND = ModelProfile(images=False, audio=False, documents=False)


@pytest.mark.parametrize("part", [ImagePart(data=b"a"), AudioPart(data=b"a"), DocumentPart(data=b"a")])
def test_media_that_a_model_cannot_take(part: Any) -> None:
    """An error where it is asked now; of an earlier turn a note stays."""
    assert "messages[0].parts[1]" in refused(ask(Message.user("look", part)), BLIND)
    shown = result("so").model_copy(update={"content": (part,)})
    encoded = encode(ask(HI, said(call(origin=ORIGIN)), tool(shown)), BLIND)
    assert ("messages[2].parts[0].content[0]", "changed") in noted(encoded)
    encoded = encode(ask(Message.user("look", part), Message.assistant("so"), HI), BLIND)
    assert encoded.body["contents"][0]["parts"][1] == {"text": f"[{part.type} left out]"}
    assert noted(encoded) == [("messages[0].parts[1]", "changed")]


def test_media_that_can_be_said_in_words() -> None:
    """A text document goes as its text, and sound as its transcript, which is told."""
    document = DocumentPart(data="Grüße".encode(), media_type="text/plain", cite=True)
    sound = AudioPart(data=b"a", transcript="hello")
    encoded = encode(ask(Message.user(document, sound)), BLIND)
    assert encoded.body["contents"][0]["parts"] == [{"text": "Grüße"}, {"text": "hello"}]
    assert noted(encoded) == [
        ("messages[0].parts[0].cite", "dropped"),
        ("messages[0].parts[0]", "changed"),
        ("messages[0].parts[1]", "changed"),
    ]


def test_a_document_that_is_no_base64() -> None:
    """An address that holds something else than it says is the caller's mistake."""
    document = DocumentPart(url="data:text/plain;base64,@a", media_type="text/plain")
    with pytest.raises(InvalidRequest, match=r"messages\[0\]\.parts\[0\]: .*base64"):
        encode(ask(Message.user(document)), BLIND)


def test_media_of_the_model() -> None:
    """An image of its own is shown to it again; what another model spoke goes as text."""
    image = ImagePart(data=b"abc", signature="c2ln", origin=ORIGIN)
    spoken = AudioPart(data=b"a", transcript="hello", origin=FOREIGN)
    encoded = encode(ask(HI, said(image, spoken, AudioPart(data=b"a")), HI))
    shown, words = encoded.body["contents"][1]["parts"]
    assert (shown["thoughtSignature"], words) == ("c2ln", {"text": "hello"})
    assert noted(encoded) == [("messages[1].parts[1]", "changed"), ("messages[1].parts[2]", "dropped")]


MIXED = ToolResultPart(
    call_id="c1",
    content=(TextPart(text="see"), ImagePart(data=b"abc"), AudioPart(data=b"abc")),
)


def test_media_in_results() -> None:
    """Newer models take images within a result; what is not taken there follows after all results."""
    history = (HI, said(call(origin=ORIGIN)), tool(MIXED, result("b", "c2")))
    image, sound = ({"mimeType": kind, "data": "YWJj"} for kind in ("image/png", "audio/wav"))
    within = encode(ask(*history), LEVELS)
    first, _, after = within.body["contents"][2]["parts"]
    assert first["functionResponse"]["response"] == {"output": "see"}
    assert first["functionResponse"]["parts"] == [{"inlineData": image}]
    assert after == {"inlineData": sound}
    assert ("messages[2].parts[0].content[2]", "changed") in noted(within)
    apart = encode(ask(*history), BUDGETS)
    first, _, *after = apart.body["contents"][2]["parts"]
    assert "parts" not in first["functionResponse"]
    assert after == [{"inlineData": image}, {"inlineData": sound}]


def test_late_system_messages() -> None:
    """They go in the user's turn, marked, which is told."""
    encoded = encode(ask(HI, Message.system("Be brief")))
    assert encoded.body["contents"] == [
        {"role": "user", "parts": [{"text": "hi"}, {"text": "<system>\nBe brief\n</system>"}]}
    ]
    assert noted(encoded) == [("messages[1]", "changed")]


def test_the_user_begins() -> None:
    """A conversation that the model begins gets an empty word of the user's before it."""
    encoded = encode(ask(Message.assistant("Welcome"), HI))
    assert [turn["role"] for turn in encoded.body["contents"]] == ["user", "model", "user"]
    assert noted(encoded) == [("messages", "changed")]


def test_arguments_that_are_no_object() -> None:
    """They go as a string in one, and made up names as the protocol takes them."""
    broken = call(name="get weather!", arguments=None, raw_arguments="{oops", origin=ORIGIN)
    encoded = encode(ask(HI, said(broken), tool(result("a"))))
    sent = encoded.body["contents"][1]["parts"][0]["functionCall"]
    assert (sent["name"], sent["args"]) == ("get_weather_", {"raw_arguments": "{oops"})
    assert encoded.body["contents"][2]["parts"][0]["functionResponse"]["name"] == "get_weather_"


def test_a_longer_conversation_begins_with_the_same_bytes() -> None:
    """The same request makes the same bytes, and a longer one goes on from them."""
    fields: dict[str, Any] = {"tools": (WEATHER,), "system": "Be", "temperature": 0.5}
    turns = (HI, said(call(origin=FOREIGN)), tool(result("a")), Message.assistant("so"), HI)
    bodies = [json.dumps(encode(ask(*turns[: end + 1], **fields)).body) for end in range(len(turns))]
    assert bodies[-1] == json.dumps(encode(ask(*turns, **fields)).body)
    for shorter, longer in itertools.pairwise(bodies):
        assert longer.startswith(shorter.removesuffix("]}"))
