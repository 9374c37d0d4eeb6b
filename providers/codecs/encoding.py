"""What the encoders of all protocols share: saying what was left out, ids, replay, and merging."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from llmgine.providers.codecs.assembly import compact
from llmgine.providers.codecs.codec import Target
from llmgine.providers.contracts import (
    Adjustment,
    ImagePart,
    LLMRequest,
    NamedTool,
    Part,
    ToolCallPart,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, InvalidRequest, ProviderError
from llmgine.providers.options import holds_key

_ALLOWED = {
    "system": {"text"},
    "user": {"text", "image", "audio", "document", "opaque"},
    "assistant": {"text", "thinking", "tool_call", "refusal", "image", "audio", "document", "opaque"},
    "tool": {"tool_result"},
}
_UNWANTED_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64


class Encoding:
    """One request on its way into a protocol, with the differences that it suffers."""

    def __init__(self, request: LLMRequest, target: Target, api: str) -> None:
        self.request = request
        self.target = target
        self.api = api
        self._adjustments: list[Adjustment] = []

    @property
    def options(self) -> dict[str, Any]:
        """The request's own options for this protocol, and over them those for this endpoint."""
        given = self.request.provider_options
        return merged(given.get(self.api, {}), given.get(self.target.provider, {}))

    @property
    def adjustments(self) -> tuple[Adjustment, ...]:
        return tuple(self._adjustments)

    def unsupported(self, field: str, reason: str) -> None:
        """The protocol has no place for a field: an error, or where the caller allows it a note."""
        if self.request.on_unsupported == "adjust":
            self.dropped(field, reason)
            return
        raise ProviderError(
            f'{field}: {reason}; leave it out, or set on_unsupported="adjust" to send the rest',
            kind=ErrorKind.UNSUPPORTED,
            phase=ErrorPhase.REQUEST,
            scope=ErrorScope.MODEL,
            provider=self.target.provider,
            model=self.target.model,
        )

    def dropped(self, field: str, reason: str) -> None:
        self._adjustments.append(Adjustment(field=field, action="dropped", reason=reason))

    def changed(self, field: str, reason: str) -> None:
        self._adjustments.append(Adjustment(field=field, action="changed", reason=reason))

    def tool_name(self, part: ToolCallPart, field: str) -> str:
        """The called tool's name as every protocol takes it: a model may have made up any other."""
        name = _UNWANTED_IN_ID.sub("_", part.name)[:_LONGEST_NAME] or "unnamed"
        if name != part.name:
            self.changed(f"{field}.name", "the model called a tool by a name that no protocol takes back")
        return name

    def invalid(self, field: str, reason: str) -> NoReturn:
        raise InvalidRequest(f"{field}: {reason}")

    def is_native(self, part: Part, *, same_model: bool = False) -> bool:
        """Whether a part was made behind this protocol by this provider, and if asked by this model."""
        origin = part.origin
        return (
            origin is not None
            and (origin.api, origin.provider) == (self.api, self.target.provider)
            and (not same_model or origin.model == self.target.model)
        )

    def check(self) -> None:
        """`InvalidRequest` for what no protocol could send."""
        for number, message in enumerate(self.request.messages):
            for position, part in enumerate(message.parts):
                if part.type not in _ALLOWED[message.role]:
                    field = f"messages[{number}].parts[{position}]"
                    self.invalid(field, f"a {message.role} message cannot hold a {part.type} part")
        choice = self.request.tool_choice
        names = {tool.name for tool in self.request.tools}
        if isinstance(choice, NamedTool) and choice.name not in names:
            self.invalid("tool_choice", f"no tool is named {choice.name!r}; add it to `tools`")
        if choice == "required" and not names:
            self.invalid("tool_choice", "a call is required but `tools` is empty")
        self._check_options()

    def _check_options(self) -> None:
        options = self.options
        if options.get("stream", True) is not True:
            self.invalid("provider_options.stream", "every call is streamed; leave it out")
        for name in ("model", "messages"):
            if name in options:
                self.invalid(f"provider_options.{name}", f"it has a field of its own; set `{name}` instead")
        for name in self.request.extra_headers:
            if holds_key(name):
                reason = "it holds a key, which no request carries; use the endpoint's key_file or key_env"
                self.invalid(f"extra_headers.{name}", reason)


class CallIds:
    """Ids of tool calls as a protocol accepts them, and each of them once.

    An id is kept where it may be; else it is replaced by one that depends on nothing but the
    conversation before it. A result follows the last call of its id.
    """

    def __init__(self, accepted: str, longest: int) -> None:
        self._accepted = re.compile(accepted)
        self._longest = longest
        self._used: set[str] = set()
        self._current: dict[str, str] = {}

    def call(self, call_id: str) -> str:
        sent, again = self._fit(call_id), 2
        while sent in self._used:
            sent, again = self._fit(f"{call_id}#{again}"), again + 1
        self._used.add(sent)
        self._current[call_id] = sent
        return sent

    def result(self, call_id: str) -> str:
        return self._current.get(call_id) or self._fit(call_id)

    def _fit(self, call_id: str) -> str:
        if len(call_id) <= self._longest and self._accepted.fullmatch(call_id):
            return call_id
        digest = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        return f"{_UNWANTED_IN_ID.sub('_', call_id)[:24]}_{digest}"


def arguments_text(part: ToolCallPart) -> str:
    """A call's arguments as the model wrote them, or as they would be written."""
    return part.raw_arguments or compact(part.arguments or {})


def image_base64(part: ImagePart) -> tuple[str, str] | None:
    """Media type and base64 text of an image that has its bytes with it; None for one behind a URL."""
    if part.data is not None:
        return part.media_type, base64.b64encode(part.data).decode()
    head, comma, text = (part.url or "").partition(";base64,")
    if comma and head.startswith("data:"):
        return head.removeprefix("data:"), text
    return None


def merged(body: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The body with options laid over it; objects are merged, everything else is replaced."""
    result = dict(body)
    for name, value in options.items():
        held = result.get(name)
        both = isinstance(held, Mapping) and isinstance(value, Mapping)
        result[name] = merged(held, value) if both and held is not None else value
    return result


def is_closed(schema: Any) -> bool:
    """Whether every object of a JSON schema names all its properties, as strict modes demand."""
    if isinstance(schema, list):
        return all(map(is_closed, schema))
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        names = set(properties or {})
        if schema.get("additionalProperties") is not False or names != set(schema.get("required") or ()):
            return False
    return all(map(is_closed, schema.values()))
