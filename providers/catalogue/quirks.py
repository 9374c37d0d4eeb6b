"""In what a Chat Completions server differs from others, as data."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Quirks(BaseModel):
    """One server's ways. The defaults are those of a plain compatible server, of which nothing is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="field that bounds the length of the answer"
    )
    seed_field: Literal["seed", "random_seed"] | None = Field(
        default="seed", description="field that takes the seed; none: it takes no seed"
    )
    top_k: bool = Field(default=False, description="takes `top_k`")
    penalties: bool = Field(default=True, description="takes presence and frequency penalties")
    stream_options: bool = Field(
        default=True, description="must be asked for usage; others tell it unasked, or refuse the field"
    )
    padding: bool = Field(default=False, description="pads its frames unless it is told not to")

    system_role: Literal["system", "developer"] = Field(
        default="system", description="role of system messages"
    )
    text_blocks: bool = Field(
        default=True, description="takes a message of several texts as blocks; else they are joined"
    )
    image_urls: bool = Field(default=True, description="fetches images by their URL")
    audio: bool = Field(default=True, description="takes sound, as wav or mp3")
    documents: Literal["file", "document_url"] | None = Field(
        default=None, description="block that carries a document; none: texts go as text, others not at all"
    )
    document_urls: bool = Field(default=False, description="fetches documents by their URL")
    tool_media: bool = Field(
        default=False, description="takes images in a tool's result; else they follow in a user message"
    )
    refusals: bool = Field(default=False, description="has a field for refusals; else they go back as text")
    citations: bool = Field(default=False, description="takes an answer's citations back, as `annotations`")
    speaks_after_tools: bool = Field(
        default=True,
        description="lets the user speak right after a tool's result; else the model says `OK.` in between",
    )

    tool_choice: Literal["any", "words", "auto"] = Field(
        default="any",
        description='choices that it heeds: "words" are required and none, but no named tool; "auto" is none',
    )
    parallel_tool_calls: bool = Field(default=True, description="takes `parallel_tool_calls`")
    strict_tools: bool = Field(
        default=False, description="forces a tool's arguments to fit where `strict` says so"
    )
    call_ids: Literal["any", "forty", "nine"] = Field(
        default="any",
        description='ids of calls that it takes back: "forty" characters at most, "nine" letters and digits',
    )
    raw_arguments: bool = Field(
        default=False, description="takes a call back whose arguments are no JSON object"
    )

    json_schema: bool = Field(default=True, description="can force an answer to fit a JSON schema")
    strict_schemas: bool = Field(
        default=True, description="forces only schemas that are marked as strict; else any schema"
    )

    reasoning: Literal["effort", "object", "switch", "template"] | None = Field(
        default="effort",
        description='how it is told to think: by `reasoning_effort`, a `reasoning` "object", a `thinking` '
        '"switch" or an argument of the chat "template"; none: it cannot be told',
    )
    shows_thinking: bool = Field(default=True, description="shows what the model thinks")
    think_tags: Literal["never", "tagged", "opened"] = Field(
        default="tagged",
        description="reasoning that comes within the text: between `<think>` tags at its start, or with the "
        'first tag already "opened" by the prompt',
    )
    replay_thinking: Literal["always", "same_model", "with_calls", "never"] = Field(
        default="always", description="whether reasoning goes back to the server, and with which messages"
    )
    thinking_field: Literal["reasoning", "reasoning_content"] | None = Field(
        default=None, description="field in which it goes back; none is the one in which it came"
    )
    needs_thinking: bool = Field(
        default=False, description="refuses a tool call without its reasoning, be that empty"
    )

    base64_embeddings: bool = Field(default=False, description="sends embeddings packed, as base64")
    cache_key: bool = Field(default=False, description="takes `prompt_cache_key`")
    cache_marks: Literal["cache_control", "prompt_cache_breakpoint"] | None = Field(
        default=None, description="field of a block that ends a beginning of the prompt worth keeping"
    )


OPENAI = Quirks(
    max_tokens_field="max_completion_tokens",
    padding=True,
    documents="file",
    refusals=True,
    strict_tools=True,
    call_ids="forty",
    raw_arguments=True,
    shows_thinking=False,
    think_tags="never",
    base64_embeddings=True,
    cache_key=True,
    cache_marks="prompt_cache_breakpoint",
)
PLAIN = Quirks()
