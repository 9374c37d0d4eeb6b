"""A conversation goes on with another provider, whichever it was and whichever it becomes."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from llmock.pytest_plugin import LLMock

from llmgine.providers.codecs import Encoded
from llmgine.providers.contracts import Adjustment, LLMRequest, Message, ThinkingPart, ToolSpec
from llmgine.providers.events import Done
from llmgine.providers.local import wording
from llmgine.providers.options import ProvidersOptions
from llmgine.providers.registry import open_provider
from tests.providers.switching.expected import EXPECTED
from tests.providers.switching.sources import (
    ENDPOINTS,
    NAMES,
    PIXEL,
    SEALED,
    TOOLS,
    codec_of,
    conversation,
    seals,
    target_of,
)
from tests.providers.switching.targets import check_form, check_order, check_pairing

WORDS = (
    "What is the weather",
    "I look it up.",
    "no such station",
    "Rain.",
    "I will not help",
    "Then good night.",
)
SERVED = ("openai", "chat", "compatible", "anthropic", "gemini")
SIGNS = {"dropped": "-", "changed": "~", "emulated": "+"}

each_source = pytest.mark.parametrize("source", NAMES)
each_target = pytest.mark.parametrize("target", ENDPOINTS)


def asked(target: str, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...] = TOOLS) -> LLMRequest:
    model = f"{target}/{target}-model"
    return LLMRequest(model=model, messages=messages, system="Be brief.", tools=tools)


def encoded(target: str, messages: tuple[Message, ...]) -> tuple[Encoded, tuple[Adjustment, ...]]:
    """The request as it goes out, and all that it suffers: in the local model's case words come first."""
    request = asked(target, messages)
    told: tuple[Adjustment, ...] = ()
    if target == "local":
        request, told = wording.plain(request)
    made = codec_of(target).encode(request, target_of(target))
    return made, (*told, *made.adjustments)


def noted(adjustments: tuple[Adjustment, ...]) -> str:
    """Adjustments as the table has them: the place of a part, and what became of it."""
    fields = [
        made.field.replace("messages[", "").replace("].parts[", ".").replace("]", "") for made in adjustments
    ]
    return " ".join(field + SIGNS[made.action] for field, made in zip(fields, adjustments, strict=True))


@each_target
@each_source
async def test_a_conversation_goes_on_elsewhere(source: str, target: str) -> None:
    """The vendor's types take it, calls and results stay together, and what is lost is told exactly."""
    messages = await conversation(source)
    made, adjustments = encoded(target, messages)
    check_form(target, made.body)
    words = [word for word in WORDS if any(word in said(message) for message in messages)]
    assert len(words) >= len(WORDS) - 1
    if target == "local":  # in words the question is put beside the results that answer it
        words = words[1:]
    check_order(made.body, *words)
    calls = [[call.name for call in message.tool_calls] for message in messages if message.tool_calls]
    check_pairing(target, made.body, [] if target == "local" else calls)
    shown = base64.b64encode(PIXEL).decode() in json.dumps(made.body)
    assert shown is (target != "local")
    assert noted(adjustments) == EXPECTED[source][target]
    assert json.dumps(made.body) == json.dumps(encoded(target, messages)[0].body)


def said(message: Message) -> str:
    return "".join(getattr(part, "text", "") for part in message.parts)


@each_target
@each_source
async def test_a_switch_may_come_before_the_results_are_answered(source: str, target: str) -> None:
    """The calls were another's, and the next model gets them together with their results."""
    messages = (await conversation(source))[:3]
    assert messages[-1].role == "tool"
    body = encoded(target, messages)[0].body
    check_form(target, body)
    calls = [[call.name for call in messages[1].tool_calls]]
    check_pairing(target, body, [] if target == "local" else calls)
    assert seals(json.dumps(body), source) == [] or source == target


