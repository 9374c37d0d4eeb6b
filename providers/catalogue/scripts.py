"""Scripts of the scripted double: what each of its replies says and how it fails, as plain data.

A script travels in settings (`providers.scripts.<name>`, played as model `scripted/<name>`) or in a
request (`provider_options={"scripted": {"script": {…}}}`, model `scripted/inline`).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator
from pydantic_core import to_json

from llmgine.providers.contracts import Adjustment, AnyPart, FinishReason, RateLimit
from llmgine.providers.errors import ErrorKind

_PART: TypeAdapter[AnyPart] = TypeAdapter(AnyPart)


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScriptedCall(_Data):
    """A tool call. Name "*" is the tool that the request names, else its first one."""

    name: str = Field(default="*", description='name of the tool; "*" takes what the request offers')
    arguments: dict[str, Any] | None = Field(
        default=None, description="the arguments; None makes the smallest ones that fit the tool's schema"
    )


class ScriptedUsage(_Data):
    """Tokens to report in place of the words that were counted."""

    input_tokens: int | None = Field(default=None, ge=0, description="tokens of the prompt")
    output_tokens: int | None = Field(default=None, ge=0, description="tokens of the reply")
    cache_read_tokens: int | None = Field(default=None, ge=0, description="of the prompt, read from a cache")
    reasoning_tokens: int | None = Field(default=None, ge=0, description="of the reply, spent on thinking")


class Fault(_Data):
    """How a reply goes wrong. A stall says nothing more until the idle timeout ends the call."""

    kind: ErrorKind | Literal["stall"] = Field(description="what the failure is, or a stall")
    after_chunks: int = Field(default=0, ge=0, description="chunks that still arrive before it")
    times: int | None = Field(
        default=None, ge=1, description="only the first so many calls of this reply fail; None: each one"
    )
    message: str = Field(default="scripted fault", description="text of the error")
    status: int | None = Field(default=None, description="HTTP status that the error carries")
    code: str | None = Field(default=None, description="the provider's own code that the error carries")
    retry_after: float | None = Field(default=None, ge=0, description="seconds to wait, as a provider says")


class Reply(_Data):
    """One reply: thinking, then text, then tool calls; or any `parts` in any order.

    Text None answers by itself: a call where the request demands one, JSON that fits where it has an
    output schema, else the results of the tools since the last user message, else that message. A reply
    with tool calls and text None has no text.
    """

    text: str | None = Field(default=None, description="what it says; None answers by itself")
    thinking: str = Field(default="", description="what it thinks first")
    tool_calls: tuple[ScriptedCall, ...] = Field(default=(), description="the calls at its end")
    parts: tuple[AnyPart, ...] | None = Field(
        default=None, description="all of the reply, in place of thinking, text and tool_calls"
    )
    chunk_words: int = Field(default=1, ge=1, description="words in each chunk")
    first_delay: float = Field(default=0.0, ge=0, description="seconds before the first chunk")
    delay: float = Field(default=0.0, ge=0, description="seconds between two chunks")
    usage: ScriptedUsage | None = Field(default=None, description="tokens to report; None counts words")
    finish_reason: FinishReason | None = Field(
        default=None, description="None: tool_calls, refusal or stop, as the parts have it"
    )
    cost: Decimal | None = Field(default=Decimal(0), description="US dollars; None is unknown")
    rate_limits: tuple[RateLimit, ...] = Field(default=(), description="limits that the provider tells of")
    adjustments: tuple[Adjustment, ...] = Field(default=(), description="what was changed on the way")
    fault: Fault | None = Field(default=None, description="how it goes wrong")

    @field_validator("parts", mode="before")
    @classmethod
    def _bytes_as_base64(cls, value: Any) -> Any:
        """In settings, which are plain data, bytes are base64 as in JSON."""
        if not isinstance(value, list | tuple):
            return value
        return tuple(
            _PART.validate_json(to_json(part, bytes_mode="base64")) if isinstance(part, dict) else part
            for part in value
        )

    @field_validator("parts")
    @classmethod
    def _of_a_model(cls, value: tuple[AnyPart, ...] | None) -> tuple[AnyPart, ...] | None:
        if any(part.type == "tool_result" for part in value or ()):
            raise ValueError("a model's reply holds no tool_result")
        return value


class Script(_Data):
    """Replies in order: the n-th answers a conversation that holds n assistant messages."""

    replies: tuple[Reply, ...] = Field(min_length=1, description="one for each call of a conversation")
    after_last: Literal["repeat", "cycle", "fail"] = Field(
        default="repeat", description="past the last reply: it again, the first again, or an error"
    )

    def index(self, turn: int) -> int | None:
        """Which reply answers at this turn; None where the script is over."""
        count = len(self.replies)
        if turn < count:
            return turn
        return {"repeat": count - 1, "cycle": turn % count, "fail": None}[self.after_last]


BUILT_IN: dict[str, Script] = {
    "echo": Script(replies=(Reply(),)),
    "slow": Script(replies=(Reply(first_delay=0.2, delay=0.05),)),
    "tool": Script(replies=(Reply(tool_calls=(ScriptedCall(),)), Reply()), after_last="cycle"),
}
INLINE = "inline"
