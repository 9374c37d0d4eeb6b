"""Requests of the Anthropic Messages protocol."""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.anthropic_messages.cache import mark_breakpoints
from llmgine.providers.codecs.anthropic_messages.settings import Settings
from llmgine.providers.codecs.anthropic_messages.turns import Turns, begun_without_thinking
from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.schema import anthropic_output
from llmgine.providers.contracts import ToolSpec

Block = dict[str, Any]


class MessagesEncoding:
    """Builds one body; the order of its fields never varies."""

    def __init__(self, encoding: Encoding, default_max_tokens: int) -> None:
        self._encoding = encoding
        self._default_max_tokens = default_max_tokens

    def body(self) -> dict[str, Any]:
        self._encoding.check()
        leading = self._encoding.leading
        turns = Turns(self._encoding, leading)
        sent = turns.build()
        if not sent:
            self._encoding.invalid("messages", "the Messages protocol needs one message besides the system's")
        settings = Settings(self._encoding, self._default_max_tokens, begun_without_thinking(sent))
        system = [{"type": "text", "text": text} for text in self._encoding.system]
        tools = self._tools()
        mark_breakpoints(self._encoding, tools, system, leading, turns.blocks)
        body: dict[str, Any] = {
            "model": self._encoding.target.model,
            "max_tokens": settings.max_tokens,
        }
        if system:
            plain = len(system) == 1 and "cache_control" not in system[0]
            body["system"] = system[0]["text"] if plain else system
        body["messages"] = sent
        if tools:
            body["tools"] = tools
        if tools or self._encoding.options.get("tools"):
            body |= settings.tool_choice()
        body |= settings.thinking
        if output := settings.effort | self._format():
            body["output_config"] = output
        body |= settings.sampling()
        body["stream"] = True
        return self._encoding.laid_over(body, "tools")

    def _tools(self) -> list[Block]:
        tools = self._encoding.request.tools
        if tools and not self._encoding.target.profile.tools:
            self._encoding.unsupported("tools", "this model calls no tools")
            return []
        return [self._tool(tool, f"tools[{number}]") for number, tool in enumerate(tools)]

    def _tool(self, tool: ToolSpec, field: str) -> Block:
        sent: Block = {"name": tool.name}
        if tool.description:
            sent["description"] = tool.description
        sent["input_schema"] = tool.parameters
        if tool.strict:
            dialect = anthropic_output(tool.parameters)
            if dialect.strict:
                sent |= {"input_schema": dialect.schema, "strict": True}
                for difference in dialect.differences:
                    self._encoding.changed(f"{field}.parameters", difference)
            else:
                self._encoding.changed(f"{field}.strict", "; ".join(dialect.differences))
        return sent

    def _format(self) -> dict[str, Any]:
        output = self._encoding.request.output
        if output is None:
            return {}
        dialect = anthropic_output(output.json_schema)
        if not dialect.strict:
            self._encoding.unsupported("output.json_schema", "; ".join(dialect.differences))
            return {}
        for difference in dialect.differences:
            self._encoding.changed("output.json_schema", difference)
        return {"format": {"type": "json_schema", "schema": dialect.schema}}
