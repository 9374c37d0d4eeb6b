"""Requests of the Chat Completions protocol."""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.assembly import compact
from llmgine.providers.codecs.encoding import (
    CallIds,
    Encoding,
    arguments_text,
    image_base64,
    is_closed,
    merged,
)
from llmgine.providers.contracts import (
    ImagePart,
    Message,
    NamedTool,
    OpaquePart,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

# OpenAI itself refuses longer ids; other servers are not known to.
_LONGEST_ID = 40


class ChatEncoding:
    """Builds one body; the order of its fields never varies."""

    def __init__(self, encoding: Encoding, *, compatible: bool) -> None:
        self._encoding = encoding
        self._compatible = compatible
        self._ids = CallIds(r".+", 10_000 if compatible else _LONGEST_ID)

    def body(self) -> dict[str, Any]:
        request = self._encoding.request
        self._encoding.check()
        if self._encoding.options.get("n", 1) != 1:
            self._encoding.invalid("provider_options.n", "a response holds one answer; call several times")
        body: dict[str, Any] = {"model": self._encoding.target.model, "messages": self._messages()}
        body |= self._tools()
        body |= self._output()
        if request.max_output_tokens is not None:
            body["max_tokens" if self._compatible else "max_completion_tokens"] = request.max_output_tokens
        for name in ("temperature", "top_p", "seed"):
            if (value := getattr(request, name)) is not None:
                body[name] = value
        if request.stop:
            body["stop"] = list(request.stop)
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
        if not self._compatible:
            body["stream_options"]["include_obfuscation"] = False
        return merged(body, self._encoding.options)

    def _tools(self) -> dict[str, Any]:
        request = self._encoding.request
        if not request.tools:
            return {}
        fields: dict[str, Any] = {"tools": []}
        for tool in request.tools:
            function: dict[str, Any] = {"name": tool.name}
            if tool.description:
                function["description"] = tool.description
            function["parameters"] = tool.parameters
            fields["tools"].append({"type": "function", "function": function})
        if isinstance(request.tool_choice, NamedTool):
            fields["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice.name}}
        elif request.tool_choice != "auto":
            fields["tool_choice"] = request.tool_choice
        if request.parallel_tool_calls is not None:
            fields["parallel_tool_calls"] = request.parallel_tool_calls
        return fields

    def _output(self) -> dict[str, Any]:
        output = self._encoding.request.output
        if output is None:
            return {}
        schema: dict[str, Any] = {"name": output.name, "schema": output.json_schema}
        if is_closed(output.json_schema):
            schema["strict"] = True
        else:
            reason = "the schema leaves properties open, so the model is asked to fit it but not forced"
            self._encoding.changed("output", reason)
        return {"response_format": {"type": "json_schema", "json_schema": schema}}

    def _messages(self) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        if self._encoding.request.system is not None:
            sent.append({"role": "system", "content": self._encoding.request.system})
        for number, message in enumerate(self._encoding.request.messages):
            field = f"messages[{number}]"
            if message.role == "assistant":
                sent += self._assistant(message, field)
            elif message.role == "tool":
                sent += self._results(message, field)
            else:
                sent.append({"role": message.role, "content": self._content(message, field)})
        return sent

    def _content(self, message: Message, field: str) -> str | list[dict[str, Any]]:
        if all(isinstance(part, TextPart) for part in message.parts) and len(message.parts) < 2:
            return message.text
        blocks: list[dict[str, Any]] = []
        for position, part in enumerate(message.parts):
            if isinstance(part, TextPart):
                blocks.append({"type": "text", "text": part.text})
            elif isinstance(part, ImagePart):
                blocks.append({"type": "image_url", "image_url": {"url": _image_url(part)}})
            elif isinstance(part, OpaquePart):
                blocks += self._opaque(part, f"{field}.parts[{position}]")
        return blocks

    def _opaque(self, part: OpaquePart, field: str) -> list[dict[str, Any]]:
        if self._encoding.is_native(part):
            return [part.data]
        self._encoding.dropped(field, f"a {part.kind} block goes only to the provider that made it")
        return []

    def _assistant(self, message: Message, field: str) -> list[dict[str, Any]]:
        texts: list[str] = []
        refusals: list[str] = []
        calls: list[dict[str, Any]] = []
        blocks: list[dict[str, Any]] = []
        thoughts: dict[str, Any] = {}
        for position, part in enumerate(message.parts):
            place = f"{field}.parts[{position}]"
            match part:
                case TextPart():
                    texts.append(part.text)
                case RefusalPart():
                    (texts if self._compatible else refusals).append(part.text)
                case ToolCallPart():
                    calls.append(self._call(part, place))
                case ThinkingPart():
                    self._thinking(part, place, thoughts)
                case OpaquePart():
                    blocks += self._opaque(part, place)
                case _:
                    self._encoding.unsupported(place, "an assistant message cannot show an image here")
        sent: dict[str, Any] = {"role": "assistant"}
        text = "".join(texts)
        if blocks:
            sent["content"] = [*([{"type": "text", "text": text}] if text else []), *blocks]
        elif text or not (calls or refusals):
            sent["content"] = text
        else:
            sent["content"] = None
        if refusals:
            sent["refusal"] = "".join(refusals)
        if calls:
            sent["tool_calls"] = calls
        empty = not (text or blocks or calls or refusals or thoughts)
        return [] if empty else [sent | thoughts]

    def _call(self, part: ToolCallPart, field: str) -> dict[str, Any]:
        arguments = arguments_text(part)
        if part.arguments is None and self._compatible:
            # Many servers parse what they get, and refuse the whole conversation where they cannot.
            arguments = compact({"raw_arguments": part.raw_arguments})
            self._encoding.changed(field, "arguments that are no JSON object are sent as a string in one")
        function = {"name": self._encoding.tool_name(part, field), "arguments": arguments}
        sent: dict[str, Any] = {"id": self._ids.call(part.id), "type": "function", "function": function}
        if not self._encoding.is_native(part, same_model=True):
            return sent
        if part.provider_data.get("type") == "custom":
            sent["custom"] = {"name": function["name"], "input": part.raw_arguments}
            del sent["function"]
        return sent | part.provider_data

    def _thinking(self, part: ThinkingPart, field: str, thoughts: dict[str, Any]) -> None:
        """Reasoning goes back under the name under which it came."""
        details = part.provider_data.get("reasoning_details")
        signed = bool(details or part.signature or part.redacted)
        if not self._encoding.is_native(part, same_model=signed):
            self._encoding.dropped(field, "reasoning goes only to the model that made it")
            return
        if part.text:
            name = part.provider_data.get("field", "reasoning_content")
            thoughts[name] = thoughts.get(name, "") + part.text
        if details:
            thoughts["reasoning_details"] = [*thoughts.get("reasoning_details", ()), *details]

    def _results(self, message: Message, field: str) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        for position, part in enumerate(message.parts):
            if not isinstance(part, ToolResultPart):
                continue
            place = f"{field}.parts[{position}]"
            if any(isinstance(item, ImagePart) for item in part.content):
                self._encoding.unsupported(place, "a tool's result can hold text only in Chat Completions")
            if part.is_error:
                self._encoding.dropped(
                    f"{place}.is_error", "Chat Completions has no such field; the text must say it"
                )
            call_id = self._ids.result(part.call_id)
            sent.append({"role": "tool", "tool_call_id": call_id, "content": part.text})
        return sent


def _image_url(part: ImagePart) -> str:
    inline = image_base64(part)
    return part.url or "" if inline is None else f"data:{inline[0]};base64,{inline[1]}"
