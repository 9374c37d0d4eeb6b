from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.providers.catalogue.quirks import PLAIN
from llmgine.providers.codecs import OpenAIChatCodec, Target
from llmgine.providers.codecs.openai_chat.think_tags import CLOSING, OPENING, ThinkTags
from llmgine.providers.contracts import LLMRequest, Message
from llmgine.providers.errors import ErrorPhase
from llmgine.providers.events import Done, Failed, StreamEvent, TextDelta, ThinkingDelta

TARGET = Target("rack", "qwen")

_WORDS = st.sampled_from(
    [OPENING, CLOSING, "<", "think", ">", "</", "\n", " ", "a", "ü", "</thin", "<thinking>"]
)
_TEXTS = st.lists(_WORDS, max_size=12).map("".join)


def split(pieces: list[str], *, opened: bool = False) -> tuple[str, str, ThinkTags]:
    """Reasoning and text of an answer in pieces."""
    tags = ThinkTags(opened=opened)
    said = [one for piece in pieces for one in tags.feed(piece)] + tags.end()
    assert all(text for _, text in said)
    assert [kind for kind, _ in said] == sorted((kind for kind, _ in said), reverse=True)
    thought, text = ("".join(text for kind, text in said if kind == which) for which in ("thinking", "text"))
    return thought, text, tags


@pytest.mark.parametrize(
    ("answer", "thought", "text"),
    [
        ("<think>hm</think>ok", "hm", "ok"),
        ("\n <think>\nhm\n</think>\n\nok\n", "\nhm\n", "ok\n"),
        ("<think>hm", "hm", ""),
        ("<think>hm</thin", "hm</thin", ""),
        ("<think></think>ok", "", "ok"),
        ("ok <think>no</think>", "", "ok <think>no</think>"),
        ("<think>a</think><think>b</think>", "a", "<think>b</think>"),
        ("<thinking>no</thinking>", "", "<thinking>no</thinking>"),
        ("<thin", "", "<thin"),
        ("  ", "", "  "),
        ("</think>ok", "", "</think>ok"),
    ],
)
def test_only_a_tag_at_the_start_opens_reasoning(answer: str, thought: str, text: str) -> None:
    """Whatever speaks of tags later on is text."""
    assert split([answer])[:2] == (thought, text)


def test_the_prompt_may_have_opened_the_tag() -> None:
    """An answer that begins inside is reasoning up to the closing tag, and all of it without one."""
    assert split(["hm</think>\n\nok"], opened=True)[:2] == ("hm", "ok")
    assert split(["hm"], opened=True)[:2] == ("hm", "")


@given(text=_TEXTS, places=st.lists(st.integers(0, 80), max_size=8), opened=st.booleans())
def test_cuts_change_nothing_and_nothing_is_lost(text: str, places: list[int], opened: bool) -> None:
    """Any cut gives the same, and with its tags the answer is what came."""
    edges = sorted({0, len(text), *(place for place in places if place < len(text))})
    pieces = [text[start:stop] for start, stop in itertools.pairwise(edges)]
    whole = split([text], opened=opened)
    cut = split(pieces, opened=opened)
    assert cut[:2] == whole[:2]
    assert (cut[2].opening, cut[2].closing) == (whole[2].opening, whole[2].closing)
    assert whole[2].opening + whole[0] + whole[2].closing + whole[1] == text


@given(text=_TEXTS)
def test_hardly_anything_is_held_back(text: str) -> None:
    """White space aside, no more than the beginning of a tag waits for what follows."""
    tags = ThinkTags()
    shown = "".join(one for letter in text for _, one in tags.feed(letter))
    held = text[len(tags.opening) + len(shown) + len(tags.closing) :]
    assert len(held.strip()) < len(CLOSING)


def frame(delta: dict[str, Any], reason: str | None = None) -> bytes:
    return json.dumps(
        {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    ).encode()


def play(*frames: bytes) -> list[StreamEvent]:
    decoder = OpenAIChatCodec(PLAIN).decoder(TARGET)
    return [event for one in frames for event in decoder.feed("", one)] + decoder.end()


def test_an_answer_with_tags_has_its_reasoning_apart_and_goes_back_as_it_came() -> None:
    """Reasoning is a part of its own, and the next request holds the very text of the server."""
    pieces = ["\n<thi", "nk>hm", "m\n</th", "ink>\n", "\nok", " <think>"]
    events = play(*(frame({"content": piece}) for piece in pieces), frame({}, "stop"))
    done = events[-1]
    assert isinstance(done, Done)
    assert [part.type for part in done.response.message.parts] == ["thinking", "text"]
    assert [event for event in events if isinstance(event, ThinkingDelta | TextDelta)] == [
        ThinkingDelta(0, "hm"),
        ThinkingDelta(0, "m\n"),
        TextDelta(1, "ok"),
        TextDelta(1, " <think>"),
    ]
    request = LLMRequest(model="rack/qwen", messages=(Message.user("q"), done.response.message))
    sent = OpenAIChatCodec(PLAIN).encode(request, TARGET)
    assert sent.body["messages"][1] == {"role": "assistant", "content": "".join(pieces)}
    assert sent.adjustments == ()


def test_a_body_is_read_like_a_stream() -> None:
    """Tags and a call in one message."""
    message = {
        "content": "<think>hm</think>",
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}],
    }
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    answer = OpenAIChatCodec(PLAIN).decode_body(TARGET, json.dumps(body).encode())
    assert [part.type for part in answer.message.parts] == ["thinking", "tool_call"]
    assert answer.message.thinking == "hm"


def test_reasoning_in_a_field_leaves_the_text_alone() -> None:
    """Where a server gives reasoning apart, tags in its text are text."""
    events = play(frame({"reasoning_content": "hm"}), frame({"content": "<think>x"}), frame({}, "stop"))
    done = events[-1]
    assert isinstance(done, Done)
    assert (done.response.message.thinking, done.response.text) == ("hm", "<think>x")


def test_what_is_held_back_is_shown_before_a_failure() -> None:
    """A cut within what might be a tag loses nothing, and counts as having been shown."""
    events = play(frame({"content": "<thi"}))
    failed = events[-1]
    assert events[0] == TextDelta(0, "<thi")
    assert isinstance(failed, Failed)
    assert failed.error.phase is ErrorPhase.MID_STREAM
    assert failed.partial is not None
    assert failed.partial.text == "<thi"


def test_a_call_ends_what_is_held_back() -> None:
    """Text before a call stays before it."""
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    events = play(frame({"content": "<"}), frame({"tool_calls": [call]}), frame({}, "tool_calls"))
    done = events[-1]
    assert isinstance(done, Done)
    assert [part.type for part in done.response.message.parts] == ["text", "tool_call"]
