"""Requests of OpenAI's Responses protocol."""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.lowering import merged
from llmgine.providers.codecs.openai_responses.cache import cache_plan
from llmgine.providers.codecs.openai_responses.input import Input, breakpoint_after
from llmgine.providers.codecs.reasoning import effort_for, nearest_effort
from llmgine.providers.codecs.schema import openai_strict
from llmgine.providers.contracts import NamedTool, ToolSpec

_ENCRYPTED = "reasoning.encrypted_content"
# Lists that options add to: what runs at the provider beside our tools, and what else to include.
_ADDED = ("tools", "include")
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
        return self._laid_over(body)

    def _check(self) -> None:
        self._encoding.check()
        for name, ours in (("input", "messages"), ("instructions", "system")):
            if name in self._encoding.options:
                reason = f"it has a field of its own; set `{ours}` instead"
                self._encoding.invalid(f"provider_options.{name}", reason)
        for name in _ABSENT:
            if getattr(self._request, name) not in (None, ()):
                self._encoding.unsupported(name, "the Responses protocol has no such setting")

    def _laid_over(self, body: dict[str, Any]) -> dict[str, Any]:
        options = self._encoding.options
        for name in _ADDED:
            if isinstance(added := options.get(name), list):
                held = body.get(name, [])
                options[name] = held + [one for one in added if one not in held]
        return merged(body, options)

    def _tools(self) -> dict[str, Any]:
        request = self._request
        if not request.tools:
            return {}
        if not self._profile.tools:
            self._encoding.unsupported("tools", "this model calls no tools")
            return {}
        tools = [self._tool(tool, f"tools[{number}]") for number, tool in enumerate(request.tools)]
        fields: dict[str, Any] = {"tools": tools}
        if isinstance(request.tool_choice, NamedTool):
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
        parameters, strict = tool.parameters, False
        if tool.strict:
            dialect = openai_strict(tool.parameters)
            strict = dialect.strict
            if strict:
                parameters = dialect.schema
                self._differ(f"{field}.parameters", dialect.differences)
            else:
                reason = dialect.differences[0]
                self._encoding.changed(f"{field}.strict", f"the arguments are not forced to fit: {reason}")
        return sent | {"parameters": parameters, "strict": strict}  # left out, `strict` would mean true

    def _output(self) -> dict[str, Any]:
        output = self._request.output
        if output is None:
            return {}
        dialect = openai_strict(output.json_schema)
        self._differ("output.json_schema", dialect.differences)
        format_: dict[str, Any] = {"type": "json_schema", "name": output.name}
        if output.description:
            format_["description"] = output.description
        return {"text": {"format": format_ | {"schema": dialect.schema, "strict": dialect.strict}}}

    def _differ(self, field: str, differences: tuple[str, ...]) -> None:
        for difference in differences:
            self._encoding.changed(field, difference)

    def _sampling(self) -> dict[str, Any]:
        request, fields = self._request, dict[str, Any]()
        if request.max_output_tokens is not None:
            fields["max_output_tokens"] = request.max_output_tokens
        for name in ("temperature", "top_p"):
            if (value := getattr(request, name)) is not None:
                if self._profile.sampling:
                    fields[name] = value
                else:
                    self._encoding.unsupported(name, "this model takes none")
        return fields

    def _reasoning(self) -> dict[str, Any]:
        asked = self._request.reasoning
        if asked is None or asked == type(asked)():
            return {}
        off = asked.effort == "none" or (asked.effort is None and not asked.budget)
        if self._profile.reasoning == "none":
            if not off:
                self._encoding.unsupported("reasoning", "this model cannot be told how much to think")
            elif asked.show:
                self._encoding.dropped("reasoning.show", "this model shows no reasoning")
            return {}
        fields: dict[str, Any] = {}
        wanted = asked.effort
        if asked.budget is not None:
            if wanted is None:
                wanted = effort_for(asked.budget)
            else:
                self._encoding.dropped(
                    "reasoning.budget", "the Responses protocol knows levels of effort alone"
                )
        if wanted is not None:
            fields["effort"] = sent = nearest_effort(wanted, self._profile.efforts)
            if sent != asked.effort:
                self._encoding.changed("reasoning", f"this model is told how much to think by effort: {sent}")
        if asked.show:
            fields["summary"] = "auto"
        return {"reasoning": fields} if fields else {}
