"""What one server takes and another does not, as its quirks say."""

from __future__ import annotations

import re
from typing import Any

import pytest

from llmgine.providers.catalogue.presets import preset_quirks
from llmgine.providers.catalogue.profiles import ModelProfile
from llmgine.providers.catalogue.quirks import OPENAI, PLAIN, Quirks
from llmgine.providers.codecs import Encoded, OpenAIChatCodec, Target
from llmgine.providers.contracts import (
    ImagePart,
    LLMRequest,
    Message,
    NamedTool,
    Origin,
    OutputSchema,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)
from llmgine.providers.errors import ErrorKind, ProviderError

TARGET = Target("rack", "m")
OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
FIRST = ToolSpec(name="first", parameters=OBJECT)
SECOND = ToolSpec(name="second", parameters=OBJECT)


def encode(quirks: Quirks, *messages: Message, profile: ModelProfile | None = None, **fields: Any) -> Encoded:
    request = LLMRequest(model="rack/m", messages=messages or (Message.user("hi"),), **fields)
    target = Target("rack", "m", profile or ModelProfile())
    return OpenAIChatCodec(quirks).encode(request, target)


def refused(quirks: Quirks, field: str, **fields: Any) -> Encoded:
    """What is sent where the caller allows less; without that it is an error that names the field."""
    with pytest.raises(ProviderError, match=f"^rack/m: {re.escape(field)}: .*on_unsupported") as caught:
        encode(quirks, **fields)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    encoded = encode(quirks, **fields, on_unsupported="adjust")
    assert [(note.field, note.action) for note in encoded.adjustments] == [(field, "dropped")]
    return encoded


def plain(**changes: Any) -> Quirks:
    return PLAIN.model_copy(update=changes)


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_bound_of_an_answer_has_the_servers_name(field: str) -> None:
    """Length is bounded by the one field that the server knows."""
    body = encode(plain(max_tokens_field=field), max_output_tokens=9).body
    assert {name: body[name] for name in body if name.startswith("max_")} == {field: 9}


def test_seed() -> None:
    """A seed goes under the server's name for it, and is refused where there is none."""
    assert encode(plain(seed_field="random_seed"), seed=3).body["random_seed"] == 3
    assert "seed" not in refused(plain(seed_field=None), "seed", seed=3).body


@pytest.mark.parametrize(
    ("quirks", "settings"),
    [
        (plain(top_k=True), {"top_k": 5}),
        (PLAIN, {"presence_penalty": 0.5}),
        (PLAIN, {"frequency_penalty": -0.5}),
        (PLAIN, {"temperature": 0.5, "top_p": 0.5, "stop": ["x"]}),
        (PLAIN, {"parallel_tool_calls": False, "tools": [FIRST]}),
    ],
)
def test_settings_that_are_sent(quirks: Quirks, settings: dict[str, Any]) -> None:
    """What the server takes goes as it is."""
    encoded = encode(quirks, **settings)
    assert encoded.body.items() >= {name: settings[name] for name in settings if name != "tools"}.items()
    assert encoded.adjustments == ()


@pytest.mark.parametrize(
    ("quirks", "field", "settings"),
    [
        (PLAIN, "top_k", {"top_k": 5}),
        (OPENAI, "top_k", {"top_k": 5}),
        (plain(penalties=False), "presence_penalty", {"presence_penalty": 0.5}),
        (plain(penalties=False), "frequency_penalty", {"frequency_penalty": 0.5}),
        (
            plain(parallel_tool_calls=False),
            "parallel_tool_calls",
            {"parallel_tool_calls": True, "tools": [FIRST]},
        ),
        (plain(json_schema=False), "output", {"output": OutputSchema(json_schema=OBJECT)}),
    ],
)
def test_settings_that_are_refused(quirks: Quirks, field: str, settings: dict[str, Any]) -> None:
    """What the server does not take is never dropped in silence."""
    assert field not in refused(quirks, field, **settings).body


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k", "presence_penalty"])
def test_a_model_that_takes_no_sampling(field: str) -> None:
    """A profile without sampling refuses each of its settings, whatever the server."""
    profile = ModelProfile(sampling=False)
    assert field not in refused(plain(top_k=True), field, profile=profile, **{field: 1}).body


def test_a_model_without_tools() -> None:
    """Tools are refused by the model's profile."""
    sent = refused(PLAIN, "tools", profile=ModelProfile(tools=False), tools=(FIRST,), tool_choice="required")
    assert "tools" not in sent.body
    assert "tool_choice" not in sent.body


