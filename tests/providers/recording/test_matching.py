"""Which recorded request is the same as another one."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.providers.recording.matching import Route, fingerprint, first_difference, likeness, route_of


@pytest.mark.parametrize(
    ("url", "route"),
    [
        ("https://api.openai.com/v1/chat/completions", Route("/chat/completions")),
        ("http://127.0.0.1:9/proxy/v1/messages?beta=true", Route("/messages")),
        (
            "https://g/v1beta/models/gemini-3:streamGenerateContent?alt=sse",
            Route("/models:generateContent", "gemini-3"),
        ),
        ("https://g/v1/models/gemini-3%3AgenerateContent", Route("/models:generateContent", "gemini-3")),
        ("https://g/v1/models/e:batchEmbedContents", Route("/models:embedContent", "e")),
        ("https://elsewhere/odd", Route("/odd")),
    ],
)
def test_a_route_is_the_end_of_the_path(url: str, route: Route) -> None:
    """Host, prefix, query and whether it streams do not matter; the model counts where the path names it."""
    assert route_of(url) == route


def call(id_: str, text: str = "ok") -> dict[str, Any]:
    return {
        "model": "m",
        "messages": [
            {"role": "assistant", "tool_calls": [{"id": id_, "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": id_, "content": text},
        ],
    }


def test_ids_and_flags_do_not_tell_requests_apart() -> None:
    """Ids that were made at random, who asks, and whether it streams are not what is asked."""
    flags = {"stream": True, "stream_options": {"include_usage": True}, "prompt_cache_key": "x"}
    assert fingerprint({**call("a1"), **flags}) == fingerprint(call("b2"))
    assert fingerprint(call("a1", "ok")) != fingerprint(call("a1", "no"))


def test_which_call_a_result_answers_counts() -> None:
    """Renumbered ids still tie results to their calls."""

    def two(first: str, second: str) -> dict[str, Any]:
        return {"input": [{"call_id": "a"}, {"call_id": "b"}, {"call_id": first}, {"call_id": second}]}

    assert fingerprint(two("a", "b")) != fingerprint(two("b", "a"))


def test_ids_of_the_user_s_own_count() -> None:
    """An argument that is called id is part of the question."""
    one, other = ({"contents": [{"functionCall": {"args": {"id": value}}}]} for value in ("1", "2"))
    assert fingerprint(one) != fingerprint(other)


def test_a_difference_is_told_by_its_place() -> None:
    """The first value that differs is named with its path and both sides."""
    asked, recorded = call("a", "yes"), call("a", "no")
    assert first_difference(asked, recorded) == 'messages[1].content: "yes" is asked, "no" was recorded'
    assert first_difference({"a": 1}, {}) == "a: 1 is asked, nothing was recorded"
    assert first_difference({"b": 1}, {"a": None, "b": 1}) == "a: nothing is asked, null was recorded"
    assert likeness(asked, call("z", "yes")) > likeness(asked, recorded)
