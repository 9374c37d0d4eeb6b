"""Requests with tools, put into words for a model that knows none.

Pure: from a request to the requests that a small model understands. Choosing a tool and filling in
its arguments are two requests whose answers are constrained to be well-formed; a tool's result is
told in the user's own turn.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from llmgine.providers.contracts import (
    Adjustment,
    LLMRequest,
    Message,
    NamedTool,
    OutputSchema,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError

ANSWER = "answer"

EMULATED = Adjustment(field="tools", action="emulated", reason="the model calls tools by constrained JSON")
TOLD = Adjustment(field="messages", action="changed", reason="tool calls and results are told in words")

_LONGEST_STRING = 80
_LARGEST_NUMBER = 999_999_999
_MOST_ITEMS = 8
_ARGUMENT_TOKENS = 256
_PAST_TURNS = 3
_SHORTEST_STEM = 4
# Words that say nothing about what a tool is for.
_STOP = frozenset(
    """
    a about all am an and any are as ask at be by can could current data did do does find for from get
    give go got has have help how i if in input into is it its just know let like list make may me
    message my name need now number of on one or our out output please question right run say see set
    she should show so some string take tell text than that the their them then there these they thing
    this to today tool two up us use used user using value want was we what when where which while who
    why will with word would you your
    """.split()  # noqa: SIM905 - a list would take a line for each word
)


class Turn(NamedTuple):
    """One question of the user, and the calls that were made for it."""

    question: str
    calls: tuple[ToolCallPart, ...]
    has_results: bool


def turns(messages: tuple[Message, ...]) -> list[Turn]:
    """The user's questions in order, each with what was called for it."""
    found: list[Turn] = []
    for message in messages:
        if message.role == "user":
            found.append(Turn(message.text, (), False))
        elif found:
            last = found[-1]
            results = any(isinstance(part, ToolResultPart) for part in message.parts)
            found[-1] = Turn(last.question, last.calls + message.tool_calls, last.has_results or results)
    return found


def candidates(request: LLMRequest) -> tuple[ToolSpec, ...]:
    """The tools that may be called now; none means that the model answers in words.

    Where the model is free to choose, a tool comes into question if it shares a word with the
    question, else if it was called for the question before: a model this small sees no more.
    """
    choice = request.tool_choice
    if isinstance(choice, NamedTool):
        named = tuple(tool for tool in request.tools if tool.name == choice.name)
        if not named:
            raise ProviderError(
                f"tool_choice names {choice.name!r}, which is not among tools",
                kind=ErrorKind.INVALID_REQUEST,
                phase=ErrorPhase.REQUEST,
                scope=ErrorScope.REQUEST,
            )
        return named
    if choice == "required":
        return request.tools
    past = turns(request.messages)
    if choice == "none" or not past or past[-1].has_results:
        return ()
    asked = _words(past[-1].question)
    shared = tuple(tool for tool in request.tools if _meet(asked, _words(f"{tool.name} {tool.description}")))
    before = {call.name for turn in past[-2:-1] for call in turn.calls}
    return shared or tuple(tool for tool in request.tools if tool.name in before)


def choosing(request: LLMRequest, tools: tuple[ToolSpec, ...], *, may_answer: bool) -> LLMRequest:
    """The request whose answer is the name of one of `tools`, or "answer"."""
    names = [tool.name for tool in tools] + ([ANSWER] if may_answer else [])
    otherwise = f", or {ANSWER} if it needs none" if may_answer else ""
    lines = [f"Choose the tool that the message needs{otherwise}."]
    lines += [f"{tool.name}: {_purpose(tool)}" for tool in tools]
    examples = [(_purpose(tool), tool.name) for tool in tools]
    if may_answer:
        lines.append(f"{ANSWER}: Talk with the user.")
        examples = [("Hello there!", ANSWER), *examples, ("Thanks!", ANSWER)]
    *past, now = turns(request.messages) or [Turn("", (), False)]
    for turn in past[-_PAST_TURNS:]:
        name = turn.calls[0].name if turn.calls else ANSWER
        if name in names:
            examples.append((turn.question, name))
    grammar = "root ::= " + " | ".join(f'"{name}"' for name in names)
    return _step(
        request,
        "\n".join(lines),
        examples,
        now.question,
        provider_options={"openai-chat": {"grammar": grammar}},
    )


