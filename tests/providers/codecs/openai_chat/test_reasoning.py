"""How much to think, and where reasoning goes back, in the words of each server."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.providers.catalogue.presets import preset_quirks
from llmgine.providers.catalogue.profiles import UNKNOWN_MODEL, ModelProfile
from llmgine.providers.catalogue.quirks import OPENAI, PLAIN, Quirks
from llmgine.providers.codecs import Encoded, OpenAIChatCodec, Target
from llmgine.providers.contracts import (
    LLMRequest,
    Message,
    Origin,
    Reasoning,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from llmgine.providers.errors import ErrorKind, ProviderError

BY_EFFORT = ModelProfile(reasoning="effort", efforts=("low", "high"))
BY_BUDGET = ModelProfile(reasoning="budget", budgets=(1024, 32_000))
NEVER = ModelProfile(reasoning="none")
DEEPSEEK, OPENROUTER = preset_quirks("deepseek"), preset_quirks("openrouter")
LLAMACPP = preset_quirks("llamacpp")


def encode(
    quirks: Quirks, *messages: Message, profile: ModelProfile = UNKNOWN_MODEL, **fields: Any
) -> Encoded:
    request = LLMRequest(model="rack/m", messages=messages or (Message.user("hi"),), **fields)
    return OpenAIChatCodec(quirks).encode(request, Target("rack", "m", profile))


def asked(quirks: Quirks, profile: ModelProfile, **reasoning: Any) -> tuple[dict[str, Any], list[str]]:
    """The fields that tell the model to think, and what was told about them."""
    encoded = encode(quirks, profile=profile, reasoning=Reasoning(**reasoning))
    names = ("reasoning", "reasoning_effort", "thinking", "chat_template_kwargs")
    told = {name: encoded.body[name] for name in names if name in encoded.body}
    return told, [f"{note.field} {note.action}" for note in encoded.adjustments]


@pytest.mark.parametrize(
    ("quirks", "profile", "reasoning", "sent", "told"),
    [
        (OPENAI, UNKNOWN_MODEL, {"effort": "high"}, {"reasoning_effort": "high"}, []),
        (OPENAI, UNKNOWN_MODEL, {"effort": "none"}, {"reasoning_effort": "none"}, []),
        (OPENAI, UNKNOWN_MODEL, {"budget": 0}, {"reasoning_effort": "none"}, []),
        (OPENAI, UNKNOWN_MODEL, {"budget": 8000}, {"reasoning_effort": "medium"}, ["reasoning changed"]),
        (OPENAI, UNKNOWN_MODEL, {"show": False}, {}, []),
        (OPENAI, UNKNOWN_MODEL, {}, {}, []),
        (OPENAI, BY_EFFORT, {"effort": "high"}, {"reasoning_effort": "high"}, []),
        (OPENAI, BY_EFFORT, {"effort": "max"}, {"reasoning_effort": "high"}, ["reasoning changed"]),
        (
            OPENAI,
            BY_EFFORT,
            {"effort": "low", "budget": 9},
            {"reasoning_effort": "low"},
            ["reasoning.budget dropped"],
        ),
        (PLAIN, UNKNOWN_MODEL, {"show": True, "effort": "low"}, {"reasoning_effort": "low"}, []),
        (PLAIN, NEVER, {"effort": "none"}, {}, []),
        (PLAIN, NEVER, {"show": True}, {}, ["reasoning.show dropped"]),
        (OPENAI, UNKNOWN_MODEL, {"show": True}, {}, ["reasoning.show dropped"]),
        (OPENROUTER, UNKNOWN_MODEL, {"effort": "low"}, {"reasoning": {"effort": "low"}}, []),
        (OPENROUTER, BY_BUDGET, {"budget": 2000}, {"reasoning": {"max_tokens": 2000}}, []),
        (OPENROUTER, BY_BUDGET, {"effort": "low"}, {"reasoning": {"effort": "low"}}, []),
        (OPENROUTER, BY_EFFORT, {"budget": 2000}, {"reasoning": {"effort": "low"}}, ["reasoning changed"]),
        (OPENROUTER, UNKNOWN_MODEL, {"show": False}, {"reasoning": {"exclude": True}}, []),
        (
            OPENROUTER,
            UNKNOWN_MODEL,
            {"show": True, "budget": 0},
            {"reasoning": {"effort": "none", "exclude": False}},
            [],
        ),
        (
            DEEPSEEK,
            UNKNOWN_MODEL,
            {"effort": "max"},
            {"thinking": {"type": "enabled"}, "reasoning_effort": "max"},
            [],
        ),
        (DEEPSEEK, UNKNOWN_MODEL, {"effort": "none"}, {"thinking": {"type": "disabled"}}, []),
        (
            LLAMACPP,
            UNKNOWN_MODEL,
            {"effort": "low"},
            {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "low"}},
            [],
        ),
        (LLAMACPP, UNKNOWN_MODEL, {"budget": 0}, {"chat_template_kwargs": {"enable_thinking": False}}, []),
    ],
)
def test_each_server_is_told_in_its_own_words(
    quirks: Quirks, profile: ModelProfile, reasoning: dict[str, Any], sent: dict[str, Any], told: list[str]
) -> None:
    """A level or a number of tokens goes out as the server takes it, and the nearest one is told."""
    assert asked(quirks, profile, **reasoning) == (sent, told)


@pytest.mark.parametrize(
    ("quirks", "profile", "reasoning"),
    [
        (PLAIN, NEVER, {"effort": "low"}),
        (PLAIN, NEVER, {"budget": 5}),
        (PLAIN.model_copy(update={"reasoning": None}), UNKNOWN_MODEL, {"effort": "none"}),
    ],
)
def test_what_cannot_be_told_is_refused(
    quirks: Quirks, profile: ModelProfile, reasoning: dict[str, Any]
) -> None:
    """An error that names the field, or with leave a note."""
    with pytest.raises(ProviderError, match="reasoning:") as caught:
        asked(quirks, profile, **reasoning)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    encoded = encode(quirks, profile=profile, reasoning=Reasoning(**reasoning), on_unsupported="adjust")
    assert [(note.field, note.action) for note in encoded.adjustments] == [("reasoning", "dropped")]


def turn(*, model: str = "m", calls: bool = False, data: dict[str, Any] | None = None) -> Message:
    """An answer with reasoning that came in a field of its own."""
    origin = Origin(provider="rack", api="openai-chat", model=model)
    thought = ThinkingPart(
        text="hm", origin=origin, provider_data={"field": "reasoning"} if data is None else data
    )
    end = ToolCallPart(id="a", name="f", arguments={}) if calls else TextPart(text="ok")
    return Message(role="assistant", parts=(thought, end))


def thoughts(quirks: Quirks, message: Message) -> tuple[Any, int]:
    """What of a message goes back as reasoning, and how many notes there are."""
    encoded = encode(quirks, message)
    sent = encoded.body["messages"][0]
    fields = {name: sent[name] for name in sent if name.startswith("reasoning")}
    return fields, len(encoded.adjustments)


@pytest.mark.parametrize(
    ("changes", "message", "sent"),
    [
        ({}, turn(), {"reasoning": "hm"}),
        ({}, turn(model="other"), {"reasoning": "hm"}),
        ({"thinking_field": "reasoning_content"}, turn(), {"reasoning_content": "hm"}),
        ({"replay_thinking": "same_model"}, turn(), {"reasoning": "hm"}),
        ({"replay_thinking": "same_model"}, turn(model="other"), {}),
        ({"replay_thinking": "with_calls"}, turn(calls=True), {"reasoning": "hm"}),
        ({"replay_thinking": "with_calls"}, turn(), {}),
        ({"replay_thinking": "never"}, turn(calls=True), {}),
    ],
)
def test_reasoning_goes_back_where_the_server_wants_it(
    changes: dict[str, Any], message: Message, sent: dict[str, str]
) -> None:
    """It is sent in the server's field or left out, and leaving it out is told."""
    assert thoughts(PLAIN.model_copy(update=changes), message) == (sent, 0 if sent else 1)


