"""Requests of OpenAI's Responses protocol."""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.openai_responses.cache import cache_plan
from llmgine.providers.codecs.openai_responses.input import Input, breakpoint_after
from llmgine.providers.codecs.openai_settings import effort_of, may_force, strict_parameters
from llmgine.providers.codecs.schema import openai_strict
from llmgine.providers.contracts import NamedTool, ToolSpec

_ENCRYPTED = "reasoning.encrypted_content"
_ABSENT = ("stop", "seed", "top_k", "presence_penalty", "frequency_penalty")


class ResponsesEncoding:
    """Builds one body; the order of its fields never varies.

    Nothing is stored at the provider, so that reasoning goes to and fro encrypted, unless options say
    otherwise.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._request = encoding.request
        self._profile = encoding.target.profile

    def body(self) -> dict[str, Any]:
        self._check()
        cache = cache_plan(self._encoding)
        body: dict[str, Any] = {"model": self._encoding.target.model}
        items = Input(self._encoding, cache.messages).items()
        if self._request.system is not None:
            if cache.system:
                system = breakpoint_after({"type": "input_text", "text": self._request.system})
                items.insert(0, {"role": "system", "content": [system]})
            else:
                body["instructions"] = self._request.system
        body["input"] = items
        body |= self._tools() | self._output() | self._sampling() | self._reasoning()
        body["store"] = False
        if self._profile.reasoning != "none":
            body["include"] = [_ENCRYPTED]
        body |= cache.fields
        body |= {"stream": True, "stream_options": {"include_obfuscation": False}}
        return self._encoding.laid_over(body, "tools", "include")

    def _check(self) -> None:
        self._encoding.check()
        for name, ours in (("input", "messages"), ("instructions", "system")):
            if name in self._encoding.options:
                reason = f"it has a field of its own; set `{ours}` instead"
                self._encoding.invalid(f"provider_options.{name}", reason)
        for name in _ABSENT:
            if getattr(self._request, name) not in (None, ()):
                self._encoding.unsupported(name, "the Responses protocol has no such setting")

    def _tools(self) -> dict[str, Any]:
        request = self._request
        if request.tools and not self._profile.tools:
            self._encoding.unsupported("tools", "this model calls no tools")
            return {}
        if not (request.tools or self._encoding.options.get("tools")):
            return {}
        tools = [self._tool(tool, f"tools[{number}]") for number, tool in enumerate(request.tools)]
        fields: dict[str, Any] = {"tools": tools} if tools else {}
        if not may_force(self._encoding):
            pass  # the model chooses
        elif isinstance(request.tool_choice, NamedTool):
            fields["tool_choice"] = {"type": "function", "name": request.tool_choice.name}
        elif request.tool_choice != "auto":
            fields["tool_choice"] = request.tool_choice
        if request.parallel_tool_calls is not None:
            fields["parallel_tool_calls"] = request.parallel_tool_calls
        return fields

    def _tool(self, tool: ToolSpec, field: str) -> dict[str, Any]:
        sent: dict[str, Any] = {"type": "function", "name": tool.name}
        if tool.description:
            sent["description"] = tool.description
        forced = strict_parameters(self._encoding, tool, field) if tool.strict else None
        # Left out, `strict` would mean true.
        return sent | {"parameters": forced or tool.parameters, "strict": forced is not None}

    def _output(self) -> dict[str, Any]:
        output = self._request.output
        if output is None:
            return {}
        dialect = openai_strict(output.json_schema)
        for difference in dialect.differences:
            self._encoding.changed("output.json_schema", difference)
        format_: dict[str, Any] = {"type": "json_schema", "name": output.name}
        if output.description:
            format_["description"] = output.description
        return {"text": {"format": format_ | {"schema": dialect.schema, "strict": dialect.strict}}}

    def _sampling(self) -> dict[str, Any]:
        request, fields = self._request, dict[str, Any]()
        if request.max_output_tokens is not None:
            fields["max_output_tokens"] = request.max_output_tokens
        for name in ("temperature", "top_p"):
            if (value := getattr(request, name)) is not None:
                if self._profile.samples(request.reasoning):
                    fields[name] = value
                else:
                    self._encoding.unsupported(name, "this model takes none")
        return fields

    def _reasoning(self) -> dict[str, Any]:
        asked = self._request.reasoning
        if asked is None or asked == type(asked)():
            return {}
        if self._profile.reasoning == "none":
            self._encoding.cannot_think("this model cannot be told how much to think")
            return {}
        fields: dict[str, Any] = {}
        if (effort := effort_of(self._encoding, asked)) is not None:
            fields["effort"] = effort
        if asked.show:
            fields["summary"] = "auto"
        return {"reasoning": fields} if fields else {}
