"""A Chat Completions request as a model call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmgine.actors.gateway.vendor.chat.conversation import messages_of
from llmgine.actors.gateway.vendor.reading import Asked, Fields, made, vendor_options
from llmgine.providers.codecs.openai_chat.codec import OpenAIChatCodec
from llmgine.providers.contracts import (
    CacheHints,
    LLMRequest,
    NamedTool,
    Origin,
    OutputSchema,
    Reasoning,
    ToolSpec,
)

_API: Final = OpenAIChatCodec.api
# Fields that say nothing of the answer, and values that ask for nothing.
_LABELS: Final = frozenset({"user", "metadata", "safety_identifier", "store"})
_HARMLESS: Final = {
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": {},
    "modalities": ["text"],
    "service_tier": "auto",
    "verbosity": "medium",
}
_NAMES: Final = {
    "max_output_tokens": "max_completion_tokens",
    "output": "response_format.json_schema",
    "reasoning": "reasoning_effort",
}


def read_chat(body: Any, target: Origin | None, headers: Mapping[str, str]) -> Asked:
    """What the request asks for; `RequestRefused` for what cannot be asked of the model behind `target`."""
    fields = Fields(body)
    request = _fields(fields, target)
    stream = fields.flag("stream") or False
    options = fields.within("stream_options")
    include_usage = False
    if options is not None:
        if not stream:
            fields.refuse("stream_options", "it is for streams; set `stream`, or leave it out")
        include_usage = options.flag("include_usage") or False
        options.leave("include_obfuscation")
        options.done()
    _refuse_others(fields)
    own = request["provider_options"]
    rest = vendor_options(fields, _API, target, headers, labels=_LABELS, harmless=_HARMLESS)
    request["provider_options"] = {_API: own | rest.get(_API, {})} if own or rest else None
    return Asked(made(LLMRequest, request, _NAMES), stream=stream, include_usage=include_usage)


def _fields(fields: Fields, target: Origin | None) -> dict[str, Any]:
    own: dict[str, Any] = {}
    limit, older = fields.whole("max_completion_tokens"), fields.whole("max_tokens")
    effort = fields.text("reasoning_effort")
    key = fields.text("prompt_cache_key")
    return {
        "model": fields.needed("model"),
        "messages": messages_of(fields, target),
        "tools": _tools(fields, target, own),
        "tool_choice": choice_of(fields, "function"),
        "parallel_tool_calls": fields.flag("parallel_tool_calls"),
        "output": _output(fields, target, own),
        "max_output_tokens": older if limit is None else limit,
        "temperature": fields.number("temperature"),
        "top_p": fields.number("top_p"),
        "presence_penalty": fields.number("presence_penalty"),
        "frequency_penalty": fields.number("frequency_penalty"),
        "stop": fields.texts("stop"),
        "seed": fields.whole("seed"),
        "reasoning": effort and made(Reasoning, {"effort": effort}, {"effort": "reasoning_effort"}),
        "cache": None if key is None else CacheHints(breakpoints=(), key=key),
        "provider_options": own,
    }


def _refuse_others(fields: Fields) -> None:
    """What no answer of ours could be."""
    if fields.whole("n") not in (None, 1):
        fields.refuse("n", "an answer has one choice; ask several times", "unsupported_value")
    for name, instead in (("functions", "tools"), ("function_call", "tool_choice")):
        if fields.has(name):
            fields.refuse(name, f"it is out of use; give `{instead}`", "unsupported_parameter")
    if fields.has("audio"):
        fields.refuse("audio", "answers are text", "unsupported_parameter")


def _tools(fields: Fields, target: Origin | None, own: dict[str, Any]) -> tuple[ToolSpec, ...]:
    tools: list[ToolSpec] = []
    for tool in fields.each("tools"):
        kind = tool.text("type") or "function"
        if kind != "function":
            if target is None or target.api != _API:
                tool.refuse("type", f"only models behind {_API} take {kind!r} tools", "unsupported_value")
            own.setdefault("tools", []).append({"type": kind, **tool.rest()})
            continue
        function = tool.within("function")
        if function is None:
            tool.refuse("function", "it is missing", "missing_required_parameter")
        tool.done()
        tools.append(tool_of(function))
    return tuple(tools)


def tool_of(function: Fields) -> ToolSpec:
    """A function as both of OpenAI's protocols describe it."""
    name = function.needed("name")
    spec = {
        "name": name,
        "description": function.text("description"),
        "parameters": function.table("parameters") or {"type": "object", "properties": {}},
        "strict": function.flag("strict"),
    }
    function.done()
    return made(ToolSpec, spec, {field: function.at(field) for field in spec})


def choice_of(fields: Fields, inside: str | None = None) -> str | NamedTool | None:
    """The request's `tool_choice`; a function is named in it, or in the object `inside` it."""
    if not fields.has("tool_choice"):
        return None
    choice = fields.raw("tool_choice")
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            fields.refuse("tool_choice", "it is auto, none, required, or names a function")
        return choice
    named = Fields(choice, "tool_choice")
    if named.text("type") != "function":
        fields.refuse("tool_choice", "only functions can be named", "unsupported_value")
    if inside is not None:
        named = named.within(inside) or Fields({}, named.at(inside))
    return NamedTool(name=named.needed("name"))


def _output(fields: Fields, target: Origin | None, own: dict[str, Any]) -> OutputSchema | None:
    format_ = fields.within("response_format")
    if format_ is None:
        return None
    match format_.one_of("type", "text", "json_object", "json_schema"):
        case "json_object":
            if target is not None and target.api == _API:
                own["response_format"] = {"type": "json_object"}
                return None
            return any_object()
        case "json_schema":
            schema = format_.within("json_schema")
            if schema is None:
                format_.refuse("json_schema", "it is missing", "missing_required_parameter")
            return schema_of(schema)
    return None


def any_object() -> OutputSchema:
    """JSON of any shape: no provider can be held to that but by words."""
    return OutputSchema(json_schema={"type": "object"}, mode="prompt", repairs=0)


def schema_of(format_: Fields) -> OutputSchema:
    """A format as both of OpenAI's protocols describe it.

    Whether it is strict is the target's own matter. The client is told of an answer that does not fit;
    nobody asks again in its name.
    """
    format_.leave("strict")
    schema = format_.table("schema")
    if schema is None:
        format_.refuse("schema", "it is missing", "missing_required_parameter")
    told = {
        "name": format_.needed("name"),
        "description": format_.text("description"),
        "json_schema": schema,
        "repairs": 0,
    }
    format_.done()
    return made(OutputSchema, told, {"name": format_.at("name"), "json_schema": format_.at("schema")})