def test_deepseek_wants_the_reasoning_of_each_call() -> None:
    """A call that another model made carries an empty one, since without the field it is refused."""
    assert thoughts(DEEPSEEK, turn(calls=True)) == ({"reasoning_content": "hm"}, 0)
    foreign = Message(role="assistant", parts=(ToolCallPart(id="a", name="f", arguments={}),))
    assert thoughts(DEEPSEEK, foreign) == ({"reasoning_content": ""}, 0)
    assert thoughts(DEEPSEEK, Message.assistant("ok")) == ({}, 0)


def test_reasoning_that_came_as_a_block_goes_back_as_one() -> None:
    """Blocks keep their order."""
    sent = encode(preset_quirks("mistral"), turn(data={"field": "content"})).body["messages"][0]
    assert sent["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "ok"},
    ]


def test_reasoning_of_another_provider_stays_behind() -> None:
    """Nothing that another provider sealed is ever sent."""
    origin = Origin(provider="anthropic", api="anthropic-messages", model="m")
    foreign = Message(
        role="assistant",
        parts=(
            ThinkingPart(text="hm", signature="sig", origin=origin),
            ThinkingPart(redacted="red", origin=origin),
            ThinkingPart(encrypted="enc", origin=origin),
            TextPart(text="ok", origin=origin, signature="seal"),
        ),
    )
    encoded = encode(OPENROUTER, foreign)
    assert encoded.body["messages"] == [{"role": "assistant", "content": "ok"}]
    assert [(note.field, note.action) for note in encoded.adjustments] == [
        ("messages[0].parts[0]", "dropped"),
        ("messages[0].parts[1]", "dropped"),
        ("messages[0].parts[2]", "dropped"),
        ("messages[0].parts[3].signature", "dropped"),
    ]
