"""In what a Chat Completions server differs from OpenAI's own, as data."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Quirks(BaseModel):
    """One server's ways. The defaults are those of a plain compatible server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="field that bounds the length of the answer"
    )
    think_tags: bool = Field(default=True, description="reasoning comes within <think> tags of the text")


OPENAI = Quirks(max_tokens_field="max_completion_tokens", think_tags=False)
PLAIN = Quirks()