@each_target
@each_source
async def test_nothing_that_only_its_maker_reads_goes_elsewhere(source: str, target: str) -> None:
    """Signatures, and reasoning that is encrypted or redacted, stay with the endpoint that made them."""
    messages = await conversation(source)
    held = seals("".join(message.model_dump_json() for message in messages), source)
    sent = json.dumps(encoded(target, messages)[0].body)
    assert bool(held) is (source not in ("chat", "local"))
    assert seals(sent, source) == (held if source == target else [])
    assert SEALED not in sent


@pytest.mark.parametrize(
    ("name", "kept"), [("openai", 0), ("compatible", 0), ("anthropic", 2), ("gemini", 0)]
)
async def test_another_model_of_the_same_provider_gets_no_reasoning(name: str, kept: int) -> None:
    """It reads blocks of the provider's own tools, and no signed or encrypted reasoning; both are told."""
    messages = await conversation(name)
    target = replace(target_of(name), model="another-model")
    made = codec_of(name).encode(asked(name, messages), target)
    check_form(name, made.body)
    places = [
        f"messages[{number}].parts[{position}]"
        for number, message in enumerate(messages)
        for position, part in enumerate(message.parts)
        if isinstance(part, ThinkingPart) and (part.signature or part.redacted or part.encrypted)
    ]
    dropped = [note.field for note in made.adjustments if note.action == "dropped"]
    assert set(places) <= set(dropped)
    assert len(seals(json.dumps(made.body), name)) == kept


@each_target
@pytest.mark.parametrize("source", ENDPOINTS)
async def test_back_again_every_seal_is_where_it_was(source: str, target: str) -> None:
    """After a turn elsewhere the first provider gets its own parts as it made them, and no other's seals."""
    own = await conversation(source)
    away = await conversation(target)
    answers = [message for message in away if message.role == "assistant" and not message.tool_calls]
    messages = (*own, answers[0], Message.user("Thanks."))
    before = encoded(source, own)[0].body
    after = encoded(source, messages)[0].body
    check_form(source, after)
    field = {"openai": "input", "gemini": "contents"}.get(source, "messages")
    assert json.dumps(after[field][: len(before[field])]) == json.dumps(before[field])
    if target != source:
        assert seals(json.dumps(after), target) == []
    assert seals(json.dumps(after), source)[: len(seals(json.dumps(before), source))] == seals(
        json.dumps(before), source
    )


@each_source
async def test_the_scripted_double_takes_any_conversation(source: str) -> None:
    """It answers to what every provider has made, and changes nothing of it."""
    provider = open_provider("scripted", ProvidersOptions())
    request = asked("scripted", await conversation(source), tools=())
    request = request.model_copy(update={"model": "scripted/echo"})
    done = [event async for event in provider.stream(request)][-1]
    await provider.aclose()
    assert isinstance(done, Done)
    assert done.response.text == "Then good night."
    assert done.response.adjustments == ()


@pytest.mark.parametrize("target", SERVED)
@each_source
async def test_a_server_of_each_wire_takes_it(source: str, target: str, llmock: LLMock) -> None:
    """Over the wire, to an independent server of the vendors' protocols, and it finds no fault with us."""
    vendor = {"anthropic": "anthropic", "gemini": "gemini"}.get(target, "openai")
    endpoint = {**ENDPOINTS[target], "base_url": llmock.base_url(vendor)}
    provider = open_provider(target, ProvidersOptions.model_validate({"endpoints": {target: endpoint}}))
    request = asked(target, await conversation(source))
    done = [event async for event in provider.stream(request)][-1]
    await provider.aclose()
    assert isinstance(done, Done), done
    assert done.response.message.parts
    assert noted(done.response.adjustments) == EXPECTED[source][target]
    assert [record.status for record in llmock.requests] == [200]
    llmock.assert_resilient(strict=True)


def test_the_table_is_complete() -> None:
    """Every pair has its line, and no line is left over."""
    assert {source: set(targets) for source, targets in EXPECTED.items()} == {
        source: set(ENDPOINTS) for source in NAMES
    }