def test_usage_is_asked_for_where_it_must_be() -> None:
    """A server that refuses the field is not sent it; one that pads its frames is told not to."""
    assert encode(PLAIN).body["stream_options"] == {"include_usage": True}
    assert "stream_options" not in encode(plain(stream_options=False)).body
    options = encode(OPENAI).body["stream_options"]
    assert options == {"include_usage": True, "include_obfuscation": False}


def test_the_role_of_system_messages() -> None:
    """System texts of the request and of the conversation have the server's role."""
    quirks = plain(system_role="developer")
    messages = encode(quirks, Message.system("a"), Message.user("b"), system="c").body["messages"]
    assert [message["role"] for message in messages] == ["developer", "developer", "user"]


def test_several_texts_are_blocks_or_one() -> None:
    """A server that takes only plain text gets it joined."""
    message = Message.user("a", "b")
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert encode(PLAIN, message).body["messages"][0]["content"] == blocks
    assert encode(plain(text_blocks=False), message).body["messages"][0]["content"] == "a\n\nb"


@pytest.mark.parametrize(
    ("heeded", "choice", "names", "sent"),
    [
        ("any", "required", ["first", "second"], "required"),
        ("any", NamedTool(name="second"), ["first", "second"], {"name": "second"}),
        ("words", "none", ["first", "second"], "none"),
        ("words", NamedTool(name="second"), ["second"], "required"),
        ("auto", "auto", ["first", "second"], None),
        ("auto", "none", [], None),
    ],
)
def test_choices_of_tools(heeded: Any, choice: Any, names: list[str], sent: Any) -> None:
    """A choice that the server does not heed is brought about by what is offered, and that is told."""
    encoded = encode(plain(tool_choice=heeded), tools=(FIRST, SECOND), tool_choice=choice)
    assert [tool["function"]["name"] for tool in encoded.body.get("tools", ())] == names
    told = encoded.body.get("tool_choice")
    assert (told["function"] if isinstance(told, dict) else told) == sent
    changed = heeded != "any" and names != ["first", "second"]
    assert [note.field for note in encoded.adjustments] == ["tool_choice"] * changed


@pytest.mark.parametrize("choice", ["required", NamedTool(name="first")])
def test_a_call_that_cannot_be_required(choice: Any) -> None:
    """Where the server heeds no choice, a call cannot be had for certain."""
    sent = refused(plain(tool_choice="auto"), "tool_choice", tools=(FIRST,), tool_choice=choice)
    assert "tool_choice" not in sent.body


@pytest.mark.parametrize("choice", ["required", NamedTool(name="first")])
def test_a_model_that_cannot_be_made_to_call(choice: Any) -> None:
    """Its profile refuses a forced call, and lets one forbid calls."""
    profile = ModelProfile(forced_tools=False)
    sent = refused(OPENAI, "tool_choice", profile=profile, tools=(FIRST,), tool_choice=choice)
    assert "tool_choice" not in sent.body
    assert encode(OPENAI, profile=profile, tools=(FIRST,), tool_choice="none").body["tool_choice"] == "none"


def test_strict_tools() -> None:
    """Arguments are forced where server and schema allow it; else the tool goes as it is, which is told."""
    strict = FIRST.model_copy(update={"strict": True})
    function = encode(OPENAI, tools=(strict,)).body["tools"][0]["function"]
    assert function == {"name": "first", "parameters": OBJECT, "strict": True}
    loose = encode(PLAIN, tools=(FIRST, strict))
    assert [(note.field, note.action) for note in loose.adjustments] == [("tools[1].strict", "changed")]
    assert "strict" not in loose.body["tools"][1]["function"]
    open_one = ToolSpec(name="open", parameters={"type": "object"}, strict=True)
    sent = encode(OPENAI, tools=(open_one,))
    assert [(note.field, note.action) for note in sent.adjustments] == [("tools[0].strict", "changed")]
    assert sent.body["tools"][0]["function"] == {"name": "open", "parameters": {"type": "object"}}


def test_an_optional_property_of_a_strict_tool_is_told() -> None:
    """A schema that changes on its way into the dialect is listed."""
    tool = ToolSpec(
        name="t", strict=True, parameters={"type": "object", "properties": {"a": {"type": "string"}}}
    )
    encoded = encode(OPENAI, tools=(tool,))
    assert encoded.body["tools"][0]["function"]["parameters"]["required"] == ["a"]
    assert [(note.field, note.action) for note in encoded.adjustments] == [("tools[0].parameters", "changed")]


def test_schemas_of_answers() -> None:
    """A server that forces any schema gets it unmarked and unchanged."""
    loose = {"type": "object", "properties": {"a": {"type": "string"}}}
    encoded = encode(plain(strict_schemas=False), output=OutputSchema(json_schema=loose))
    assert encoded.body["response_format"]["json_schema"] == {"name": "output", "schema": loose}
    assert encoded.adjustments == ()


