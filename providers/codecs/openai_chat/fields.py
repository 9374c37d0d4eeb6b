"""The fields of a Chat Completions request beside its messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmgine.providers.catalogue.quirks import Quirks
from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.openai_settings import effort_of, may_force, strict_parameters
from llmgine.providers.codecs.schema import openai_strict
from llmgine.providers.contracts import Effort, NamedTool, Reasoning, ToolSpec

Fields = dict[str, Any]


class ChatFields:
    """Tools, output format, settings and reasoning, in the words of one server."""

    def __init__(self, encoding: Encoding, quirks: Quirks) -> None:
        self._encoding = encoding
        self._request = encoding.request
        self._profile = encoding.target.profile
        self._quirks = quirks

    def tools(self) -> Fields:
        tools = self._request.tools
        if tools and not self._profile.tools:
            self._encoding.unsupported("tools", "this model takes none")
            tools = ()
        added = bool(self._encoding.options.get("tools"))
        if not (tools or added):
            return {}
        offered, fields = self._choice(tools)
        if not (offered or added):
            return {}
        if offered:
            fields = {"tools": [self._tool(tools[number], f"tools[{number}]") for number in offered]} | fields
        if self._request.parallel_tool_calls is not None:
            if self._quirks.parallel_tool_calls:
                fields["parallel_tool_calls"] = self._request.parallel_tool_calls
            else:
                self._encoding.unsupported("parallel_tool_calls", "the server heeds no such field")
        return fields

    def _choice(self, tools: tuple[ToolSpec, ...]) -> tuple[Sequence[int], Fields]:
        """The numbers of the tools that are offered, and how the model is told which to call."""
        choice, heeded, every = self._request.tool_choice, self._quirks.tool_choice, range(len(tools))
        if choice == "auto" or not may_force(self._encoding):
            return every, {}
        if isinstance(choice, NamedTool):
            if heeded == "any":
                return every, {"tool_choice": {"type": "function", "function": {"name": choice.name}}}
            if heeded == "words":
                self._encoding.changed(
                    "tool_choice", "only the named tool is offered, and a call is required"
                )
                named = [number for number in every if tools[number].name == choice.name]
                return named, {"tool_choice": "required"}
        elif heeded != "auto":
            return every, {"tool_choice": choice}
        elif choice == "none":
            self._encoding.changed("tool_choice", "the server heeds none, so that no tools are offered")
            return (), {}
        self._encoding.unsupported("tool_choice", "the server cannot make the model call a tool")
        return every, {}

    def _tool(self, tool: ToolSpec, field: str) -> Fields:
        function: Fields = {"name": tool.name}
        if tool.description:
            function["description"] = tool.description
        function["parameters"] = tool.parameters
        if tool.strict:
            if not self._quirks.strict_tools:
                reason = "not enforced by the provider: this server has no such mode"
                self._encoding.changed(f"{field}.strict", reason)
            elif schema := strict_parameters(self._encoding, tool, field):
                function |= {"parameters": schema, "strict": True}
        return {"type": "function", "function": function}

    def output(self) -> Fields:
        output = self._request.output
        if output is None:
            return {}
        if not self._quirks.json_schema:
            self._encoding.unsupported("output", "the server cannot force an answer to fit a schema")
            return {}
        schema: Fields = {"name": output.name}
        if output.description:
            schema["description"] = output.description
        schema["schema"] = output.json_schema
        if self._quirks.strict_schemas:
            dialect = openai_strict(output.json_schema)
            schema["schema"] = dialect.schema
            if dialect.strict:
                schema["strict"] = True
            for difference in dialect.differences:
                self._encoding.changed("output.json_schema", difference)
        return {"response_format": {"type": "json_schema", "json_schema": schema}}

    def settings(self) -> Fields:
        request, quirks, fields = self._request, self._quirks, Fields()
        if request.max_output_tokens is not None:
            fields[quirks.max_tokens_field] = request.max_output_tokens
        fields |= self._sampling()
        if request.seed is not None:
            if quirks.seed_field is None:
                self._encoding.unsupported("seed", "the server knows no such setting")
            else:
                fields[quirks.seed_field] = request.seed
        if request.stop:
            fields["stop"] = list(request.stop)
        return fields

    def _sampling(self) -> Fields:
        request, quirks, fields = self._request, self._quirks, Fields()
        samples = self._profile.samples(request.reasoning)
        for name in ("temperature", "top_p", "top_k"):
            if (value := getattr(request, name)) is None:
                continue
            if not samples:
                self._encoding.unsupported(name, "this model takes none")
            elif name == "top_k" and not quirks.top_k:
                self._encoding.unsupported(name, "the server knows no such setting")
            else:
                fields[name] = value
        for name in ("presence_penalty", "frequency_penalty"):
            if (value := getattr(request, name)) is None:
                continue
            if quirks.penalties and samples:
                fields[name] = value
            else:
                self._encoding.unsupported(name, "the server knows no such setting for this model")
        return fields

    def stream(self) -> Fields:
        fields: Fields = {"stream": True}
        if self._quirks.stream_options:
            fields["stream_options"] = {"include_usage": True}
            if self._quirks.padding:
                fields["stream_options"]["include_obfuscation"] = False
        return fields

    def reasoning(self) -> Fields:
        asked, style = self._request.reasoning, self._quirks.reasoning
        if asked is None or asked == Reasoning():
            return {}
        level = "none" if asked.effort is None and asked.budget == 0 else asked.effort
        if self._profile.reasoning == "none":
            self._encoding.cannot_think("this model does not think")
            return {}
        if asked.show and not self._quirks.shows_thinking:
            self._encoding.dropped("reasoning.show", "this server shows no reasoning of its models")
        if style is None:
            if level is not None or asked.budget:
                self._encoding.unsupported("reasoning", "the server cannot be told how much to think")
            return {}
        if style == "object":
            return self._object(asked, level)
        told = effort_of(self._encoding, asked)
        return {} if told is None else self._worded(told)

    def _worded(self, level: Effort) -> Fields:
        """A level in the server's words."""
        off = level == "none"
        effort: Fields = {"reasoning_effort": level}
        match self._quirks.reasoning:
            case "switch":
                switch = {"thinking": {"type": "disabled" if off else "enabled"}}
                return switch if off else switch | effort
            case "template":
                return {"chat_template_kwargs": {"enable_thinking": not off} | ({} if off else effort)}
            case _:
                return effort

    def _object(self, asked: Reasoning, level: Effort | None) -> Fields:
        """A level or a number of tokens: the server translates what the model does not take."""
        told: Fields = {}
        if level is None and asked.budget and self._profile.reasoning != "effort":
            told["max_tokens"] = asked.budget
        elif (effort := effort_of(self._encoding, asked)) is not None:
            told["effort"] = effort
        if asked.show is not None:
            told["exclude"] = not asked.show
        return {"reasoning": told} if told else {}
