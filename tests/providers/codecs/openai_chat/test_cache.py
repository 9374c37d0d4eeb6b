"""Hints at what is worth keeping, for servers that take them and for those that do not."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.providers.catalogue.profiles import ModelProfile
from llmgine.providers.catalogue.quirks import OPENAI, PLAIN, Quirks
from llmgine.providers.codecs import Encoded, OpenAIChatCodec, Target
from llmgine.providers.contracts import CacheHints, LLMRequest, Message, ToolCallPart

MARKED = PLAIN.model_copy(update={"cache_marks": "cache_control"})
MARK = {"type": "ephemeral"}


def encode(
    quirks: Quirks,
    hints: CacheHints,
    *messages: Message,
    profile: ModelProfile | None = None,
    **fields: Any,
) -> Encoded:
    request = LLMRequest(
        model="hub/m", messages=messages or (Message.user("a"), Message.user("b")), cache=hints, **fields
    )
    return OpenAIChatCodec(quirks).encode(request, Target("hub", "m", profile or ModelProfile()))


def notes(encoded: Encoded) -> list[tuple[str, str]]:
    return [(note.field, note.action) for note in encoded.adjustments]


def test_breakpoints_mark_the_blocks_that_they_end() -> None:
    """System prompt and last message carry the mark, everything else is as without it."""
    encoded = encode(MARKED, CacheHints(), system="s")
    assert encoded.body["messages"] == [
        {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": MARK}]},
        {"role": "user", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "b", "cache_control": MARK}]},
    ]
    assert encoded.adjustments == ()


def test_a_message_of_blocks_is_marked_at_its_end() -> None:
    """Only the last block ends the beginning."""
    encoded = encode(MARKED, CacheHints(breakpoints=(0,)), Message.user("a", "b"))
    assert [block.get("cache_control") for block in encoded.body["messages"][0]["content"]] == [None, MARK]


@pytest.mark.parametrize(
    ("marks", "ttl", "sent", "exact"),
    [
        ("cache_control", 300, {"type": "ephemeral", "ttl": "5m"}, True),
        ("cache_control", 301, {"type": "ephemeral", "ttl": "1h"}, False),
        ("cache_control", 9999, {"type": "ephemeral", "ttl": "1h"}, False),
        ("prompt_cache_breakpoint", 1800, {"mode": "explicit", "ttl": "30m"}, True),
        ("prompt_cache_breakpoint", 43_200, {"mode": "explicit", "ttl": "12h"}, True),
        ("prompt_cache_breakpoint", None, {"mode": "explicit"}, True),
    ],
)
def test_times(marks: str, ttl: float | None, sent: dict[str, str], exact: bool) -> None:
    """The shortest time on offer that is long enough, else the longest; another one is told."""
    quirks = PLAIN.model_copy(update={"cache_marks": marks})
    profile = ModelProfile(cache_breakpoints=True)
    encoded = encode(quirks, CacheHints(breakpoints=(-1,), ttl=ttl), profile=profile)
    assert encoded.body["messages"][1]["content"][0][marks] == sent
    assert notes(encoded) == ([] if exact else [("cache.ttl", "changed")])


def test_no_more_marks_than_the_server_takes() -> None:
    """Of more than four the last ones stand."""
    messages = tuple(Message.user(str(number)) for number in range(6))
    encoded = encode(MARKED, CacheHints(breakpoints=(0, 1, 2, 3, 4, 5)), *messages)
    marked = [isinstance(message["content"], list) for message in encoded.body["messages"]]
    assert marked == [False, False, True, True, True, True]
    assert notes(encoded) == [("cache.breakpoints", "changed")]


def test_hints_that_lead_nowhere_are_listed() -> None:
    """A hint is never an error."""
    call = Message(role="assistant", parts=(ToolCallPart(id="a", name="f", arguments={}),))
    hints = CacheHints(breakpoints=("tools", "system", 7, -1), content="c", key="k")
    assert notes(encode(MARKED, hints, Message.user("a"), call)) == [
        ("cache.content", "dropped"),
        ("cache.breakpoints[0]", "dropped"),
        ("cache.breakpoints[2]", "dropped"),
        ("cache.breakpoints[3]", "dropped"),
        ("cache.key", "dropped"),
    ]


def test_openai_marks_for_models_that_take_marks() -> None:
    """Later models are told where beginnings end and for how long to keep them."""
    hints = CacheHints(breakpoints=(0,), ttl=1800)
    encoded = encode(OPENAI, hints, profile=ModelProfile(cache_breakpoints=True))
    mark = {"mode": "explicit", "ttl": "30m"}
    assert encoded.body["messages"][0]["content"] == [
        {"type": "text", "text": "a", "prompt_cache_breakpoint": mark}
    ]
    assert encoded.adjustments == ()


@pytest.mark.parametrize(
    ("ttl", "sent", "told"),
    [(86_400, "24h", []), (7200, "24h", [("cache.ttl", "changed")]), (60, None, [("cache.ttl", "dropped")])],
)
def test_openai_keeps_beginnings_of_other_models_for_a_day(
    ttl: float, sent: str | None, told: list[tuple[str, str]]
) -> None:
    """A long time is asked for as a whole, a short one is what it does anyway."""
    encoded = encode(OPENAI, CacheHints(breakpoints=(), ttl=ttl))
    assert encoded.body.get("prompt_cache_retention") == sent
    assert notes(encoded) == told


def test_a_long_key_is_sent_as_its_hash() -> None:
    """Requests of one kind still have one key."""
    encoded = encode(OPENAI, CacheHints(breakpoints=(), key="k" * 65))
    assert len(encoded.body["prompt_cache_key"]) == 64
    assert notes(encoded) == [("cache.key", "changed")]


def test_openai_takes_the_key_and_chooses_by_itself() -> None:
    """The key tells requests of one kind; where the beginnings end is OpenAI's own choice."""
    encoded = encode(OPENAI, CacheHints(key="k"))
    assert encoded.body["prompt_cache_key"] == "k"
    assert [message["content"] for message in encoded.body["messages"]] == ["a", "b"]
    assert notes(encoded) == [("cache.breakpoints", "dropped")]
