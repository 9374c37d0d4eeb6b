"""A Responses request as a model call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmgine.actors.gateway.vendor.chat.request import any_object, choice_of, schema_of, tool_of
from llmgine.actors.gateway.vendor.reading import Asked, Fields, made, vendor_options
from llmgine.actors.gateway.vendor.responses.items import messages_of
from llmgine.providers.codecs.openai_responses.codec import OpenAIResponsesCodec
from llmgine.providers.contracts import (
    CacheHints,
    LLMRequest,
    Origin,
    OutputSchema,
    Reasoning,
    ToolSpec,
)

_API: Final = OpenAIResponsesCodec.api
# Fields that say nothing of the answer, and values that ask for nothing.
_LABELS: Final = frozenset({"user", "metadata", "safety_identifier"})
_HARMLESS: Final = {"truncation": "disabled", "service_tier": "auto", "top_logprobs": 0}
_ENCRYPTED: Final = "reasoning.encrypted_content"
# What an answer repeats of its request, and what it says where the request is silent.
_ECHOED: Final[dict[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}


def read_responses(body: Any, target: Origin | None, headers: Mapping[str, str]) -> Asked:
    """What the request asks for; `RequestRefused` for what cannot be asked of the model behind `target`."""
    fields = Fields(body)
    told = {name: body[name] for name in _ECHOED if body.get(name) is not None}
    own: dict[str, Any] = {}
    if fields.flag("background"):
        fields.refuse("background", "answers are not kept for later; leave it out", "unsupported_parameter")
    request: dict[str, Any] = {
        "model": fields.needed("model"),
        "messages": messages_of(fields, target),
        "system": fields.text("instructions"),
        "tools": _tools(fields, target, own),
        "tool_choice": choice_of(fields),
        "parallel_tool_calls": fields.flag("parallel_tool_calls"),
        "output": _output(fields, target, own),
        "max_output_tokens": fields.whole("max_output_tokens"),
        "temperature": fields.number("temperature"),
        "top_p": fields.number("top_p"),
        "reasoning": _reasoning(fields),
        "cache": _cache(fields),
    }
    stream = fields.flag("stream") or False
    conversation, previous = _conversation(fields), fields.text("previous_response_id")
    if conversation is not None and previous is not None:
        fields.refuse("previous_response_id", "give it or `conversation`, not both")
    if others := [name for name in fields.texts("include") if name != _ENCRYPTED]:
        own["include"] = others
        if target is None or target.api != _API:
            fields.refuse("include", f"only models behind {_API} tell of {others[0]}", "unsupported_value")
    fields.leave("store", "stream_options")
    rest = vendor_options(fields, _API, target, headers, labels=_LABELS, harmless=_HARMLESS)
    if own or rest:
        request["provider_options"] = {_API: own | rest.get(_API, {})}
    return Asked(
        made(LLMRequest, request, {"messages": "input", "output": "text.format", "system": "instructions"}),
        stream=stream,
        echo={**_ECHOED, **told, "previous_response_id": previous},
        include_usage=True,
        conversation=conversation,
        previous=previous,
    )


def _tools(fields: Fields, target: Origin | None, own: dict[str, Any]) -> tuple[ToolSpec, ...]:
    tools: list[ToolSpec] = []
    for tool in fields.each("tools"):
        kind = tool.needed("type")
        if kind == "function":
            # Left out, it means true here.
            strict = tool.flag("strict") if tool.has("strict") else True
            tools.append(tool_of(tool).model_copy(update={"strict": bool(strict)}))
        elif target is None or target.api != _API:
            tool.refuse("type", f"only models behind {_API} take {kind!r} tools", "unsupported_value")
        else:
            own.setdefault("tools", []).append({"type": kind, **tool.rest()})
    return tuple(tools)


def _output(fields: Fields, target: Origin | None, own: dict[str, Any]) -> OutputSchema | None:
    text = fields.within("text")
    if text is None:
        return None
    schema: OutputSchema | None = None
    native = target is not None and target.api == _API
    format_ = text.within("format")
    if format_ is not None:
        match format_.one_of("type", "text", "json_object", "json_schema"):
            case "json_object" if native:
                own["text"] = {"format": {"type": "json_object"}}
            case "json_object":
                schema = any_object()
            case "json_schema":
                schema = schema_of(format_)
    verbosity = text.text("verbosity")
    text.done()
    if verbosity is not None and native:
        own.setdefault("text", {})["verbosity"] = verbosity
    elif verbosity not in (None, "medium"):
        text.refuse("verbosity", f"only models behind {_API} take it", "unsupported_parameter")
    return schema


def _reasoning(fields: Fields) -> Reasoning | None:
    reasoning = fields.within("reasoning")
    if reasoning is None:
        return None
    summary = reasoning.text("summary") or reasoning.text("generate_summary")
    asked = {"effort": reasoning.text("effort"), "show": None if summary is None else True}
    reasoning.leave("generate_summary")
    reasoning.done()
    return made(Reasoning, asked, {"effort": "reasoning.effort"})


def _cache(fields: Fields) -> CacheHints | None:
    key = fields.text("prompt_cache_key")
    return None if key is None else CacheHints(breakpoints=(), key=key)


def _conversation(fields: Fields) -> str | None:
    """The session that the request names, as a text or as an object with its id."""
    if not fields.has("conversation"):
        return None
    value = fields.raw("conversation")
    if isinstance(value, str):
        return value
    return Fields(value, "conversation").needed("id")
