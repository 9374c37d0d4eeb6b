"""Requests of the Anthropic Messages protocol."""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.encoding import CallIds, Encoding, image_base64, merged
from llmgine.providers.contracts import (
    AnyPart,
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

_REASONING = frozenset({"thinking", "redacted_thinking"})
_WIRE_ROLES = {"user": "user", "tool": "user", "assistant": "assistant", "system": "system"}


class MessagesEncoding:
    """Builds one body; the order of its fields never varies."""

    def __init__(self, encoding: Encoding, default_max_tokens: int) -> None:
        self._encoding = encoding
        self._default_max_tokens = default_max_tokens
        self._ids = CallIds(r"[a-zA-Z0-9_-]+", 64)

    def body(self) -> dict[str, Any]:
        request = self._encoding.request
        self._encoding.check()
        body: dict[str, Any] = {
            "model": self._encoding.target.model,
            "max_tokens": request.max_output_tokens or self._default_max_tokens,
        }
        leading = 0
        while leading < len(request.messages) and request.messages[leading].role == "system":
            leading += 1
        if system := self._system(request.messages[:leading]):
            body["system"] = system
        body["messages"] = self._messages(leading)
        body |= self._tools()
        if request.output is not None:
            schema = {"type": "json_schema", "schema": request.output.json_schema}
            body["output_config"] = {"format": schema}
        body |= self._sampling()
        body["stream"] = True
        return merged(body, self._encoding.options)

    def _system(self, leading: tuple[Message, ...]) -> str | list[dict[str, Any]]:
        texts = [part.text for message in leading for part in message.parts if isinstance(part, TextPart)]
        if self._encoding.request.system is not None:
            texts.insert(0, self._encoding.request.system)
        texts = [text for text in texts if text.strip()]
        return texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts]

    def _sampling(self) -> dict[str, Any]:
        request, fields = self._encoding.request, dict[str, Any]()
        if request.temperature is not None:
            fields["temperature"] = request.temperature
            if request.temperature > 1:
                self._encoding.unsupported("temperature", "the Messages protocol takes 0 to 1")
                fields.pop("temperature")
        if request.top_p is not None:
            fields["top_p"] = request.top_p
        if request.stop:
            fields["stop_sequences"] = list(request.stop)
        if request.seed is not None:
            self._encoding.unsupported("seed", "the Messages protocol has no seed")
        return fields

    def _tools(self) -> dict[str, Any]:
        request = self._encoding.request
        if not request.tools:
            return {}
        fields: dict[str, Any] = {"tools": []}
        for tool in request.tools:
            sent: dict[str, Any] = {"name": tool.name}
            if tool.description:
                sent["description"] = tool.description
            sent["input_schema"] = tool.parameters
            fields["tools"].append(sent)
        if choice := self._tool_choice():
            fields["tool_choice"] = choice
        return fields

    def _tool_choice(self) -> dict[str, Any]:
        request = self._encoding.request
        if request.tool_choice == "none":
            return {"type": "none"}
        one_only = request.parallel_tool_calls is False
        if isinstance(request.tool_choice, NamedTool):
            choice: dict[str, Any] = {"type": "tool", "name": request.tool_choice.name}
        elif request.tool_choice == "required":
            choice = {"type": "any"}
        elif one_only:
            choice = {"type": "auto"}
        else:
            return {}
        return choice | {"disable_parallel_tool_use": True} if one_only else choice

    def _messages(self, leading: int) -> list[dict[str, Any]]:
        """Turns in the protocol's two roles: neighbours of one role are one turn, as results must be."""
        sent: list[dict[str, Any]] = []
        for number, message in enumerate(self._encoding.request.messages):
            if number < leading:
                continue
            blocks: list[dict[str, Any]] = []
            for position, part in enumerate(message.parts):
                blocks += self._block(part, f"messages[{number}].parts[{position}]", message.role)
            role = _WIRE_ROLES[message.role]
            if blocks and role != "assistant":
                self._end_turn(sent, f"messages[{number - 1}]")
            if not blocks:
                if role != "assistant":
                    self._encoding.invalid(f"messages[{number}]", "nothing of it can be sent; give it text")
            elif sent and sent[-1]["role"] == role:
                sent[-1]["content"] += blocks
            else:
                sent.append({"role": role, "content": blocks})
        self._end_turn(sent, f"messages[{len(self._encoding.request.messages) - 1}]")
        if not sent:
            self._encoding.invalid("messages", "the Messages protocol needs one message besides the system's")
        return sent

    def _end_turn(self, sent: list[dict[str, Any]], field: str) -> None:
        """Takes reasoning off the end of the model's turn: the protocol refuses a turn that ends with it."""
        if not sent or sent[-1]["role"] != "assistant":
            return
        blocks = sent[-1]["content"]
        while blocks and blocks[-1]["type"] in _REASONING:
            blocks.pop()
            self._encoding.dropped(field, "reasoning without an answer after it is refused")
        if not blocks:
            sent.pop()

    def _block(self, part: AnyPart, field: str, role: str) -> list[dict[str, Any]]:
        match part:
            case TextPart() | RefusalPart():
                return self._text(part, field)
            case ImagePart():
                if role == "assistant":
                    self._encoding.unsupported(field, "an assistant message cannot show an image here")
                    return []
                return [_image(part)]
            case ToolCallPart():
                return [self._call(part, field)]
            case ToolResultPart():
                return [self._result(part)]
            case ThinkingPart():
                return self._thinking(part, field)
            case OpaquePart():
                if self._encoding.is_native(part):
                    return [part.data]
                reason = f"a {part.kind} block goes only to the provider that made it"
                self._encoding.dropped(field, reason)
                return []

    def _text(self, part: TextPart | RefusalPart, field: str) -> list[dict[str, Any]]:
        if not part.text.strip():  # the protocol refuses blank blocks
            return []
        block: dict[str, Any] = {"type": "text", "text": part.text}
        if isinstance(part, TextPart) and part.citations:
            if self._encoding.is_native(part):
                block["citations"] = [citation.raw for citation in part.citations]
            else:
                self._encoding.dropped(
                    f"{field}.citations", "citations go only to the provider that made them"
                )
        return [block]

    def _thinking(self, part: ThinkingPart, field: str) -> list[dict[str, Any]]:
        if not self._encoding.is_native(part, same_model=True):
            self._encoding.dropped(field, "reasoning goes only to the model that made it")
            return []
        if part.redacted is not None:
            return [{"type": "redacted_thinking", "data": part.redacted}]
        if not part.signature:
            self._encoding.dropped(field, "reasoning without its signature is refused")
            return []
        return [{"type": "thinking", "thinking": part.text, "signature": part.signature}]

    def _call(self, part: ToolCallPart, field: str) -> dict[str, Any]:
        arguments = part.arguments
        if arguments is None:
            arguments = {"raw_arguments": part.raw_arguments}
            self._encoding.changed(field, "arguments that are no JSON object are sent as a string in one")
        name = self._encoding.tool_name(part, field)
        block = {"type": "tool_use", "id": self._ids.call(part.id), "name": name, "input": arguments}
        return block | part.provider_data if self._encoding.is_native(part) else block

    def _result(self, part: ToolResultPart) -> dict[str, Any]:
        blocks = [
            _image(item) if isinstance(item, ImagePart) else {"type": "text", "text": item.text}
            for item in part.content
            if isinstance(item, ImagePart) or item.text.strip()
        ]
        only_text = all(isinstance(item, TextPart) for item in part.content) and len(blocks) < 2
        content = part.text if only_text else blocks
        block = {"type": "tool_result", "tool_use_id": self._ids.result(part.call_id), "content": content}
        return block | {"is_error": True} if part.is_error else block


def _image(part: ImagePart) -> dict[str, Any]:
    inline = image_base64(part)
    if inline is None:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    source = {"type": "base64", "media_type": inline[0], "data": inline[1]}
    return {"type": "image", "source": source}
