from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.providers.codecs import OpenAIChatCodec, Target
from llmgine.providers.codecs.json_text import read_json

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (rb'{"a": "x\ud83d"}', {"a": "x�"}),
        (rb'["\ud83d\ude00", "\uDE00y", 1.5, null]', ["😀", "�y", 1.5, None]),
        (b'"plain"', "plain"),
    ],
)
def test_half_a_character_is_no_reason_to_lose_the_rest(text: bytes, value: Any) -> None:
    """A lone surrogate is read as the replacement character, a pair as what it is."""
    assert read_json(text) == value


@pytest.mark.parametrize(
    "text", [b"", b"{", rb'{"\ud83d"', rb'["\ud83d", NaN]', rb'"\ud83d"' + b"]", b"[" * 9999 + rb'"\ud83d"']
)
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    """Mending halves of characters lets nothing else through."""
    with pytest.raises(ValueError, match=r"."):
        read_json(text, allow_inf_nan=False)


@given(value=_VALUES)
def test_every_value_can_be_sent_on(value: Any) -> None:
    """Whatever was read can be written as UTF-8, and what was whole before is unchanged."""
    read = read_json(json.dumps(value).encode())
    json.dumps(read, ensure_ascii=False).encode()
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert read == value


def test_an_answer_with_half_a_character_is_a_good_answer() -> None:
    """Streamed or in one piece, in its text and in a call's arguments."""
    message = {
        "content": "x",
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"b":"Q"}'}}],
    }
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    body = body.replace('"x"', r'"x\ud83d"').replace("Q", r"\\ude00")
    answer = OpenAIChatCodec().decode_body(Target("openai", "gpt"), body.encode())
    assert answer.text == "x�"
    assert answer.tool_calls[0].arguments == {"b": "�"}
