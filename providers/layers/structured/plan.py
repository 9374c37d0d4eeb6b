"""How a model is brought to an answer that fits a schema, and asked again for one that did not."""

from __future__ import annotations

from dataclasses import dataclass

from llmgine.providers.catalogue.profiles import ModelProfile
from llmgine.providers.codecs.assembly import compact
from llmgine.providers.contracts import (
    Adjustment,
    LLMRequest,
    Message,
    NamedTool,
    OutputMode,
    OutputSchema,
    ToolSpec,
)

_LONGEST_NAME = 64
_SAY_IT = (
    "Answer with one JSON object and nothing else: no words around it and no code fence. "
    "It must fit this JSON schema:\n"
)
_CALL_IT = "Give your final answer by calling this tool."


@dataclass(frozen=True, slots=True)
class Means:
    """By what one model can be brought to structured output.

    `native`: its protocol can hold it to this schema; `forced`: it can be made to call a tool.
    """

    profile: ModelProfile
    native: bool = True
    forced: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """The request that is sent for structured output; `tool` names the tool whose call is the answer."""

    request: LLMRequest
    mode: OutputMode
    tool: str | None = None
    adjustments: tuple[Adjustment, ...] = ()


def planned(request: LLMRequest, means: Means) -> Plan:
    """The plan for a request that has an `output`."""
    output = request.output
    assert output is not None
    mode = chosen_mode(request, output, means)
    if mode == "native":
        return Plan(request, mode)
    why = f"the answer is asked for {'by a tool call' if mode == 'tool' else 'in words'} and checked here"
    note = (Adjustment(field="output", action="emulated", reason=why),)
    if mode == "prompt":
        words = f"{output.description}\n\n" if output.description else ""
        said = f"{words}{_SAY_IT}{compact(output.json_schema)}"
        system = f"{request.system}\n\n{said}" if request.system else said
        return Plan(request.model_copy(update={"output": None, "system": system}), mode, None, note)
    return _by_tool(request, output, note)


def chosen_mode(request: LLMRequest, output: OutputSchema, means: Means) -> OutputMode:
    """The mode that was asked for, or the best that the model has for this request."""
    if output.mode != "auto":
        return output.mode
    profile = means.profile
    has_tools = bool(request.tools) and request.tool_choice != "none"
    if profile.output == "native" and means.native and (profile.output_with_tools or not has_tools):
        return "native"
    if profile.output != "prompt" and profile.tools and profile.forced_tools and means.forced:
        return "tool"
    return "prompt"


def asked_again(request: LLMRequest, answer: Message, problem: str) -> LLMRequest:
    """The request after an answer that does not fit: with the answer, and what is wrong with it."""
    words = f"That answer does not fit: {problem}\nGive the whole answer again, corrected."
    kept = (answer,) if answer.parts else ()
    return request.model_copy(update={"messages": (*request.messages, *kept, Message.user(words))})


def _by_tool(request: LLMRequest, output: OutputSchema, note: tuple[Adjustment, ...]) -> Plan:
    name = _free_name(output.name, {tool.name for tool in request.tools})
    tool = ToolSpec(name=name, description=output.description or _CALL_IT, parameters=output.json_schema)
    update: dict[str, object] = {"output": None, "tools": (*request.tools, tool)}
    if not request.tools or request.tool_choice == "none":
        update["tool_choice"] = NamedTool(name=name)
    elif request.tool_choice == "auto":
        update["tool_choice"] = "required"
    return Plan(request.model_copy(update=update), "tool", name, note)


def _free_name(name: str, taken: set[str]) -> str:
    free, again = name, 2
    while free in taken:
        suffix = f"_{again}"
        free, again = name[: _LONGEST_NAME - len(suffix)] + suffix, again + 1
    return free
