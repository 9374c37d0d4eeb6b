"""Tokens as the provider reported them."""

from __future__ import annotations

import enum
from typing import Any, Self

from pydantic import Field, model_validator

from llmgine.providers.contracts.base import Contract


class UsageSource(enum.StrEnum):
    REPORTED = "reported"
    PARTIAL = "partial"  # the stream ended before the provider's last word
    ABSENT = "absent"
    ESTIMATED = "estimated"  # counted here, because the caller asked for it


_COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


class Usage(Contract):
    """Tokens of one call or several; never guessed. None means not reported.

    `input_tokens` includes what was read from and written to a cache, `output_tokens` includes
    reasoning, whatever the provider's own convention: a part is never larger than its whole. `raw` is
    the provider's own record.
    """

    input_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)
    cache_read_tokens: int | None = Field(default=None, ge=0)
    cache_write_tokens: int | None = Field(default=None, ge=0)
    reasoning_tokens: int | None = Field(default=None, ge=0)
    source: UsageSource = UsageSource.ABSENT
    raw: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        cached = (self.cache_read_tokens or 0) + (self.cache_write_tokens or 0)
        if self.input_tokens is not None and cached > self.input_tokens:
            raise ValueError("input_tokens includes what was read from and written to a cache")
        if self.output_tokens is not None and (self.reasoning_tokens or 0) > self.output_tokens:
            raise ValueError("output_tokens includes reasoning_tokens")
        return self

    @classmethod
    def reported(cls, source: UsageSource, raw: dict[str, Any], **counts: int | None) -> Self:
        """The usage by a provider's own figures; a part larger than its whole is taken for unknown."""
        cached = (counts.get("cache_read_tokens") or 0) + (counts.get("cache_write_tokens") or 0)
        whole = counts.get("input_tokens")
        if whole is not None and cached > whole:
            counts |= {"cache_read_tokens": None, "cache_write_tokens": None}
        whole = counts.get("output_tokens")
        if whole is not None and (counts.get("reasoning_tokens") or 0) > whole:
            counts |= {"reasoning_tokens": None}
        return cls(source=source, raw=raw, **counts)

    @property
    def total_tokens(self) -> int | None:
        """Input and output together; None unless both are known."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        """Both together, as for several calls of one turn; a figure known to one side only is kept."""

        def add(name: str) -> int | None:
            mine: int | None = getattr(self, name)
            theirs: int | None = getattr(other, name)
            return theirs if mine is None else mine if theirs is None else mine + theirs

        sources = {self.source, other.source}
        source = sources.pop() if len(sources) == 1 else UsageSource.PARTIAL
        return Usage.reported(source, {}, **{name: add(name) for name in _COUNTS})
