"""Which requests are equal."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.pools.caching.hashing import RequestHash
from llmgine.actors.pools.pieces import RequestWriter
from llmgine.providers import EmbeddingRequest, LLMRequest, Message, TextPart
from llmgine.providers.contracts import (
    CacheHints,
    ImagePart,
    NamedTool,
    OutputSchema,
    Reasoning,
    RefusalPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)
from llmgine.providers.options import ProvidersOptions

HASH = RequestHash(ProvidersOptions())
TOOL = ToolSpec(name="look", parameters={"properties": {"a": {"type": "string"}, "b": {"type": "string"}}})
TURNED = ToolSpec(name="look", parameters={"properties": {"b": {"type": "string"}, "a": {"type": "string"}}})


def request(**changes: Any) -> LLMRequest:
    fields: dict[str, Any] = {"model": "openai/gpt-5", "messages": (Message.user("hi"),)}
    return LLMRequest(**fields | changes)


def hashed(hashes: RequestHash, asked: LLMRequest) -> bytes:
    return hashes.of(asked, RequestWriter().write(asked))


def of(**changes: Any) -> bytes:
    return hashed(HASH, request(**changes))


COUNTS: list[dict[str, Any]] = [
    {"model": "openai/gpt-5-mini"},
    {"model": "anthropic/gpt-5"},
    {"messages": (Message.user("hi "),)},
    {"messages": (Message.user("hi"), Message.assistant("yes"))},
    {"messages": (Message.assistant("hi"),)},
    {"messages": (Message.user("h", "i"),)},
    {"messages": (Message(role="user", parts=(RefusalPart(text="hi"),)),)},
    {"messages": (Message.user("hi", ImagePart(data=b"1")),)},
    {"messages": (Message.user("hi", ImagePart(data=b"2")),)},
    {"messages": (Message(role="user", parts=(TextPart(text="hi", signature="seal"),)),)},
    {"system": "be brief"},
    {"system": ""},
    {"tools": (TOOL,)},
    {"tools": (TURNED,)},
    {"tools": (TOOL.model_copy(update={"strict": True}),)},
    {"tools": (TOOL.model_copy(update={"description": "d"}),)},
    {"tools": (TOOL,), "tool_choice": "required"},
    {"tools": (TOOL,), "tool_choice": NamedTool(name="look")},
    {"parallel_tool_calls": False},
    {"output": OutputSchema(json_schema={"type": "object"})},
    {"output": OutputSchema(json_schema={"type": "object"}, repairs=0)},
    {"max_output_tokens": 1},
    {"temperature": 0},
    {"temperature": 0.5},
    {"top_p": 0.5},
    {"top_k": 3},
    {"presence_penalty": 0.5},
    {"frequency_penalty": 0.5},
    {"stop": ("x",)},
    {"seed": 1},
    {"reasoning": Reasoning(effort="low")},
    {"cache": CacheHints(content="cachedContents/1")},
    {"on_unsupported": "adjust"},
    {"provider_options": {"openai": {"service_tier": "flex"}}},
    {"provider_options": {"openai": {"previous_response_id": "r1"}}},
    {"provider_options": {"openai-responses": {"service_tier": "flex"}}},
    {"extra_headers": {"anthropic-beta": "x"}},
]

NOT_COUNTED: list[dict[str, Any]] = [
    {"deadline": 5.0},
    {"idle_timeout": 5.0},
    {"mid_stream": "restart"},
    {"idempotency_key": "k"},
    {"response_cache": True},
    {"cache": CacheHints()},
    {"cache": CacheHints(key="mine", ttl=60)},
    {"provider_options": {"openai": {"user": "ann", "metadata": {"team": "x"}}}},
    {"extra_headers": {"X-Request-Id": "1", "traceparent": "00-1"}},
    {"tools": [], "stop": []},
    {"fallbacks": ("openai/gpt-4o",)},
]


def test_whatever_the_model_sees_makes_another_request() -> None:
    """No two of these are answered with the same."""
    hashes = [of(), *(of(**changes) for changes in COUNTS)]
    assert len(set(hashes)) == len(hashes)
    assert {len(one) for one in hashes} == {32}


@pytest.mark.parametrize("changes", NOT_COUNTED, ids=str)
def test_who_asks_and_how_long_they_wait_makes_no_other_request(changes: dict[str, Any]) -> None:
    """Patience, keys of idempotency and words about the caller are not the question."""
    if "provider_options" in changes:  # the endpoint's name alone is no difference worth telling
        assert of(**changes) == of(provider_options={"openai": {}})
    else:
        assert of(**changes) == of()


def test_every_field_of_a_request_is_known_to_count_or_not() -> None:
    """A new field has to be thought about: it is in one of the two lists."""
    told = {name for changes in (*COUNTS, *NOT_COUNTED) for name in changes}
    assert told | {"priority"} >= set(LLMRequest.model_fields)


def test_order_counts_where_models_read_it_and_nowhere_else() -> None:
    """Options and headers are tables; names of headers are the same in any case."""
    one = {"openai": {"a": 1, "b": {"c": 1, "d": 2}}, "gemini": {}}
    other = {"gemini": {}, "openai": {"b": {"d": 2, "c": 1}, "a": 1}}
    assert of(provider_options=one) == of(provider_options=other)
    assert of(extra_headers={"A": "1", "B": "2"}) == of(extra_headers={"b": "2", "a": "1"})


def test_calls_and_results_count_with_their_ids() -> None:
    """A history with another call is another question."""

    def history(call: str, text: str) -> tuple[Message, ...]:
        asked = ToolCallPart(id=call, name="look", arguments={}, raw_arguments="{}")
        result = ToolResultPart(call_id=call, content=(TextPart(text=text),))
        return (
            Message.user("hi"),
            Message(role="assistant", parts=(asked,)),
            Message(role="tool", parts=(result,)),
        )

    hashes = [of(messages=history(*one)) for one in (("1", "a"), ("1", "b"), ("2", "a"))]
    assert len(set(hashes)) == 3


def test_an_endpoint_that_was_moved_answers_anew() -> None:
    """What was kept of another server, protocol or recording under the same name is not found."""
    asked = request(model="mine/m")
    servers: list[dict[str, Any]] = [
        {"base_url": "http://a/v1"},
        {"base_url": "http://b/v1"},
        {"base_url": "http://a/v1", "api": "openai-responses"},
        {"base_url": "http://a/v1", "headers": {"x-team": "1"}},
        {"base_url": "http://a/v1", "replay": "recordings"},
    ]
    hashes = [hashed(RequestHash(ProvidersOptions(endpoints={"mine": server})), asked) for server in servers]
    assert len(set(hashes)) == len(servers)
    same = {"base_url": "http://a/v1", "key_env": "OTHER", "timeouts": {"idle": 3}}
    assert hashed(RequestHash(ProvidersOptions(endpoints={"mine": same})), asked) == hashes[0]


def test_scripts_and_profiles_belong_to_the_model() -> None:
    """A script that was written anew says something else, and a profile changes what is sent."""
    asked = request(model="scripted/mine")
    scripts = [{"mine": {"replies": [{"text": text}]}} for text in "ab"]
    said = {hashed(RequestHash(ProvidersOptions.model_validate({"scripts": one})), asked) for one in scripts}
    assert len(said) == 2
    profiled = ProvidersOptions.model_validate({"profiles": {"openai/gpt-5": {"tools": False}}})
    assert hashed(RequestHash(profiled), request()) != of()


def test_embeddings_are_never_taken_for_answers() -> None:
    """Inputs, dimensions and purpose count; what only says who asks does not."""

    def vectors(**changes: Any) -> bytes:
        asked = EmbeddingRequest(**{"model": "openai/gpt-5", "inputs": ("hi",)} | changes)
        return HASH.of(asked, asked.model_dump_json().encode())

    different: list[dict[str, Any]] = [
        {},
        {"inputs": ("h", "i")},
        {"dimensions": 4},
        {"purpose": "query"},
        {"model": "openai/e"},
    ]
    hashes = [of(), *(vectors(**changes) for changes in different)]
    assert len(set(hashes)) == len(hashes)
    assert vectors(deadline=3.0, response_cache=True) == vectors()
