"""Scripts of the scripted double: what each of its replies says and how it fails, as plain data.

A script travels in settings (`providers.scripts.<name>`, played as model `scripted/<name>`) or in a
request (`provider_options={"scripted": {"script": {…}}}`, model `scripted/inline`).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmgine.providers.contracts import FinishReason
from llmgine.providers.errors import ErrorKind


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
    """One reply: thinking, then text, then tool calls.

    Text None answers by itself: JSON that fits where the request has an output schema, else the
    results of the tools since the last user message, else that message. A reply with tool calls
    and text None has no text.
    """

    text: str | None = Field(default=None, description="what it says; None answers by itself")
    thinking: str = Field(default="", description="what it thinks first")
    tool_calls: tuple[ScriptedCall, ...] = Field(default=(), description="the calls at its end")
    chunk_words: int = Field(default=1, ge=1, description="words in each chunk")
    first_delay: float = Field(default=0.0, ge=0, description="seconds before the first chunk")
    delay: float = Field(default=0.0, ge=0, description="seconds between two chunks")
    usage: ScriptedUsage | None = Field(default=None, description="tokens to report; None counts words")
    finish_reason: FinishReason | None = Field(default=None, description="None: tool_calls or stop")
    fault: Fault | None = Field(default=None, description="how it goes wrong")


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
