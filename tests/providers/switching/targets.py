"""Requests as a vendor would judge them: by its SDK's own types, and by what belongs together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter


def check_form(name: str, body: dict[str, Any]) -> None:
    """The vendor's own types take the body, and know every field of it."""
    if name == "gemini":
        _check_gemini(body)
        return
    known = (
        {**body, "messages": [_known(message) for message in body["messages"]]}
        if "messages" in body
        else body
    )
    assert _drawn(_params(name).validate_python(body)) == known


# What servers of Chat Completions send beside OpenAI's fields and take back from their clients.
_TAKEN_BACK = frozenset({"annotations", "reasoning", "reasoning_content", "reasoning_details"})


def _known(message: dict[str, Any]) -> dict[str, Any]:
    return {name: message[name] for name in message if name not in _TAKEN_BACK}


@cache
def _params(name: str) -> TypeAdapter[Any]:
    if name == "openai":
        from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

        return TypeAdapter(ResponseCreateParamsStreaming)
    if name == "anthropic":
        from anthropic.types.message_create_params import MessageCreateParamsStreaming

        return TypeAdapter(MessageCreateParamsStreaming)
    from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

    return TypeAdapter(CompletionCreateParamsStreaming)


def _drawn(value: Any) -> Any:
    """The value with its lazy lists drawn, for until then nothing of them is checked."""
    if isinstance(value, BaseModel):
        return _drawn(value.model_dump(exclude_unset=True))
    if isinstance(value, dict):
        return {name: _drawn(inner) for name, inner in value.items()}
    if isinstance(value, list) or type(value).__name__ == "ValidatorIterator":
        return [_drawn(inner) for inner in value]
    return value


def _check_gemini(body: dict[str, Any]) -> None:
    """google-genai's types refuse what they do not know; what they call configuration is several fields."""
    from google.genai import types

    for content in body["contents"]:
        types.Content.model_validate(content)
    config = dict(body.get("generationConfig", {}))
    rest = {name: body[name] for name in body.keys() - {"contents", "generationConfig"}}
    assert not config.keys() & rest.keys()
    types.GenerateContentConfig.model_validate(config | rest)


Step = tuple[str, str, str]  # call or result, the id or place that joins both, the tool's name


def traffic(name: str, body: dict[str, Any]) -> list[list[Step]]:
    """Calls and results of a body in order, each run of calls and each run of results by itself."""
    steps = list({"openai": _items, "anthropic": _blocks, "gemini": _parts}.get(name, _messages)(body))
    runs: list[list[Step]] = []
    for step in steps:
        if runs and runs[-1][-1][0] == step[0]:
            runs[-1].append(step)
        else:
            runs.append([step])
    return runs


def check_pairing(name: str, body: dict[str, Any], tools: list[list[str]]) -> None:
    """After each run of these calls come their results, all of them and in the same order."""
    runs = traffic(name, body)
    calls, results = runs[::2], runs[1::2]
    assert [[tool for _, _, tool in run] for run in calls] == tools
    assert [[kind for kind, _, _ in run] for run in calls] == [["call"] * len(run) for run in calls]
    assert [[key for _, key, _ in run] for run in results] == [[key for _, key, _ in run] for run in calls]
    keys = [key for run in calls for _, key, _ in run]
    assert len(set(keys)) == len(keys)


def check_order(body: dict[str, Any], *words: str) -> None:
    """What was said stands in the body once and in the order in which it was said."""
    text = json.dumps(body, ensure_ascii=False)
    places = [text.find(word) for word in words]
    assert -1 not in places
    assert places == sorted(places)
    assert [text.count(word) for word in words] == [1] * len(words)


def _items(body: dict[str, Any]) -> Iterator[Step]:
    for item in body["input"]:
        if item.get("type") == "function_call":
            yield "call", item["call_id"], item["name"]
        elif item.get("type") == "function_call_output":
            yield "result", item["call_id"], ""


def _messages(body: dict[str, Any]) -> Iterator[Step]:
    for message in body["messages"]:
        for call in message.get("tool_calls", ()):
            yield "call", call["id"], call["function"]["name"]
        if message["role"] == "tool":
            yield "result", message["tool_call_id"], ""


def _blocks(body: dict[str, Any]) -> Iterator[Step]:
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "tool_use":
                yield "call", block["id"], block["name"]
            elif block["type"] == "tool_result":
                yield "result", block["tool_use_id"], ""


def _parts(body: dict[str, Any]) -> Iterator[Step]:
    """Without ids a result belongs to the next call of its name that has none."""
    waiting: list[tuple[str, str]] = []
    number = 0
    for content in body["contents"]:
        for part in content["parts"]:
            if call := part.get("functionCall"):
                number += 1
                key = call.get("id") or f"the {number}."
                waiting.append((call["name"], key))
                yield "call", key, call["name"]
            elif answer := part.get("functionResponse"):
                assert content["role"] == "user"
                keys = [key for name, key in waiting if name == answer["name"]]
                key = answer.get("id") or keys[0]
                waiting.remove((answer["name"], key))
                yield "result", key, answer["name"]
