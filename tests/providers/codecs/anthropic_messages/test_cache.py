"""Which beginnings of the prompt a Messages server is told to keep."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.providers.codecs import AnthropicMessagesCodec, Target
from llmgine.providers.contracts import (
    CacheHints,
    LLMRequest,
    Message,
    OpaquePart,
    Origin,
    TextPart,
    ThinkingPart,
    ToolSpec,
)

TARGET = Target("anthropic", "claude-x")
ORIGIN = Origin(provider="anthropic", api="anthropic-messages", model="claude-x")
TOOLS = tuple(ToolSpec(name=name, parameters={"type": "object"}) for name in "ab")
TALK = tuple(
    Message.user(f"u{number}") if number % 2 == 0 else Message.assistant(f"a{number}") for number in range(5)
)


def encode(cache: CacheHints | None, **fields: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    fields = {"messages": TALK, "system": "s", "tools": TOOLS, **fields}
    encoded = AnthropicMessagesCodec().encode(
        LLMRequest(model="anthropic/claude-x", cache=cache, **fields), TARGET
    )
    return encoded.body, [(note.field, note.action) for note in encoded.adjustments]


def marked(value: Any, path: str = "") -> dict[str, Any]:
    """The marks in a body, by where they stand."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {}
    found = {path: value["cache_control"]} if "cache_control" in value else {}
    for name, inner in value.items():
        found |= marked(inner, f"{path}.{name}")
    return found


@pytest.mark.parametrize(
    ("breakpoints", "fields", "places"),
    [
        (("tools",), {}, [".tools.1"]),
        (("system",), {}, [".system.0"]),
        ((0,), {}, [".messages.0.content.0"]),
        (("system", -1), {}, [".system.0", ".messages.4.content.0"]),
        (("system",), {"system": None}, [".tools.1"]),
        (("system",), {"system": None, "tools": ()}, []),
        ((4, -1), {}, [".messages.4.content.0"]),
        ((0,), {"messages": (Message.system("m"), Message.user("q"))}, [".system.1"]),
    ],
)
def test_the_last_block_of_a_beginning_is_marked(
    breakpoints: tuple[Any, ...], fields: dict[str, Any], places: list[str]
) -> None:
    """Tools, system prompt and messages by number end beginnings; a missing one ends before."""
    body, notes = encode(CacheHints(breakpoints=breakpoints), **fields)
    assert marked(body) == {place: {"type": "ephemeral"} for place in places}
    assert notes == []


def test_neighbours_that_are_sent_as_one_turn_are_marked_apart() -> None:
    """The end of a message is known also where it is not the end of its turn."""
    body, _ = encode(CacheHints(breakpoints=(0,)), messages=(Message.user("a", "b"), Message.user("c")))
    assert list(marked(body)) == [".messages.0.content.1"]


def test_reasoning_and_what_was_left_out_are_not_marked() -> None:
    """The mark goes to the block before."""
    parts = (
        TextPart(text="t", origin=ORIGIN),
        ThinkingPart(text="h", signature="s", origin=ORIGIN),
        TextPart(text=" ", origin=ORIGIN),
    )
    talk = (Message.user("q"), Message(role="assistant", parts=parts), Message.user("r"))
    body, _ = encode(CacheHints(breakpoints=(1,)), messages=talk)
    assert list(marked(body)) == [".messages.1.content.0"]
    blank = (Message.user("q"), Message.assistant(" "), Message.user("r"))
    body, _ = encode(CacheHints(breakpoints=(1,)), messages=blank)
    assert list(marked(body)) == [".messages.0.content.0"]


def test_the_parts_themselves_stay_as_they_are() -> None:
    """A mark on a block that is replayed does not get into the conversation."""
    data = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    opaque = OpaquePart(kind="server_tool_use", data=data, origin=ORIGIN)
    talk = (Message.user("q"), Message(role="assistant", parts=(opaque,)), Message.user("r"))
    body, _ = encode(CacheHints(breakpoints=(1,)), messages=talk)
    assert list(marked(body)) == [".messages.1.content.0"]
    assert "cache_control" not in data


def test_no_more_than_four() -> None:
    """Of more breakpoints than the protocol takes, the last ones are sent."""
    body, notes = encode(CacheHints(breakpoints=("tools", "system", 0, 2, 4)))
    assert list(marked(body)) == [".system.0", *(f".messages.{number}.content.0" for number in (0, 2, 4))]
    assert notes == [("cache.breakpoints", "changed")]


@pytest.mark.parametrize(
    ("ttl", "sent", "exact"),
    [
        (None, None, True),
        (300, "5m", True),
        (10, "5m", False),
        (301, "1h", False),
        (3600, "1h", True),
        (1e6, "1h", False),
    ],
)
def test_how_long_it_is_kept(ttl: float | None, sent: str | None, exact: bool) -> None:
    """The nearest time on offer that is not shorter, else the longest."""
    body, notes = encode(CacheHints(breakpoints=("system",), ttl=ttl))
    assert body["system"][0]["cache_control"].get("ttl") == sent
    assert notes == ([] if exact else [("cache.ttl", "changed")])


def test_hints_without_a_place_are_noted() -> None:
    """A key, content cached beforehand and a message that does not exist are left out, and no error."""
    body, notes = encode(CacheHints(breakpoints=(7, -6), key="k", content="c"))
    assert marked(body) == {}
    assert notes == [
        ("cache.key", "dropped"),
        ("cache.content", "dropped"),
        ("cache.breakpoints[0]", "dropped"),
        ("cache.breakpoints[1]", "dropped"),
    ]


def test_without_hints_nothing_is_marked() -> None:
    """A plain request keeps its plain form."""
    body, _ = encode(None)
    assert marked(body) == {}
    assert body["system"] == "s"