def test_ids_of_nine_letters_and_digits() -> None:
    """Ids of other servers are replaced alike in call and result, own ones are kept."""
    calls = (
        ToolCallPart(id="call_of_another", name="f", arguments={}),
        ToolCallPart(id="abcDEF123", name="f", arguments={}),
    )
    results = tuple(ToolResultPart(call_id=call.id, content=(TextPart(text="1"),)) for call in calls)
    messages = (Message(role="assistant", parts=calls), Message(role="tool", parts=results))
    sent = encode(preset_quirks("mistral"), *messages, *messages).body["messages"]
    ids = [call["id"] for turn in (sent[0], sent[3]) for call in turn["tool_calls"]]
    assert all(len(one) == 9 and one.isalnum() for one in ids)
    assert len(set(ids)) == 4
    assert ids[1] == "abcDEF123"
    assert [sent[place]["tool_call_id"] for place in (1, 2, 4, 5)] == ids


def test_a_failed_tool_says_so_in_its_text() -> None:
    """There is no field for it, so that the text begins with it."""
    call = ToolCallPart(id="a", name="f", arguments={})
    result = ToolResultPart(call_id="a", content=(TextPart(text="no such file"),), is_error=True)
    encoded = encode(PLAIN, Message(role="assistant", parts=(call,)), Message(role="tool", parts=(result,)))
    assert encoded.body["messages"][1]["content"] == "Error: no such file"
    assert [note.field for note in encoded.adjustments] == ["messages[1].parts[0].is_error"]


@pytest.mark.parametrize(
    ("quirks", "last", "roles"),
    [
        (preset_quirks("mistral"), Message.user("and?"), ["tool", "assistant", "user"]),
        (preset_quirks("mistral"), Message.system("s"), ["tool", "assistant", "system"]),
        (preset_quirks("mistral"), Message.assistant("so"), ["tool", "assistant"]),
        (PLAIN, Message.user("and?"), ["tool", "user"]),
        (plain(speaks_after_tools=False), None, ["tool", "assistant", "user"]),
    ],
)
def test_who_speaks_after_a_tool(quirks: Quirks, last: Message | None, roles: list[str]) -> None:
    """Where only the model may, it is given a word before anybody else, be it only for a result's image."""
    call = ToolCallPart(id="a", name="f", arguments={})
    result = ToolResultPart(call_id="a", content=(TextPart(text="1"), ImagePart(data=b"1")))
    turn = (Message(role="assistant", parts=(call,)), Message(role="tool", parts=(result,)))
    encoded = encode(
        quirks.model_copy(update={"tool_media": last is not None}), *turn, *([last] if last else [])
    )
    sent = encoded.body["messages"][1:]
    assert [message["role"] for message in sent] == roles
    bridged = roles[1:2] == ["assistant"] and len(roles) == 3
    assert ({"role": "assistant", "content": "OK."} in sent) is bridged
    field = f"messages[{2 if last else 1}]"
    assert ((field, "changed") in [(note.field, note.action) for note in encoded.adjustments]) is bridged


def test_refusals() -> None:
    """A refusal has a field of its own at OpenAI, and is text elsewhere."""
    origin = Origin(provider="other", api="openai-responses", model="o")
    message = Message(role="assistant", parts=(RefusalPart(text="No.", origin=origin),))
    assert encode(OPENAI, message).body["messages"][0]["refusal"] == "No."
    encoded = encode(PLAIN, message)
    assert encoded.body["messages"][0] == {"role": "assistant", "content": "No."}
    assert [note.action for note in encoded.adjustments] == ["changed"]


def test_the_key_of_idempotency_is_a_header() -> None:
    """A request that may come twice says so beside its own headers."""
    encoded = encode(PLAIN, idempotency_key="k1", extra_headers={"x-a": "b"})
    assert dict(encoded.headers) == {"Idempotency-Key": "k1", "x-a": "b"}


def test_a_longer_conversation_keeps_the_earlier_messages() -> None:
    """What was sent before is sent alike again, so that caches hold."""
    call = ToolCallPart(id="a", name="f", arguments={})
    result = ToolResultPart(call_id="a", content=(TextPart(text="1"),))
    whole = (
        Message.user("q"),
        Message(role="assistant", parts=(TextPart(text="t"), call)),
        Message(role="tool", parts=(result,)),
        Message.assistant("done"),
        Message.user("more"),
    )
    sent = encode(PLAIN, *whole).body["messages"]
    for length in range(1, len(whole)):
        assert encode(PLAIN, *whole[:length]).body["messages"] == sent[:length]
