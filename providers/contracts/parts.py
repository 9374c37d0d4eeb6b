"""What a conversation is made of: messages of ordered parts.

Order is kept as the model produced it, because interleaved thinking, text and tool calls mean
nothing in another order. A part remembers its `origin`, its `signature` and the provider's own data,
so that it can be replayed verbatim to the model that made it and to no other.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from llmgine.providers.contracts.base import Contract


class Origin(Contract):
    """Which model behind which protocol made a part; `provider` is the endpoint's name."""

    provider: str
    api: str
    model: str


class Part(Contract):
    """What every part carries beside its content.

    `signature` is the maker's opaque seal, sent back to it as it came. Gemini seals any part, an empty
    text too; Anthropic seals thinking.
    """

    origin: Origin | None = None
    signature: str | None = None
    provider_data: dict[str, Any] = Field(default_factory=dict)


class Citation(Contract):
    """What a piece of text rests on.

    `start` and `end` are the characters of the part's text that it supports, `quote` the source's own
    words; `raw` is the provider's record, sent back to it as it came.
    """

    url: str | None = None
    title: str | None = None
    quote: str | None = None
    start: int | None = None
    end: int | None = None
    raw: dict[str, Any] = Field(default_factory=dict)


class TextPart(Part):
    type: Literal["text"] = "text"
    text: str
    citations: tuple[Citation, ...] = ()


class ThinkingPart(Part):
    """Reasoning of the model: its text or a summary of it, where the provider shows any.

    `redacted` and `encrypted` are the reasoning itself in a form that only its provider reads.
    """

    type: Literal["thinking"] = "thinking"
    text: str = ""
    redacted: str | None = None
    encrypted: str | None = None


class ToolCallPart(Part):
    """A call that the model asks for.

    `arguments` is None where the model's text was no JSON object; `raw_arguments` keeps that text.
    `id_source` is "synthesised" where the server sent no id, or that of another call.
    """

    type: Literal["tool_call"] = "tool_call"
    id: str
    name: str
    arguments: dict[str, Any] | None
    raw_arguments: str = ""
    id_source: Literal["provider", "synthesised"] = "provider"


class _Media(Part):
    """Bytes, or the URL under which the provider finds them; exactly one of both."""

    data: bytes | None = None
    url: str | None = None
    media_type: str

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.data is None) == (self.url is None):
            raise ValueError("it has either data or url")
        return self


class ImagePart(_Media):
    """An image; `detail` is how closely to look where the protocol lets one say it."""

    type: Literal["image"] = "image"
    media_type: str = "image/png"
    detail: Literal["auto", "low", "high"] | None = None


class AudioPart(_Media):
    """Sound; `transcript` is what is said in it, where the model that made it told."""

    type: Literal["audio"] = "audio"
    media_type: str = "audio/wav"
    transcript: str | None = None


class DocumentPart(_Media):
    """A file such as a PDF or a text; with `cite` the answer's citations point into it where they can."""

    type: Literal["document"] = "document"
    media_type: str = "application/pdf"
    name: str | None = None
    cite: bool = False


MediaPart = ImagePart | AudioPart | DocumentPart


class ToolResultPart(Part):
    """What came of a call: text and media, in order."""

    type: Literal["tool_result"] = "tool_result"
    call_id: str
    name: str = ""
    content: tuple[Annotated[TextPart | MediaPart, Field(discriminator="type")], ...]
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
    TextPart
    | ThinkingPart
    | ToolCallPart
    | ToolResultPart
    | ImagePart
    | AudioPart
    | DocumentPart
    | RefusalPart
    | OpaquePart,
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
    def user(cls, *content: str | MediaPart) -> Message:
        """Texts, images, sounds and documents in their order."""
        parts = tuple(TextPart(text=one) if isinstance(one, str) else one for one in content)
        return cls(role="user", parts=parts)

    @classmethod
    def assistant(cls, text: str) -> Message:
        return cls(role="assistant", parts=(TextPart(text=text),))

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def thinking(self) -> str:
        """What the provider shows of the reasoning, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, ThinkingPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))
