"""The fields of a Chat Completions request beside its messages."""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.reasoning import effort_for, nearest_effort
from llmgine.providers.codecs.schema import Dialect, openai_strict
from llmgine.providers.contracts import Effort, NamedTool, Reasoning, ToolSpec
from llmgine.providers.quirks import Quirks

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
        if not tools:
            return {}
        offered, choice = self._choice(tools)
        fields: Fields = {"tools": [self._tool(tool, tools.index(tool)) for tool in offered]} | choice
        if not offered:
            return {}
        if self._request.parallel_tool_calls is not None:
            if self._quirks.parallel_tool_calls:
                fields["parallel_tool_calls"] = self._request.parallel_tool_calls
            else:
                self._encoding.unsupported("parallel_tool_calls", "the server heeds no such field")
        return fields

    def _choice(self, tools: tuple[ToolSpec, ...]) -> tuple[tuple[ToolSpec, ...], Fields]:
        """The tools that are offered, and how the model is told which to call."""
        choice, heeded = self._request.tool_choice, self._quirks.tool_choice
        if choice == "auto":
            return tools, {}
        if isinstance(choice, NamedTool):
            if heeded == "any":
                return tools, {"tool_choice": {"type": "function", "function": {"name": choice.name}}}
            if heeded == "words":
                self._encoding.changed(
                    "tool_choice", "only the named tool is offered, and a call is required"
                )
                return tuple(tool for tool in tools if tool.name == choice.name), {"tool_choice": "required"}
        elif heeded != "auto":
            return tools, {"tool_choice": choice}
        elif choice == "none":
            self._encoding.changed("tool_choice", "the server heeds none, so that no tools are offered")
            return (), {}
        self._encoding.unsupported("tool_choice", "the server cannot make the model call a tool")
        return tools, {}

    def _tool(self, tool: ToolSpec, number: int) -> Fields:
        function: Fields = {"name": tool.name}
        if tool.description:
            function["description"] = tool.description
        function["parameters"] = tool.parameters
        if tool.strict and (dialect := self._strict(tool, f"tools[{number}]")):
            function |= {"parameters": dialect.schema, "strict": True}
        return {"type": "function", "function": function}

    def _strict(self, tool: ToolSpec, field: str) -> Dialect | None:
        if not self._quirks.strict_tools:
            self._encoding.dropped(f"{field}.strict", "the server does not force arguments to fit")
            return None
        dialect = openai_strict(tool.parameters)
        if not dialect.strict:
            self._encoding.dropped(f"{field}.strict", "; ".join(dialect.differences))
            return None
        for difference in dialect.differences:
            self._encoding.changed(f"{field}.parameters", difference)
        return dialect

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
        for name in ("temperature", "top_p", "top_k"):
            if (value := getattr(request, name)) is None:
                continue
            if not self._profile.sampling:
                self._encoding.unsupported(name, "this model takes none")
            elif name == "top_k" and not quirks.top_k:
                self._encoding.unsupported(name, "the server knows no such setting")
            else:
                fields[name] = value
        for name in ("presence_penalty", "frequency_penalty"):
            if (value := getattr(request, name)) is None:
                continue
            if quirks.penalties and self._profile.sampling:
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
        if asked.show and not self._quirks.shows_thinking:
            self._encoding.unsupported("reasoning.show", "this protocol shows no reasoning of these models")
        level = "none" if asked.effort is None and asked.budget == 0 else asked.effort
        if self._profile.reasoning == "none":
            if level not in (None, "none") or asked.budget:
                self._encoding.unsupported("reasoning", "this model does not think")
            return {}
        if style is None:
            if level is not None or asked.budget:
                self._encoding.unsupported("reasoning", "the server cannot be told how much to think")
            return {}
        if style == "object":
            return self._object(asked, level)
        level = self._level(asked, level)
        return {} if level is None else self._worded(level)

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
        elif (level := self._level(asked, level)) is not None:
            told["effort"] = level
        if asked.show is not None:
            told["exclude"] = not asked.show
        return {"reasoning": told} if told else {}

    def _level(self, asked: Reasoning, level: Effort | None) -> Effort | None:
        """The effort to ask for, one that the model knows."""
        if asked.budget and level is not None:
            self._encoding.dropped("reasoning.budget", "the model is told how much to think by effort alone")
        elif asked.budget:
            level = effort_for(asked.budget)
        if level is None:
            return None
        sent = nearest_effort(level, self._profile.efforts)
        if sent != asked.effort and (asked.budget or asked.effort):
            self._encoding.changed("reasoning", f"the model is told how much to think by effort: {sent}")
        return sent