def filling(request: LLMRequest, tool: ToolSpec) -> LLMRequest:
    """The request whose answer is the arguments of `tool` as JSON."""
    system = f"Answer with the arguments of {tool.name} as JSON.\n{tool.name}: {_purpose(tool)}"
    *past, now = turns(request.messages) or [Turn("", (), False)]
    examples = [
        (turn.question, json.dumps(call.arguments, ensure_ascii=False))
        for turn in past[-_PAST_TURNS:]
        for call in turn.calls[:1]
        if call.name == tool.name
    ]
    output = OutputSchema(name="arguments", json_schema=bounded(tool.parameters))
    return _step(request, system, examples, now.question, output=output)


def plain(request: LLMRequest) -> tuple[LLMRequest, tuple[Adjustment, ...]]:
    """The request without tools, results told in the user's turn, and what was changed for it."""
    told = _tell(request.messages)
    changed = (TOLD,) if told != request.messages else ()
    fields = {"messages": told, "tools": (), "tool_choice": "auto", "parallel_tool_calls": None}
    return request.model_copy(update=fields), changed


def bounded(schema: Any) -> Any:
    """The schema with an end to every string, number and array, so that a small model comes to one."""
    if isinstance(schema, list):
        return [bounded(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _inner(key, value) for key, value in schema.items() if key not in ("default", "title")}
    if "enum" in made or "const" in made:
        return made
    kind = made.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if "string" in kinds and not {"pattern", "format", "maxLength"} & set(made):
        made["maxLength"] = _LONGEST_STRING
    if "integer" in kinds:
        made.setdefault("minimum", min(-_LARGEST_NUMBER, made.get("maximum", 0)))
        made.setdefault("maximum", max(_LARGEST_NUMBER, made["minimum"]))
    if "array" in kinds:
        made.setdefault("maxItems", max(_MOST_ITEMS, made.get("minItems", 0)))
    if "object" in kinds and "properties" in made:
        made.setdefault("additionalProperties", False)
    return made


def _inner(key: str, value: Any) -> Any:
    if key in ("properties", "$defs", "definitions"):
        return {name: bounded(one) for name, one in value.items()}
    if key in ("items", "prefixItems", "anyOf", "oneOf", "allOf", "additionalProperties"):
        return bounded(value)
    return value


def _step(
    request: LLMRequest, system: str, examples: list[tuple[str, str]], question: str, **fields: Any
) -> LLMRequest:
    messages: list[Message] = []
    for asked, answered in examples:
        messages += [Message.user(asked), Message.assistant(answered)]
    return LLMRequest(
        model=request.model,
        system=system,
        messages=(*messages, Message.user(question)),
        max_output_tokens=_ARGUMENT_TOKENS,
        temperature=0,
        seed=request.seed or 0,
        deadline=request.deadline,
        idle_timeout=request.idle_timeout,
        **fields,
    )


def _tell(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    told: list[Message] = []
    question = ""
    results: list[str] = []
    for message in messages:
        if message.role == "user":
            question, results = message.text, []
            told.append(message)
        elif message.role == "tool":
            results += [_result(part) for part in message.parts if isinstance(part, ToolResultPart)]
            if told and told[-1].role == "user":
                told.pop()
            told.append(Message.user("\n".join([*results, "", f"Use it to answer: {question}"])))
        elif message.tool_calls:
            if message.text:
                told.append(Message.assistant(message.text))
        else:
            told.append(message)
    return tuple(told)


def _result(part: ToolResultPart) -> str:
    said = "Error" if part.is_error else "Result"
    return f"{said} of {part.name}: {part.text}" if part.name else f"{said}: {part.text}"


def _purpose(tool: ToolSpec) -> str:
    first = tool.description.strip().partition("\n")[0]
    return first or tool.name.replace("_", " ").replace("-", " ")


def _words(text: str) -> set[str]:
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return {word for word in re.findall(r"[^\W_]+", text.lower()) if word not in _STOP}


def _meet(asked: set[str], meant: set[str]) -> bool:
    return any(
        one == other
        or (min(len(one), len(other)) >= _SHORTEST_STEM and (one.startswith(other) or other.startswith(one)))
        for one in asked
        for other in meant
    )
