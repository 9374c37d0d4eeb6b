"""What the encoders of all protocols share: checks, ids, media and replay."""

from __future__ import annotations

import base64
import hashlib
import re

from llmgine.providers.codecs.assembly import compact
from llmgine.providers.codecs.codec import Target
from llmgine.providers.codecs.lowering import Lowering
from llmgine.providers.contracts import (
    LLMRequest,
    MediaPart,
    NamedTool,
    Part,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

_ALLOWED = {
    "system": {"text"},
    "user": {"text", "image", "audio", "document", "opaque"},
    "assistant": {"text", "thinking", "tool_call", "refusal", "image", "audio", "document", "opaque"},
    "tool": {"tool_result"},
}
_UNWANTED_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")


class Encoding(Lowering):
    """One model call on its way into a protocol."""

    def __init__(self, request: LLMRequest, target: Target, api: str) -> None:
        super().__init__(request, target, api)
        self.request = request

    @property
    def headers(self) -> dict[str, str]:
        """The request's own headers, and the one that carries its idempotency key."""
        key = self.request.idempotency_key
        return ({} if key is None else {"Idempotency-Key": key}) | self.request.extra_headers

    def tool_name(self, part: ToolCallPart, field: str) -> str:
        """The called tool's name as every protocol takes it: a model may have made up any other."""
        name = _UNWANTED_IN_ID.sub("_", part.name)[:_LONGEST_NAME] or "unnamed"
        if name != part.name:
            self.changed(f"{field}.name", "the model called a tool by a name that no protocol takes back")
        return name

    def cannot_think(self, reason: str) -> None:
        """A model that does not think cannot be asked how much; asked to show it, it has nothing to show."""
        asked = self.request.reasoning
        if asked is None:
            return
        if asked.budget or asked.effort not in (None, "none"):
            self.unsupported("reasoning", reason)
        elif asked.show:
            self.dropped("reasoning.show", "no reasoning of this model is to be seen here")

    def is_native(self, part: Part, *, same_model: bool = False) -> bool:
        """Whether a part was made behind this protocol by this provider, and if asked by this model."""
        origin = part.origin
        return (
            origin is not None
            and (origin.api, origin.provider) == (self.api, self.target.provider)
            and (not same_model or origin.model == self.target.model)
        )

    def leave_seal(self, part: Part, field: str) -> None:
        """Records that a part which goes along has a signature that does not."""
        if part.signature is not None:
            self.dropped(f"{field}.signature", "a seal goes only to the model that made it")

    def plain(self, encoded: str, field: str) -> str:
        """The text of a document that came as base64."""
        try:
            data = base64.b64decode(encoded)
        except ValueError:
            self.invalid(field, "its URL says that it holds base64, and it does not")
        text = data.decode("utf-8", "replace")
        if text.encode() != data:
            self.changed(field, "bytes that are no UTF-8 are sent as replacement characters")
        return text

    def refusal(self, part: RefusalPart, field: str) -> str:
        """The words of a refusal, for a protocol without a field of its own for them."""
        self.leave_seal(part, field)
        if part.text:
            self.changed(field, "there is no field for a refusal; it is sent as text")
        return part.text

    def failed(self, part: ToolResultPart, field: str) -> str:
        """What the text of a result begins with, for a protocol without a field that says a tool failed."""
        if not part.is_error:
            return ""
        self.changed(f"{field}.is_error", "there is no field for it; the text says it")
        return "Error: "

    @property
    def leading(self) -> int:
        """How many messages, those of the system at the start, are part of the system prompt."""
        messages = self.request.messages
        return next((at for at, one in enumerate(messages) if one.role != "system"), len(messages))

    @property
    def system(self) -> list[str]:
        """The texts of the system prompt, none of them blank."""
        texts = [] if self.request.system is None else [self.request.system]
        for message in self.request.messages[: self.leading]:
            texts += [part.text for part in message.parts if isinstance(part, TextPart)]
        return [text for text in texts if text.strip()]

    def stand_in(self, part: MediaPart, field: str, number: int, reason: str) -> str:
        """Words in place of a medium that cannot be sent; where it is asked about now, an error.

        Of one in an earlier turn, or in what a tool gave, they go without, so that a conversation can go on
        with a model that takes less.
        """
        messages = self.request.messages
        later = any(message.role == "assistant" for message in messages[number + 1 :])
        if later or messages[number].role != "user":
            self.changed(field, f"{reason}; a note is sent in its place")
        else:
            self.unsupported(field, reason)
        return f"[{part.type} left out]"

    def check(self) -> None:
        """`InvalidRequest` for what no protocol could send."""
        for number, message in enumerate(self.request.messages):
            for position, part in enumerate(message.parts):
                if part.type not in _ALLOWED[message.role]:
                    field = f"messages[{number}].parts[{position}]"
                    self.invalid(field, f"a {message.role} message cannot hold a {part.type} part")
                if message.role == "user" and isinstance(part, MediaPart):
                    self._check_media(part, f"messages[{number}].parts[{position}]")
        choice = self.request.tool_choice
        names = {tool.name for tool in self.request.tools}
        if isinstance(choice, NamedTool) and choice.name not in names:
            self.invalid("tool_choice", f"no tool is named {choice.name!r}; add it to `tools`")
        if choice == "required" and not names and not self.options.get("tools"):
            self.invalid("tool_choice", "a call is required but `tools` is empty")
        if self.options.get("stream", True) is not True:
            self.invalid("provider_options.stream", "every call is streamed; leave it out")
        self.check_options("messages")

    def _check_media(self, part: MediaPart, field: str) -> None:
        if part.data == b"":
            self.invalid(field, f"the {part.type} has no bytes")
        if part.url is not None and not _URL.match(part.url):
            self.invalid(field, "its url is none, as https://… is; a file's bytes go into data")


class CallIds:
    """Ids of tool calls as a protocol accepts them, and each of them once.

    An id is kept where it may be; else it is replaced by one that depends on nothing but the
    conversation before it, of `length` letters and digits if that is given. A result follows the last call of
    its id.
    """

    def __init__(self, accepted: str, longest: int, *, length: int | None = None) -> None:
        self._accepted = re.compile(accepted)
        self._longest = longest
        self._length = length
        self._used: set[str] = set()
        self._current: dict[str, str] = {}
        self._times: dict[str, int] = {}  # how often each was tried: some servers name every call alike

    def call(self, call_id: str) -> str:
        sent, again = self._fit(call_id), self._times.get(call_id, 2)
        while sent in self._used:
            sent, again = self._fit(f"{call_id}#{again}"), again + 1
        self._times[call_id] = again
        self._used.add(sent)
        self._current[call_id] = sent
        return sent

    def result(self, call_id: str) -> str:
        return self._current.get(call_id) or self._fit(call_id)

    def _fit(self, call_id: str) -> str:
        if len(call_id) <= self._longest and self._accepted.fullmatch(call_id):
            return call_id
        digest = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()
        if self._length is not None:
            return digest[: self._length]
        return f"{_UNWANTED_IN_ID.sub('_', call_id)[:24]}_{digest[:12]}"


def arguments_text(part: ToolCallPart) -> str:
    """A call's arguments as the model wrote them, or as they would be written."""
    return part.raw_arguments or compact(part.arguments or {})


def image_base64(part: MediaPart) -> tuple[str, str] | None:
    """Media type and base64 text of a medium that has its bytes with it; None for one behind a URL."""
    if part.data is not None:
        return part.media_type, base64.b64encode(part.data).decode()
    head, comma, text = (part.url or "").partition(";base64,")
    if comma and head.startswith("data:"):
        return head.removeprefix("data:"), text
    return None
