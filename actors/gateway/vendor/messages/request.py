"""A Messages request as a model call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from llmgine.actors.gateway.vendor.messages.blocks import Conversation
from llmgine.actors.gateway.vendor.reading import Asked, Fields, made, vendor_options
from llmgine.providers.codecs.anthropic_messages.codec import AnthropicMessagesCodec
from llmgine.providers.contracts import (
    CacheHints,
    LLMRequest,
    NamedTool,
    Origin,
    OutputSchema,
    Reasoning,
    ToolSpec,
)

_API: Final = AnthropicMessagesCodec.api
_LABELS: Final = frozenset({"metadata", "user_profile_id", "workspace_id"})
_HARMLESS: Final[dict[str, Any]] = {"service_tier": "auto", "mcp_servers": []}
_TTLS: Final = {"5m": 300.0, "1h": 3600.0}
_CHOICES: Final[dict[str, Literal["auto", "required", "none"]]] = {
    "auto": "auto",
    "any": "required",
    "none": "none",
}
_NAMES: Final = {
    "max_output_tokens": "max_tokens",
    "stop": "stop_sequences",
    "output": "output_config.format",
    "reasoning": "thinking",
}


def read_messages(body: Any, target: Origin | None, headers: Mapping[str, str]) -> Asked:
    """What the request asks for; `RequestRefused` for what cannot be asked of the model behind `target`."""
    fields = Fields(body)
    limit = fields.whole("max_tokens")
    if limit is None:
        fields.refuse("max_tokens", "it is missing")
    request, stream = _read(fields, target, headers)
    return Asked(made(LLMRequest, request | {"max_output_tokens": limit}, _NAMES), stream=stream)


def read_count(body: Any, target: Origin | None, headers: Mapping[str, str]) -> LLMRequest:
    """The request whose tokens are to be counted."""
    return made(LLMRequest, _read(Fields(body), target, headers)[0], _NAMES)


def _read(fields: Fields, target: Origin | None, headers: Mapping[str, str]) -> tuple[dict[str, Any], bool]:
    own: dict[str, Any] = {}
    marks = _Marks()
    conversation = Conversation(target, marks.message)
    choice, parallel = _choice(fields)
    tools = _tools(fields, target, own, marks)
    effort, output = _output(fields)
    request: dict[str, Any] = {
        "model": fields.needed("model"),
        "system": _system(fields, marks),
        "messages": conversation.read(fields),
        "tools": tools,
        "tool_choice": choice,
        "parallel_tool_calls": parallel,
        "output": output,
        "temperature": fields.number("temperature"),
        "top_p": fields.number("top_p"),
        "top_k": fields.whole("top_k"),
        "stop": fields.texts("stop_sequences"),
        "reasoning": _reasoning(fields, effort),
    }
    marks.top(fields)
    request["cache"] = marks.hints
    stream = fields.flag("stream") or False
    rest = vendor_options(fields, _API, target, headers, labels=_LABELS, harmless=_HARMLESS)
    if own or rest:
        request["provider_options"] = {_API: own | rest.get(_API, {})}
    if target is not None and target.api == _API and (beta := headers.get("anthropic-beta")):
        request["extra_headers"] = {"anthropic-beta": beta}
    return request, stream


class _Marks:
    """Where a request says that a beginning of it is worth keeping."""

    def __init__(self) -> None:
        self._places: list[Literal["tools", "system"] | int] = []
        self._ttl: float | None = None

    @property
    def hints(self) -> CacheHints | None:
        return CacheHints(breakpoints=tuple(self._places), ttl=self._ttl) if self._places else None

    def top(self, fields: Fields) -> None:
        """The mark of the whole request, which is at its end."""
        self._read(fields, -1)

    def tools(self, tool: Fields) -> None:
        self._read(tool, "tools")

    def system(self, block: Fields) -> None:
        self._read(block, "system")

    def message(self, number: int, block: Fields) -> None:
        """A mark at a block of the message with this number."""
        self._read(block, number)

    def _read(self, fields: Fields, place: Literal["tools", "system"] | int) -> None:
        control = fields.within("cache_control")
        if control is None:
            return
        control.one_of("type", "ephemeral")
        ttl = control.one_of("ttl", *_TTLS)
        control.leave("scope")
        control.done()
        if ttl is not None:
            self._ttl = max(self._ttl or 0.0, _TTLS[ttl])
        if place not in self._places:
            self._places.append(place)


def _system(fields: Fields, marks: _Marks) -> str | None:
    """The system prompt: a text, or blocks of text, which are paragraphs of it."""
    system = fields.raw("system")
    if system is None or isinstance(system, str):
        return system
    if not isinstance(system, list):
        fields.refuse("system", "a string or a list of text blocks was expected")
    texts: list[str] = []
    for at, one in enumerate(system):
        block = Fields(one, f"system[{at}]")
        block.one_of("type", "text")
        texts.append(block.needed("text"))
        marks.system(block)
        block.leave("citations")
        block.done()
    return "\n\n".join(texts)


def _tools(fields: Fields, target: Origin | None, own: dict[str, Any], marks: _Marks) -> tuple[ToolSpec, ...]:
    tools: list[ToolSpec] = []
    for tool in fields.each("tools"):
        kind = tool.text("type") or "custom"
        if kind != "custom":
            if target is None or target.api != _API:
                tool.refuse("type", f"only models behind {_API} take {kind!r} tools")
            own.setdefault("tools", []).append({"type": kind, **tool.rest()})
            continue
        marks.tools(tool)
        spec = {
            "name": tool.needed("name"),
            "description": tool.text("description"),
            "parameters": tool.table("input_schema") or tool.refuse("input_schema", "it is missing"),
            "strict": tool.flag("strict"),
        }
        tool.leave("eager_input_streaming", "input_examples")
        tool.done()
        tools.append(made(ToolSpec, spec, {"parameters": tool.at("input_schema"), "name": tool.at("name")}))
    return tuple(tools)


def _choice(fields: Fields) -> tuple[str | NamedTool | None, bool | None]:
    choice = fields.within("tool_choice")
    if choice is None:
        return None, None
    kind = choice.one_of("type", *_CHOICES, "tool")
    serial = choice.flag("disable_parallel_tool_use")
    chosen = NamedTool(name=choice.needed("name")) if kind == "tool" else _CHOICES[kind or "auto"]
    choice.done()
    return chosen, None if serial is None else not serial


def _output(fields: Fields) -> tuple[str | None, OutputSchema | None]:
    """How much effort is asked for, and of which shape the answer shall be."""
    config = fields.within("output_config")
    if config is None:
        return None, None
    effort, format_, schema = config.text("effort"), config.within("format"), None
    if format_ is not None:
        format_.one_of("type", "json_schema")
        told = {
            "json_schema": format_.table("schema") or format_.refuse("schema", "it is missing"),
            "repairs": 0,
        }
        format_.done()
        schema = made(OutputSchema, told, {"json_schema": format_.at("schema")})
    config.done()
    return effort, schema


def _reasoning(fields: Fields, effort: str | None) -> Reasoning | None:
    thinking = fields.within("thinking")
    if thinking is None:
        return (effort and made(Reasoning, {"effort": effort}, {"effort": "output_config.effort"})) or None
    kind = thinking.one_of("type", "enabled", "disabled", "adaptive")
    budget, shown = thinking.whole("budget_tokens"), thinking.one_of("display", "summarized", "omitted")
    thinking.done()
    if kind == "disabled":
        return Reasoning(effort="none")
    asked = {
        "effort": effort or ("high" if kind == "adaptive" else None),
        "budget": budget,
        "show": shown != "omitted",
    }
    return made(Reasoning, asked, {"budget": "thinking.budget_tokens", "effort": "output_config.effort"})
