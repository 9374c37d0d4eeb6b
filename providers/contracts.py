"""The one data model in front of every provider: what is asked, and what comes back.

A conversation is a tuple of messages, a message a tuple of ordered parts. Order is kept as the
model produced it, because interleaved thinking, text and tool calls mean nothing in another order.
A part remembers its `origin` and the provider's own data, so that it can be replayed verbatim to
the model that made it and to no other.
"""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Contract(BaseModel):
    """Frozen, closed to unknown fields, and equal by value."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class Origin(Contract):
    """Which model behind which protocol made a part."""

    provider: str
    api: str
    model: str


class Part(Contract):
    """What every part carries beside its content."""

    origin: Origin | None = None
    provider_data: dict[str, Any] = Field(default_factory=dict)


class TextPart(Part):
    type: Literal["text"] = "text"
    text: str
    citations: tuple[dict[str, Any], ...] = ()


class ThinkingPart(Part):
    """Reasoning of the model; `signature` and `redacted` are opaque and replayed as they came."""

    type: Literal["thinking"] = "thinking"
    text: str = ""
    signature: str | None = None
    redacted: str | None = None


class ToolCallPart(Part):
    """A call that the model asks for.

    `arguments` is None where the model's text was no JSON object; `raw_arguments` keeps that text.
    `id_source` is "synthesised" where the server sent no id.
    """

    type: Literal["tool_call"] = "tool_call"
    id: str
    name: str
    arguments: dict[str, Any] | None
    raw_arguments: str = ""
    id_source: Literal["provider", "synthesised"] = "provider"


class ImagePart(Part):
    """An image by its bytes or its URL; exactly one of both."""

    type: Literal["image"] = "image"
    data: bytes | None = None
    url: str | None = None
    media_type: str = "image/png"

    @model_validator(mode="after")
    def _one_source(self) -> ImagePart:
        if (self.data is None) == (self.url is None):
            raise ValueError("an image has either data or url")
        return self


class ToolResultPart(Part):
    """What came of a call: text or images, in order."""

    type: Literal["tool_result"] = "tool_result"
    call_id: str
    name: str = ""
    content: tuple[Annotated[TextPart | ImagePart, Field(discriminator="type")], ...]
    is_error: bool = False

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


class RefusalPart(Part):
    type: Literal["refusal"] = "refusal"
    text: str


class OpaquePart(Part):
    """A block that this version does not know, kept as it came."""

    type: Literal["opaque"] = "opaque"
    kind: str
    data: Any


AnyPart = Annotated[
    TextPart | ThinkingPart | ToolCallPart | ToolResultPart | ImagePart | RefusalPart | OpaquePart,
    Field(discriminator="type"),
]

Role = Literal["system", "user", "assistant", "tool"]


class Message(Contract):
    """One turn of a conversation; `tool` messages hold tool results and nothing else."""

    role: Role
    parts: tuple[AnyPart, ...]

    @classmethod
    def system(cls, text: str) -> Message:
        return cls(role="system", parts=(TextPart(text=text),))

    @classmethod
    def user(cls, text: str) -> Message:
        return cls(role="user", parts=(TextPart(text=text),))

    @classmethod
    def assistant(cls, text: str) -> Message:
        return cls(role="assistant", parts=(TextPart(text=text),))

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))


class ToolSpec(Contract):
    """A tool as the model sees it: `parameters` is a JSON schema of type object."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str = ""
    parameters: dict[str, Any]


class NamedTool(Contract):
    """The model must call exactly this tool."""

    name: str


class OutputSchema(Contract):
    """The answer must be JSON that fits this schema."""

    name: str = "output"
    json_schema: dict[str, Any]


class LLMRequest(Contract):
    """One call of one model. `model` is `provider/model`; times are seconds.

    What the provider cannot do is an error, or with `on_unsupported="adjust"` left out and listed
    in the response's `adjustments`; it is never dropped in silence.
    """

    model: str
    messages: tuple[Message, ...] = Field(min_length=1)
    system: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: Literal["auto", "required", "none"] | NamedTool = "auto"
    parallel_tool_calls: bool | None = None
    output: OutputSchema | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop: tuple[str, ...] = ()
    seed: int | None = None
    deadline: float | None = Field(default=None, gt=0, description="seconds for the whole call")
    idle_timeout: float | None = Field(default=None, gt=0, description="seconds between two chunks")
    on_unsupported: Literal["error", "adjust"] = "error"
    provider_options: dict[str, Any] = Field(default_factory=dict)
    extra_headers: dict[str, str] = Field(default_factory=dict)


class UsageSource(enum.StrEnum):
    REPORTED = "reported"
    PARTIAL = "partial"  # the stream ended before the provider's last word
    ABSENT = "absent"


class Usage(Contract):
    """Tokens as the provider reported them; never guessed.

    `input_tokens` includes what was read from and written to a cache, `output_tokens` includes
    reasoning, whatever the provider's own convention. None means not reported.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    source: UsageSource = UsageSource.ABSENT
    raw: dict[str, Any] = Field(default_factory=dict)

    def __add__(self, other: Usage) -> Usage:
        """Both together, as for several calls of one turn; a figure known to one side only is kept."""

        def add(name: str) -> int | None:
            mine: int | None = getattr(self, name)
            theirs: int | None = getattr(other, name)
            return theirs if mine is None else mine if theirs is None else mine + theirs

        names = (
            "input_tokens",
            "output_tokens",
            "cache_read_tokens",
            "cache_write_tokens",
            "reasoning_tokens",
        )
        sources = {self.source, other.source}
        source = sources.pop() if len(sources) == 1 else UsageSource.PARTIAL
        return Usage(**{name: add(name) for name in names}, source=source)


class FinishReason(enum.StrEnum):
    """Why the model stopped. A reason that we do not know is UNKNOWN, never STOP."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    PAUSE = "pause"
    UNKNOWN = "unknown"


class Adjustment(Contract):
    """One difference between what was asked and what was sent."""

    field: str
    action: Literal["dropped", "changed", "emulated"]
    reason: str


class Attempt(Contract):
    """One try at the call: where, and what came of it."""

    actor: str = ""
    model: str
    outcome: str
    seconds: float


class LLMResponse(Contract):
    """What came back, the same shape from every provider.

    `cost` is in US dollars, exact, or None where a price is unknown. `finish_reason_raw` is the
    provider's own word.
    """

    message: Message
    finish_reason: FinishReason
    finish_reason_raw: str | None = None
    usage: Usage = Usage()
    cost: Decimal | None = None
    model: str
    provider: str
    response_id: str | None = None
    request_id: str | None = None
    adjustments: tuple[Adjustment, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    provider_data: dict[str, Any] = Field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        return self.message.tool_calls
