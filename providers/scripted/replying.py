"""What a reply of a script comes to for one request."""

from __future__ import annotations

import json
from typing import Any

from llmgine.providers.catalogue.scripts import Reply, ScriptedCall
from llmgine.providers.contracts import (
    AnyPart,
    LLMRequest,
    NamedTool,
    Origin,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)
from llmgine.providers.errors import InvalidRequest
from llmgine.providers.scripted.samples import sample


def turn_of(request: LLMRequest) -> int:
    """How many answers the conversation holds."""
    return sum(message.role == "assistant" for message in request.messages)


def parts_of(reply: Reply, request: LLMRequest, origin: Origin) -> tuple[AnyPart, ...]:
    """The parts of the reply, made by `origin`; `InvalidRequest` where a call has no tool to call."""
    parts = _by_fields(reply, request) if reply.parts is None else list(reply.parts)
    heard = (_as_asked(part, request) for part in parts)
    return tuple(_made(part, origin) for part in heard if part is not None)


def _by_fields(reply: Reply, request: LLMRequest) -> list[AnyPart]:
    calls = _calls(reply, request)
    text = reply.text
    if text is None:
        text = "" if calls else _answer(request)
    parts: list[AnyPart] = []
    if reply.thinking:
        parts.append(ThinkingPart(text=reply.thinking))
    if text:
        parts.append(TextPart(text=text))
    return [*parts, *(_call(call, number, request) for number, call in enumerate(calls))]


def _calls(reply: Reply, request: LLMRequest) -> tuple[ScriptedCall, ...]:
    if request.tool_choice == "none":
        return ()
    demanded = request.tool_choice == "required" or isinstance(request.tool_choice, NamedTool)
    answers_by_itself = reply.text is None and not reply.tool_calls
    return (ScriptedCall(),) if demanded and answers_by_itself else reply.tool_calls


def _call(call: ScriptedCall, number: int, request: LLMRequest) -> ToolCallPart:
    name = _offered(request).name if call.name == "*" else call.name
    arguments = _arguments(name, request) if call.arguments is None else call.arguments
    return ToolCallPart(id=f"call_{turn_of(request)}_{number}", name=name, arguments=arguments)


def _as_asked(part: AnyPart, request: LLMRequest) -> AnyPart | None:
    """A part as the request wants to see it: without thinking where the model shall not, or not show it."""
    reasoning = request.reasoning
    if reasoning is None or not isinstance(part, ThinkingPart):
        return part
    if reasoning.effort == "none" or reasoning.budget == 0:
        return None
    if reasoning.show is not False:
        return part
    sealed = part.signature or part.redacted or part.encrypted
    return part.model_copy(update={"text": ""}) if sealed else None


def _made(part: AnyPart, origin: Origin) -> AnyPart:
    update: dict[str, Any] = {} if part.origin else {"origin": origin}
    if isinstance(part, ToolCallPart) and not part.raw_arguments and part.arguments is not None:
        update["raw_arguments"] = json.dumps(part.arguments, ensure_ascii=False)
    return part.model_copy(update=update)


def _answer(request: LLMRequest) -> str:
    if request.output is not None:
        return json.dumps(sample(request.output.json_schema), ensure_ascii=False)
    results: list[str] = []
    for message in reversed(request.messages):
        if message.role == "user":
            return "\n".join(reversed(results)) or message.text
        results += [part.text for part in reversed(message.parts) if isinstance(part, ToolResultPart)]
    return "\n".join(reversed(results))


def _offered(request: LLMRequest) -> ToolSpec:
    if not request.tools:
        raise InvalidRequest(
            "the script calls a tool and the request offers none: pass tools or play another"
        )
    if isinstance(request.tool_choice, NamedTool):
        wanted = request.tool_choice.name
        return next(tool for tool in request.tools if tool.name == wanted)
    return request.tools[0]


def _arguments(name: str, request: LLMRequest) -> dict[str, Any]:
    for tool in request.tools:
        if tool.name == name:
            made = sample(tool.parameters)
            return made if isinstance(made, dict) else {}
    return {}
